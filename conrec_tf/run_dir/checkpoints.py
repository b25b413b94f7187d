"""Checkpoints: all that a training needs to go on as if it had never stopped."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import logging
import os
import pathlib
import re
import tempfile
from typing import Any

import tensorflow as tf

from conrec_tf.errors import UsageError, as_usage_error, short_message
from conrec_tf.files import io_as_usage_error, remove
from conrec_tf.run_dir.run_directory import BEST, CHECKPOINTS, RunDirectory, prefixes, step_of

logger = logging.getLogger(__name__)

# A checkpoint's folder, and the list of checkpoints.
UNFINISHED = re.compile(r"ckpt-\d+_temp.*|checkpoint\.tmp[0-9a-f]+")
# What TensorFlow's reader raises on bad files, by where they are bad.
UNREADABLE = (tf.errors.OpError, LookupError, OSError, RuntimeError)


class Checkpoints:
  """Numbered checkpoints in `model_dir/checkpoints`, and the best network in `model_dir/best`.

  Attributes:
    folder: of the numbered checkpoints.

  Args:
    keep: how many numbered checkpoints to keep.
    keep_every: those of multiples of this step are kept for good; 0: none.
    repairs: whether to put right, where it restores, what a killed process left; one process does.
    networks: `{name: trackable}` of everything with weights.
    **others: what else a resumed training needs: optimizer, metrics.
  """

  def __init__(
    self,
    model_dir: str | os.PathLike,
    keep: int,
    networks: dict[str, Any],
    keep_every: int = 0,
    repairs: bool = True,
    **others: Any,
  ) -> None:
    self._networks = tf.train.Checkpoint(**networks)
    self._everything = tf.train.Checkpoint(**networks, **others)
    self._keep, self._keep_every, self._repairs = keep, keep_every, repairs
    self.folder = os.path.join(model_dir, CHECKPOINTS)
    # What is old is removed here, so that nothing stays behind when a process is killed.
    self._manager = _manager(self._everything, self.folder)
    self._best = _manager(self._networks, os.path.join(model_dir, BEST))
    self._newest: int | None = None  # the step of what is there of this training

  def restore(self) -> int:
    """Restores the newest checkpoint that can be read; returns its step, or 0 without any.

    What a process that was killed while it saved has left behind is removed.

    Raises:
      UsageError: there are checkpoints, but none can be read.
    """
    _remove_unfinished(self.folder)
    saved = prefixes(self.folder)
    for prefix in reversed(saved):
      try:
        self._everything.restore(prefix).assert_existing_objects_matched()
      except (AssertionError, ValueError, *UNREADABLE) as error:
        logger.warning(
          "Checkpoint %s is damaged (%s); trying the one before", prefix, short_message(error)
        )
        continue
      logger.info("Continuing from step %d (%s)", step_of(prefix), prefix)
      self._newest = step_of(prefix)
      if self._repairs and not _is_listed(prefix):  # whoever saved it was killed before
        self._list(prefix)
      return self._newest
    if _is_unfinished_first(saved):
      logger.warning("That was the first one, and wasn't finished; training begins anew")
      if self._repairs:
        _remove(saved[0])
    elif saved:
      raise UsageError(
        "checkpoints in model_dir must be readable, or removed to train anew. "
        f"Received: {len(saved)} damaged ones in {self.folder}"
      )
    return 0

  def _list(self, prefix: str) -> None:
    """Ends the list with a checkpoint."""
    with io_as_usage_error(os.path.dirname(self.folder), tf.errors.OpError):
      tf.compat.v1.train.update_checkpoint_state(self.folder, os.path.basename(prefix))
    self._manager = _manager(self._everything, self.folder)

  def restore_networks(self, prefix: str) -> int:
    """Restores weights alone from one checkpoint; returns its step.

    Raises:
      UsageError: it can't be read, or is of another network.
    """
    restore(self._networks, prefix)
    return step_of(prefix)

  def save(self, step: int) -> None:
    """Saves everything under the number of the step, unless that was done; removes what's too old.

    Raises:
      UsageError: the folder can't be written; checkpoints before are untouched.
    """
    if step == self._newest:
      return
    _save(self._manager, step)
    self._newest = step
    saved = prefixes(self.folder)
    for prefix in saved:
      if step_of(prefix) > step:  # damaged, since it wasn't continued from
        _remove(prefix)
    for prefix in [prefix for prefix in saved if step_of(prefix) <= step][: -self._keep]:
      if not self._keep_every or step_of(prefix) % self._keep_every:
        _remove(prefix)

  @contextlib.contextmanager
  def kept_aside(self) -> Iterator[Callable[[], None]]:
    """Yields what restores everything as it is now, from a temporary folder outside `model_dir`."""
    self._everything.save_counter  # noqa: B018  # else the first checkpoint adds it to what is restored
    with tempfile.TemporaryDirectory() as folder:
      prefix = self._everything.write(os.path.join(folder, "now"))
      yield lambda: self._everything.read(prefix).assert_existing_objects_matched()

  @property
  def best_step(self) -> int | None:
    """The step of the best networks, or None."""
    newest = self._best.latest_checkpoint
    return step_of(newest) if newest else None

  def save_best(self, step: int) -> None:
    """Saves the networks alone, in place of the best ones before.

    One process at a time does that.
    """
    _remove_unfinished(self._best.directory)
    saved = _save(self._best, step)
    for prefix in prefixes(self._best.directory):
      if prefix != saved:
        _remove(prefix)


def _manager(checkpoint: tf.train.Checkpoint, folder: str) -> tf.train.CheckpointManager:
  """Returns a manager that removes nothing, and knows nothing if its list was damaged."""
  try:
    tf.train.get_checkpoint_state(folder)
  except ValueError:
    with contextlib.suppress(FileNotFoundError):  # another worker was first
      os.remove(os.path.join(folder, "checkpoint"))
  return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=None)


def restore(checkpoint: tf.train.Checkpoint, prefix: str) -> None:
  """Restores a part of what a checkpoint holds.

  Raises:
    UsageError: it can't be read, or is of another network.
  """
  with as_usage_error("checkpoint must be readable", prefix, *UNREADABLE):
    try:
      checkpoint.restore(prefix).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError) as error:
      raise UsageError(
        "checkpoint must hold the network that the flags describe (encoder, base_filters, "
        f"unet_depth, pooling, channels). Received: {prefix}"
      ) from error


def goes_on(directory: RunDirectory) -> bool:
  """Returns whether a run's folder holds checkpoints, and not an unfinished first one alone.

  What doesn't go on begins, whatever lies there: from the network that it is to start from.
  """
  saved = prefixes(directory.path / CHECKPOINTS)
  return bool(saved) and not _is_unfinished_first(saved)


def _is_unfinished_first(saved: Sequence[str]) -> bool:
  """Returns whether checkpoints are one alone, which a process was killed while it wrote."""
  return len(saved) == 1 and not _is_listed(saved[0]) and _has_torn_index(saved[0])


def _is_listed(prefix: str) -> bool:
  """Returns whether TensorFlow's list ends with a checkpoint, as it does once that is whole."""
  with contextlib.suppress(ValueError):  # the list is damaged
    state = tf.train.get_checkpoint_state(os.path.dirname(prefix))
    return bool(state) and os.path.basename(state.model_checkpoint_path) == os.path.basename(prefix)
  return False


