"""Folds of a split for finetuning, the same for every method: all but one are learnt from."""

import dataclasses

import numpy as np

from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.groups import group_folds
from conrec_tf.errors import UsageError

SEED = 0


def with_fold_held_out(source: DatasetSource, number: int, count: int) -> DatasetSource:
  """Returns a dataset whose network is measured on a fold of its train split, and learns the rest.

  Bad images, for which others stand in, and those without a label are in no fold.

  Args:
    source: the dataset, with one label of each image; its eval split isn't used.
    number: of the fold that is held out, from 0.
    count: of the folds.

  Raises:
    UsageError: there are more folds than images or groups, or one label alone would be learnt.
  """
  whole = source.train.without_stand_ins.labelled
  if whole.labels is None:
    raise UsageError(f"dataset must have labels for cv_folds. Received: {source.name} without")
  labels = whole.labels()
  folds = stratified_folds(labels, whole.groups, count)
  for fold in range(count):
    if len(np.unique(labels[folds != fold])) < 2:
      raise UsageError(
        "train_split must have two labels in all but any fold, for cv_folds. "
        f"Received: one without fold {fold} of {count}"
      )
  return dataclasses.replace(
    source,
    train=whole.part(np.flatnonzero(folds != number), f"{whole.name} but for fold {number}"),
    eval=whole.part(np.flatnonzero(folds == number), f"fold {number} of {whole.name}"),
  )


def stratified_folds(
  labels: np.ndarray, groups: np.ndarray | None, count: int, seed: int = SEED
) -> np.ndarray:
  """Returns the fold of each image, int `[N]`: random ones, with shares of labels as in the whole.

  Args:
    labels: int `[N]`.
    groups: object `[N]`, of which each is in one fold, or None.
    count: of the folds.
    seed: fixes them.

  Raises:
    UsageError: there are more folds than images, or than groups.
  """
  if groups is not None:
    return group_folds(labels, groups, count, seed)
  if count > len(labels):
    raise UsageError(
      f"cv_folds must be at most {len(labels)}, the labelled images. Received: {count}"
    )
  shuffled = np.random.default_rng(seed).permutation(len(labels))
  by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
  folds = np.empty(len(labels), int)
  folds[by_label] = np.arange(len(labels)) % count
  return folds
