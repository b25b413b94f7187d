"""Checkpoints: all that a training needs to go on as if it had never stopped."""

import glob
import logging
import os
import shutil

import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.runs import reason, writing

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
# What TensorFlow's reader raises on bad files, by where they are bad.
UNREADABLE = (tf.errors.OpError, LookupError, OSError, RuntimeError)


class Checkpoints:
  """Numbered checkpoints in `model_dir/checkpoints`, and the best network in `model_dir/best`.

  Args:
    model_dir: folder of the run.
    keep: how many numbered checkpoints to keep.
    keep_every: those of multiples of this step are kept for good; 0: none.
    networks: `{name: trackable}` of everything with weights.
    **others: what else a resumed training needs: optimizer, iterator, metrics.
  """

  def __init__(self, model_dir, keep, networks, keep_every=0, **others):
    self._networks = tf.train.Checkpoint(**networks)
    self._everything = tf.train.Checkpoint(**networks, **others)
    self._keep, self._keep_every = keep, keep_every
    self.folder = os.path.join(model_dir, FOLDER)
    # What is old is removed here, so that nothing stays behind when a process is killed.
    self._manager = _manager(self._everything, self.folder)
    self._best = _manager(self._networks, os.path.join(model_dir, "best"))

  def restore(self):
    """Restores the newest checkpoint that can be read; returns its step, or 0 without any.

    Raises:
      UsageError: there are checkpoints, but none can be read.
    """
    prefixes = _prefixes(self.folder)
    for prefix in reversed(prefixes):
      try:
        self._everything.restore(prefix).assert_existing_objects_matched()
      except (AssertionError, ValueError, *UNREADABLE) as error:
        logger.warning("Checkpoint %s is damaged (%s); trying the one before", prefix,
                       reason(error))
        continue
      logger.info("Continuing from step %d (%s)", step_of(prefix), prefix)
      return step_of(prefix)
    if prefixes:
      raise UsageError("checkpoints in model_dir must be readable, or removed to train anew. "
                       f"Received: {len(prefixes)} damaged ones in {self.folder}")
    return 0

  def restore_networks(self, prefix):
    """Restores weights alone from one checkpoint; returns its step.

    Raises:
      UsageError: it can't be read, or is of another network.
    """
    _restore(self._networks, prefix)
    return step_of(prefix)

  def save(self, step):
    """Saves everything under the number of the step; removes what isn't to be kept.

    Raises:
      UsageError: the folder can't be written; checkpoints before are untouched.
    """
    _save(self._manager, step)
    prefixes = _prefixes(self.folder)
    for prefix in prefixes:
      if step_of(prefix) > step:  # damaged, since it wasn't continued from
        _remove(prefix)
    for prefix in [prefix for prefix in prefixes if step_of(prefix) <= step][:-self._keep]:
      if not self._keep_every or step_of(prefix) % self._keep_every:
        _remove(prefix)

  @property
  def best_step(self):
    """The step of the best networks, or None."""
    newest = self._best.latest_checkpoint
    return step_of(newest) if newest else None

  def save_best(self, step):
    """Saves the networks alone, in place of the best ones before."""
    saved = _save(self._best, step)
    for prefix in _prefixes(self._best.directory):
      if prefix != saved:
        _remove(prefix)


def _manager(checkpoint, folder):
  """A manager that removes nothing, and knows nothing if its list was damaged."""
  try:
    tf.train.get_checkpoint_state(folder)
  except ValueError:
    os.remove(os.path.join(folder, "checkpoint"))
  return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=None)


def _restore(checkpoint, prefix):
  """Restores a part of what a checkpoint holds."""
  try:
    checkpoint.restore(prefix).assert_existing_objects_matched().expect_partial()
  except UNREADABLE as error:
    raise UsageError(f"checkpoint must be readable ({reason(error)}). "
                     f"Received: {prefix}") from error
  except (AssertionError, ValueError) as error:
    raise UsageError("checkpoint must hold the network that the flags describe (encoder, "
                     "base_filters, unet_depth, pooling, channels). "
                     f"Received: {prefix}") from error


def _save(manager, step):
  """Writes a checkpoint, under a temporary name first; returns its prefix."""
  try:
    with writing(os.path.dirname(manager.directory), tf.errors.OpError):
      return manager.save(checkpoint_number=step)
  finally:
    # Of this one if it failed, or of a process that was killed.
    for leftover in glob.glob(os.path.join(glob.escape(manager.directory), "*temp*")):
      shutil.rmtree(leftover, ignore_errors=True)


def _prefixes(folder):
  """The checkpoints in a folder, those of earlier steps first."""
  files = glob.glob(os.path.join(glob.escape(folder), "ckpt-*.index"))
  return sorted((name.removesuffix(".index") for name in files), key=step_of)


def _remove(prefix):
  for name in glob.glob(glob.escape(prefix) + ".*"):
    os.remove(name)


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
  _restore(tf.train.Checkpoint(model=tf.train.Checkpoint(**parts)), prefix)
  logger.info("Starting from %s", prefix)


def step_of(prefix):
  """The step in a checkpoint's name."""
  return int(prefix.rsplit("-", 1)[1])
