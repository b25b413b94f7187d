"""Values of options of segmentation that exclude each other."""

from collections.abc import Iterator
import dataclasses

from conrec_tf.config.options.data import OWN_DATASETS
from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.segmentation import Segmentation
from conrec_tf.config.options.table import Options

ELSEWHERE = ("tile_size", "test_time_flips", "write_probabilities")  # which mode=segment reads
OPTIONS = tuple(
  field.name for field in dataclasses.fields(Segmentation) if field.name not in ELSEWHERE
)


def segmentation_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  segments, in_folder = config.is_segmenting, config.dataset == "image_folder"
  yield from left_out(config, OPTIONS, segments, "unless train_mode=segment")
  yield from left_out(
    config,
    ("tile_size", "test_time_flips"),
    segments or config.mode == "segment",
    "unless train_mode or mode is segment",
  )
  yield from left_out(
    config, ("write_probabilities",), config.mode == "segment", "unless mode=segment"
  )
  yield (
    config.mode == "segment" and not in_folder,
    "dataset must be image_folder for mode=segment",
  )
  yield (
    config.dice_weight != 1.0 and config.segment_loss != "cross_entropy_dice",
    "dice_weight must be left out unless segment_loss=cross_entropy_dice",
  )
  if not segments:
    return
  yield (
    config.mode == "predict",
    "mode must be segment for a network of train_mode=segment, whose classes are of pixels",
  )
  yield (
    not config.can_decode,
    "encoder must be unet or another one with skip connections for train_mode=segment",
  )
  yield (
    config.dataset in OWN_DATASETS and not in_folder,
    "dataset must be image_folder, a folder of images and masks, or of TensorFlow Datasets, for "
    "train_mode=segment",
  )
  is_read = not in_folder or not config.opens_training_data  # else it is the training's
  yield from left_out(config, ("mask_key",), is_read, "for dataset=image_folder")
  yield from left_out(config, ("mask_table",), in_folder, "unless dataset is image_folder")
  yield config.eval_crops != 1, "eval_crops must be 1 for train_mode=segment"
  for name, nothing in (
    ("label_table", "empty"),
    ("label_columns", "empty"),
    ("label_order", "empty"),
    ("ordinal_labels", "false"),
    ("drop_duplicates", "false"),
    ("cv_folds", "0"),
    ("eval_image_size", "0"),
    ("lineareval_while_pretraining", "false"),
    ("ft_proj_selector", "0"),
  ):
    value = getattr(config, name)
    yield value, f"{name} must be {nothing} for train_mode=segment"
