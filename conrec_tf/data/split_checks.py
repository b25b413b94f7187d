"""Whether the chosen splits are apart, and whether each has all labels; said where they aren't."""

from collections.abc import Sequence
import logging

import numpy as np

from conrec_tf.config import Data
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.labels import multi_hot
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)


def check_splits(data: Data, source: DatasetSource, in_folds: bool) -> None:
  """Warns of images that are learnt from and measured, and of labels that a split lacks.

  Within folds neither is to be said: nothing is measured on the eval split, and folds are apart.

  Args:
    data: its options name the splits.
    source: the dataset of evaluation.
    in_folds: whether folds of the train split are learnt from and measured.

  Raises:
    UsageError: images differ, but groups of them stand in both splits.
  """
  learnt, measured = source.train, source.eval
  if in_folds:
    splits = [learnt]
  else:
    splits = [learnt] + [measured] * (measured.name != learnt.name)
    check_apart(learnt, measured, *_options(data))
  for split in splits:
    warn_of_missing_labels(split, source.class_names)


def _options(data: Data) -> tuple[str, str]:
  """Returns the options that name what is learnt from, and what is measured."""
  if not data.eval_dataset:
    return "train_split", "eval_split"
  return "eval_train_split", "eval_test_split" if data.eval_test_split else "eval_split"


def check_apart(learnt: Split, measured: Split, first: str, second: str) -> None:
  """Warns of images that two splits share, and refuses groups that do.

  Args:
    learnt, measured: the splits.
    first, second: the options that name them.

  Raises:
    UsageError: no image is in both, but a group is.
  """
  shared = shared_images(learnt, measured)
  groups: list[str] = []
  if learnt.groups is not None and measured.groups is not None:
    groups = sorted(set(learnt.groups) & set(measured.groups))
  if len(shared):
    example = f"number {shared[0]}" if measured.names is None else measured.names[shared[0]]
    logger.warning(
      "%d of %d images of %s=%s are images of %s=%s too, e.g. %s%s: numbers that are measured on "
      "them say little of other images",
      len(shared),
      measured.num_examples,
      second,
      measured.name,
      first,
      learnt.name,
      example,
      f" ({len(groups)} groups are in both)" if groups else "",
    )
  elif groups:
    raise UsageError(
      f"{first} and {second} must have no group in common, learnt from and measured. "
      f"Received: {len(groups)} in both of {learnt.name} and {measured.name}, e.g. {groups[0]}"
    )


def shared_images(learnt: Split, measured: Split) -> np.ndarray:
  """Returns places in `measured` of images that `learnt` holds too, int `[n]`, in its order.

  Copies count where the contents of both are known; where records stream, numbers of the stored
  records, which are in the order of the files.
  """
  if learnt.content is not None and measured.content is not None:
    known = set(map(bytes, learnt.content))
    return np.flatnonzero([bytes(digest) in known for digest in measured.content])
  if learnt.stored is not None and measured.stored is not None:
    return np.flatnonzero(np.isin(measured.stored, learnt.stored))
  return np.zeros(0, int)


def warn_of_missing_labels(split: Split, class_names: Sequence[str]) -> None:
  """Warns of labels that no image of a split has."""
  if split.labels is None or not class_names:
    return
  there = multi_hot(split.labels(), len(class_names)).any(axis=0)
  missing = [name for name, known in zip(class_names, there, strict=True) if not known]
  if missing:
    logger.warning(
      "%s has no images of %d of %d labels: %s",
      split.name,
      len(missing),
      len(class_names),
      listed(missing),
    )