def _has_torn_index(prefix: str) -> bool:
  """Returns whether a checkpoint's index can be read but isn't whole; TensorFlow writes it last."""
  try:
    pathlib.Path(f"{prefix}.index").read_bytes()
  except OSError:
    return False
  try:
    tf.train.load_checkpoint(prefix)
  except (ValueError, *UNREADABLE):
    return True
  return False


def _save(manager: tf.train.CheckpointManager, step: int) -> str:
  """Writes a checkpoint, under a temporary name first; returns its prefix."""
  try:
    with io_as_usage_error(os.path.dirname(manager.directory), tf.errors.OpError):
      return manager.save(checkpoint_number=step)
  finally:
    _remove_unfinished(manager.directory, f"ckpt-{step}_")


def _remove_unfinished(folder: str, start: str = "") -> None:
  """Removes what TensorFlow writes before it renames: of a name's start, or all in a folder."""
  with contextlib.suppress(OSError):
    for name in filter(UNFINISHED.fullmatch, os.listdir(folder)):
      with contextlib.suppress(OSError):
        if name.startswith(start):
          remove(pathlib.Path(folder, name))


def _remove(prefix: str) -> None:
  """Removes the files of a checkpoint; copies of them that a user made stay.

  Raises:
    UsageError: the folder can't be written.
  """
  name = re.compile(re.escape(os.path.basename(prefix)) + r"\.(index|data-\d+-of-\d+)")
  folder = os.path.dirname(prefix)
  with io_as_usage_error(os.path.dirname(folder)):
    for file in filter(name.fullmatch, os.listdir(folder)):
      os.remove(os.path.join(folder, file))
