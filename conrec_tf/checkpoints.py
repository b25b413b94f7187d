"""Checkpoints: all that a training needs to go on as if it had never stopped."""

import logging
import os

import tensorflow as tf

logger = logging.getLogger(__name__)


class Checkpoints:
  """Numbered checkpoints in `model_dir/checkpoints`, and the best model in `model_dir/best`.

  Args:
    model_dir: folder of the run.
    keep: how many numbered checkpoints to keep.
    model: the network.
    **others: what else a resumed training needs: optimizer, iterator, metrics.
  """

  def __init__(self, model_dir, keep, model, **others):
    self._everything = tf.train.Checkpoint(model=model, **others)
    self._manager = tf.train.CheckpointManager(
        self._everything, os.path.join(model_dir, "checkpoints"), max_to_keep=keep)
    self._best = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model), os.path.join(model_dir, "best"), max_to_keep=1)

  def restore(self):
    """Restores the newest checkpoint, if there is one; returns its step, or 0."""
    newest = self._manager.latest_checkpoint
    if not newest:
      return 0
    self._everything.restore(newest).assert_existing_objects_matched()
    step = step_of(newest)
    logger.info("Continuing from step %d (%s)", step, newest)
    return step

  def save(self, step):
    """Saves everything under the number of the step."""
    self._manager.save(checkpoint_number=step)

  def save_best(self, step):
    """Saves the model alone, in place of the best one before."""
    self._best.save(checkpoint_number=step)


def step_of(prefix):
  """The step in a checkpoint's name."""
  return int(prefix.rsplit("-", 1)[1])
