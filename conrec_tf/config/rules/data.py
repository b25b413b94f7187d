"""Values of options of data that exclude each other."""

from collections.abc import Iterator
import os
import re

from conrec_tf.config.options.data import OF_IMAGE_FILES, OWN_DATASETS
from conrec_tf.config.options.option import Rule, written
from conrec_tf.config.options.table import Options


def data_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  for name in ("model_dir", "checkpoint", "compare_with", "label_table"):
    path = written(getattr(config, name))
    yield "://" in path, f"{name} must be a path; mount buckets, e.g. by rclone or gcsfuse", path
  for name, path, option in (
    ("data_dir", config.data_dir, "dataset"),
    ("eval_data_dir", config.eval_data_dir or config.data_dir, "eval_dataset"),
  ):
    dataset = getattr(config, option)
    yield (
      dataset in OWN_DATASETS
      and "://" in path
      and (dataset not in OF_IMAGE_FILES or config.is_segmenting),
      f"{name} must be a path for {option}={dataset}; mount buckets, e.g. by rclone or gcsfuse",
      path,
    )
  for name, dataset in (("data_dir", config.dataset), ("eval_data_dir", config.eval_dataset)):
    path = getattr(config, name)
    yield (
      dataset == "image_folder"
      and path
      and config.model_dir
      and os.path.realpath(path) == os.path.realpath(config.model_dir),
      f"model_dir must be another folder than {name}, among whose images it would write",
    )
  yield (
    config.label_table and (config.dataset != "image_folder" or config.label_mode == "none"),
    "label_table must be empty unless dataset is image_folder, with labels",
  )
  yield (
    config.label_mode == "folders" and config.dataset != "image_folder" and config.trains,
    "label_mode must be auto or none unless dataset is image_folder",
  )
  columns = config.label_columns
  yield (
    columns
    and (
      not config.label_table
      and (config.dataset != "image_folder" or config.label_mode != "auto")
      or len({*map(str.lower, columns)}) < max(2, len(columns))
    ),
    "label_columns must be at least two different columns of label_table or of metadata files of "
    "an image folder, separated by commas",
  )
  yield (
    columns and (config.label_order or config.ordinal_labels),
    "label_columns must be empty with label_order and ordinal_labels, which are for one class of "
    "each image",
  )
  yield (
    config.drop_duplicates and config.dataset not in OF_IMAGE_FILES,
    "drop_duplicates must be false unless dataset is image_folder, webdataset or parquet",
    "true",
  )
  yield (
    config.dicom_window
    and not re.fullmatch(r"-?\d+(\.\d+)?,(?=.*[1-9])\d+(\.\d+)?", config.dicom_window),
    "dicom_window must be centre,width with a width above 0, e.g. 40,400",
  )
  no_slices = (
    "train_mode=segment and mode=segment, where masks are of files"
    if config.is_segmenting or config.mode == "segment"
    else "dataset=webdataset, whose files are read where they lie"
    if "webdataset" in (config.dataset, config.eval_dataset)
    else ""
  )
  yield (
    config.dicom_frames == "all" and no_slices,
    f"dicom_frames must be middle or empty for {no_slices}",
  )
  yield (
    not all(
      re.fullmatch(r"\s*\d+(\.\d+%|%)?\s*", text) for text in config.max_undecodable.split(",")
    ),
    "max_undecodable must be numbers or shares such as 1%, separated by commas",
  )
  for learns, what in (
    (config.is_finetuning, "train_mode=finetune"),
    (config.lineareval_while_pretraining, "lineareval_while_pretraining"),
  ):
    yield (
      config.label_mode == "none" and learns and config.opens_training_data,
      f"label_mode must be auto or folders for {what}",
    )
  for name, most in (
    ("brightness_jitter", 1.0),
    ("contrast_jitter", 1.0),
    ("saturation_jitter", 1.0),
    ("hue_jitter", 0.5),
  ):
    for strength in ("color_jitter_strength", "segment_color_jitter"):
      product = getattr(config, strength) * getattr(config, name)
      yield product > most, f"{strength} * {name} must be at most {most:g}", f"{product:g}"
