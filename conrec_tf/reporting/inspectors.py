"""The network of a run, ready to be run on images for figures."""

import dataclasses
import os

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.reporting.inference import ModelInspector
from conrec_tf.run_dir.run_directory import BEST, CHECKPOINTS, prefixes, step_of
from conrec_tf.segmentation.network import SegmentationHead, Segmenter
from conrec_tf.segmentation.report import SegmentationInspector
from conrec_tf.training.task import build_task
from conrec_tf.training.train_task import TrainTask

Inspector = ModelInspector | SegmentationInspector


def build_inspector(
  config: Config, eval_source: DatasetSource, task: TrainTask, step: int
) -> Inspector:
  """Returns what runs a task's network on images, for figures.

  Args:
    config: the options of the run.
    eval_source: dataset of linear evaluation, or with masks.
    task: what is trained.
    step: that its weights are of at the end.
  """
  head = task.networks.get("head")
  if isinstance(head, SegmentationHead):
    segmenter = Segmenter(task.model, head, config.tile_size, config.test_time_flips)
    return SegmentationInspector(config, eval_source, segmenter)
  return ModelInspector(config, eval_source, task.model, head, step)


def restore_inspector(
  config: Config, source: DatasetSource, eval_source: DatasetSource, step: int
) -> Inspector:
  """Restores the network of a run at a step, or where those weights are gone the best one.

  Args:
    config: the options of the run.
    source: dataset that it learnt from.
    eval_source: dataset of linear evaluation.
    step: of the last weights.

  Raises:
    UsageError: there are no weights, or they can't be read.
  """
  # Its weights are about to be restored; the network that they started from may be gone.
  task = build_task(dataclasses.replace(config, checkpoint=""), source, eval_source, max(1, step))
  folder = os.fspath(config.run_directory)
  found = [
    prefix for prefix in prefixes(os.path.join(folder, CHECKPOINTS)) if step_of(prefix) == step
  ] or prefixes(os.path.join(folder, BEST))
  head = task.networks.get("head")
  if found:
    step = step_of(found[-1])
    load_network(resolve_checkpoint(found[-1]), task.model, head)
  elif step or not config.encoder_weights:  # else given weights, evaluated as they are
    raise UsageError(
      "model_dir must hold the checkpoint of its last step or the best one, for "
      f"the report. Received: {folder} without"
    )
  return build_inspector(config, eval_source, task, step)
