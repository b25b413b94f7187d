"""Checkpoints: all that a training needs to go on as if it had never stopped."""

import logging
import os

import tensorflow as tf

from conrec_tf.config import UsageError

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"


class Checkpoints:
  """Numbered checkpoints in `model_dir/checkpoints`, and the best network in `model_dir/best`.

  Args:
    model_dir: folder of the run.
    keep: how many numbered checkpoints to keep.
    networks: `{name: trackable}` of everything with weights.
    **others: what else a resumed training needs: optimizer, iterator, metrics.
  """

  def __init__(self, model_dir, keep, networks, **others):
    self._networks = tf.train.Checkpoint(**networks)
    self._everything = tf.train.Checkpoint(**networks, **others)
    self.folder = os.path.join(model_dir, FOLDER)
    self._manager = tf.train.CheckpointManager(self._everything, self.folder, max_to_keep=keep)
    self._best = tf.train.CheckpointManager(
        self._networks, os.path.join(model_dir, "best"), max_to_keep=1)

  def restore(self):
    """Restores the newest checkpoint, if there is one; returns its step, or 0."""
    newest = self._manager.latest_checkpoint
    if not newest:
      return 0
    self._everything.restore(newest).assert_existing_objects_matched()
    logger.info("Continuing from step %d (%s)", step_of(newest), newest)
    return step_of(newest)

  def restore_networks(self, prefix):
    """Restores weights alone from one checkpoint; returns its step."""
    self._networks.restore(prefix).assert_existing_objects_matched().expect_partial()
    return step_of(prefix)

  def save(self, step):
    """Saves everything under the number of the step."""
    self._manager.save(checkpoint_number=step)

  def save_best(self, step):
    """Saves the networks alone, in place of the best ones before."""
    self._best.save(checkpoint_number=step)


def restore_representation(path, model):
  """Restores encoder, pooling and, where the model has one, projection head.

  Args:
    path: a model_dir, whose last checkpoint counts, or the prefix of a checkpoint.
    model: a built `ConRec`.

  Raises:
    UsageError: there is no checkpoint, or it is of another network.
  """
  prefix = tf.train.latest_checkpoint(os.path.join(path, FOLDER)) or path
  if not os.path.exists(prefix + ".index"):
    raise UsageError("checkpoint must be a model_dir with a checkpoint in it, or a checkpoint's "
                     f"prefix. Received: {path}")
  parts = {name: part for name in ("encoder", "pooling", "projection_head")
           if (part := getattr(model, name))}
  try:
    restored = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts)).restore(prefix)
    restored.assert_existing_objects_matched().expect_partial()
  except (AssertionError, ValueError) as error:
    raise UsageError("checkpoint must hold the network that the flags describe (encoder, "
                     "base_filters, unet_depth, pooling, channels). "
                     f"Received: {prefix}") from error
  logger.info("Starting from %s", prefix)


def step_of(prefix):
  """The step in a checkpoint's name."""
  return int(prefix.rsplit("-", 1)[1])
