"""Segmentation: encoder, decoder and a head learn from masks."""

import dataclasses
import functools
from typing import Any

from conrec_tf.config import SegmentationExperiment
from conrec_tf.config.options.option import written
from conrec_tf.data import registry
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError
from conrec_tf.metrics import DICE
from conrec_tf.models import build_model
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.segmentation.batches import segmentation_batches, whole_images
from conrec_tf.segmentation.folder import open_masked_folder
from conrec_tf.segmentation.measures import count_image, segmentation_measures
from conrec_tf.segmentation.network import Segmenter, build_segmentation_head
from conrec_tf.segmentation.step import SegmentationStep
from conrec_tf.segmentation.tfds import open_masked_tfds
from conrec_tf.training.task import EvalTask, supervised_task

TAKEN = {"encoder": ("encoder",), "both": ("encoder", "decoder")}


def load_masked_dataset(
  options: SegmentationExperiment, center_crop: bool | None = None
) -> DatasetSource:
  """Loads a dataset with masks: a folder, or one of TFDS; whole images are evaluated.

  Commands that take images alone get no classes, which are of pixels and no labels of images; of a
  folder they need no masks, unless a table says which files are images.
  """
  in_folder = options.dataset == "image_folder"
  if in_folder and not options.opens_training_data and not options.mask_table:
    return dataclasses.replace(registry.load_dataset(options), center_crop=False)
  opened = open_masked_folder if in_folder else open_masked_tfds
  source = dataclasses.replace(opened(options), center_crop=False)
  return source if options.opens_training_data else dataclasses.replace(source, class_names=())


def segmentation_evaluation(
  options: SegmentationExperiment,
  source: DatasetSource,
  eval_source: DatasetSource,
  start: PretrainedModel | None = None,
) -> EvalTask:
  """Builds a network with a segmentation head, which is measured on `eval_source`.

  Args:
    eval_source: the same as `source`, with each image once.
    start: the network that it starts from, or None.

  Raises:
    UsageError: `start` or the number of `options.class_weights` doesn't fit.
  """
  weights, classes = options.class_weights, source.class_names
  if weights and len(weights) != len(classes):
    raise UsageError(
      f"class_weights must have one for each class, {', '.join(classes)}. "
      f"Received: {written(weights)}"
    )
  model = build_model(options, source.channels)
  if start:
    warm_start(start, model, options, TAKEN[options.segment_from])
  head = build_segmentation_head(model, source.channels, len(classes))
  segmenter = Segmenter(model, head, options.tile_size, options.test_time_flips)
  return EvalTask(
    model=model,
    networks={"model": model, "head": head},
    evaluate=functools.partial(
      evaluate_segmentation, segmenter, eval_source, options.bootstrap_samples, options.seed
    ),
    metric=DICE,
    selection_metric=DICE,
  )


segmentation_task = functools.partial(
  supervised_task,
  evaluation=segmentation_evaluation,
  step=SegmentationStep,
  batches=segmentation_batches,
)


def evaluate_segmentation(
  segmenter: Segmenter, source: DatasetSource, resamples: int, seed: int, full: bool
) -> dict[str, Any]:
  """Measures whole images of the eval split; with `full` distances and intervals too."""
  images = progress_bar(
    "Evaluating", "images", source.eval.num_examples, whole_images(source, source.eval)
  )
  counts = [
    count_image(segmenter(image), classes, with_distances=full) for image, classes in images
  ]
  return segmentation_measures(counts, source.class_names, resamples if full else 0, seed)
