"""Segmentation: a U-net and its head learn from masks."""

import dataclasses
import functools
from typing import Any

from tqdm import tqdm

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError
from conrec_tf.metrics import DICE
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.segmentation.batches import segmentation_batches, whole_images
from conrec_tf.segmentation.folder import open_masked_folder
from conrec_tf.segmentation.measures import count_image, segmentation_measures
from conrec_tf.segmentation.network import Segmenter, build_segmentation_head
from conrec_tf.segmentation.step import SegmentationStep, segmentation_variables
from conrec_tf.segmentation.tfds import open_masked_tfds
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.task import TrainTask

TAKEN = {"encoder": ("encoder",), "both": ("encoder", "decoder")}


def load_masked_dataset(config: Config, center_crop: bool | None = None) -> DatasetSource:
  """Loads a dataset with masks: a folder, or one of TFDS; whole images are evaluated."""
  opened = open_masked_folder if config.dataset == "image_folder" else open_masked_tfds
  return dataclasses.replace(opened(config), center_crop=False)


def segmentation_task(
  config: Config,
  source: DatasetSource,
  eval_source: DatasetSource,
  last_step: int,
  start: PretrainedModel | None,
  skip_non_finite: bool,
) -> TrainTask:
  """Builds the task of learning from masks; call it within the strategy's scope.

  Args:
    config: the options of the run.
    source: dataset with masks.
    eval_source: the same, with each image once.
    last_step: where training ends.
    start: the network that it starts from, or None.
    skip_non_finite: whether a step that isn't finite is left out.

  Raises:
    UsageError: `start` or the number of `config.class_weights` doesn't fit.
  """
  weights, classes = config.class_weight_list, source.class_names
  if weights and len(weights) != len(classes):
    raise UsageError(
      f"class_weights must have one for each class, {', '.join(classes)}. "
      f"Received: {config.class_weights}"
    )
  model = build_model(config, source.channels)
  if start:
    warm_start(start, model, config, TAKEN[config.segment_from])
  model.freeze(config.fine_tune_after_block)
  head = build_segmentation_head(model, source.channels, len(classes))
  optimizer = build_optimizer(
    config, source.train.num_examples, last_step, head.trainable_variables
  )
  optimizer.build(segmentation_variables(model, head))
  segmenter = Segmenter(model, head, config.tile_size, config.test_time_flips)
  return TrainTask(
    model=model,
    networks={"model": model, "head": head},
    only_to_resume={},
    optimizer=optimizer,
    step=SegmentationStep(config, model, head, optimizer),
    batches=functools.partial(segmentation_batches, config, source),
    evaluate=functools.partial(evaluate_segmentation, config, segmenter, eval_source),
    evaluate_untrained=None,
    metric=DICE,
    selection_metric=DICE,
  )


def evaluate_segmentation(
  config: Config, segmenter: Segmenter, source: DatasetSource, full: bool
) -> dict[str, Any]:
  """Measures whole images of the eval split; with `full` distances and intervals too."""
  images = tqdm(
    whole_images(source, source.eval),
    total=source.eval.num_examples,
    desc="Evaluating",
    unit=" images",
    disable=None,
    leave=False,
  )
  counts = [
    count_image(segmenter(image), classes, with_distances=full) for image, classes in images
  ]
  resamples = config.bootstrap_samples if full else 0
  return segmentation_measures(counts, source.class_names, resamples, config.seed)
