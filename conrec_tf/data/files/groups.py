"""Holds images out where data has no splits; groups of them, patients say, stay together."""

from collections.abc import Sequence
import logging

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from conrec_tf.data.files.labels import multi_hot
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)

HELD_OUT_OF = 5  # one part of so many, of labelled images
UNLABELLED_EVAL_SHARE = 0.1
ALIKE = 0.02  # shares of labels in two splits, or of images from a fifth
FEW_GROUPS = 1000
TRIALS = 5  # partitions of few groups for each number of folds


def holdout_mask(labels: np.ndarray | None, count: int) -> np.ndarray:
  """Returns which images make the eval share of data without splits, bool `[count]`, for any seed.

  Args:
    labels: int `[count]`, of which each class gives the same share but keeps a single image for
      training; or `[count, L]` of several labels each, of which any are taken; or None.
  """
  share = UNLABELLED_EVAL_SHARE if labels is None else 1 / HELD_OUT_OF
  groups = labels if labels is not None and labels.ndim == 1 else np.zeros(count, int)
  generator, held = np.random.default_rng(0), np.zeros(count, bool)
  for group in np.unique(groups):
    members = generator.permutation(np.flatnonzero(groups == group))
    held[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = True
  return held


def check_groups(splits: list[str], groups: list[str]) -> None:
  """Raises UsageError where a group lies in two splits."""
  first: dict[str, str] = {}
  for split, group in zip(splits, groups, strict=True):
    if first.setdefault(group, split) != split:
      raise UsageError(
        "label_table must have each group in one split. "
        f"Received: group {group} in {first[group]} and {split}"
      )


def held_out_groups(
  labels: np.ndarray, groups: Sequence[str] | np.ndarray, class_names: Sequence[str]
) -> np.ndarray:
  """Returns splits, train or test, with about a fifth held out; see `held_out_share`."""
  names = np.asarray(groups, object)
  held = held_out_share(labels, names, seed=0)
  splits = np.where(held, "test", "train")
  logger.info(
    "There are no splits; held out as split test: %d of %d images (%.0f %%), of %d of %d groups",
    held.sum(),
    len(held),
    100 * held.mean(),
    len(set(names[held])),
    len(set(names)),
  )
  shares = [multi_hot(labels[part], len(class_names)).mean(axis=0) for part in (~held, held)]
  furthest = int(np.argmax(np.abs(shares[0] - shares[1])))
  if abs(shares[0][furthest] - shares[1][furthest]) > ALIKE:
    logger.warning(
      "Groups don't allow alike splits: %s is %.1f %% of train and %.1f %% of test",
      class_names[furthest],
      *(100 * share[furthest] for share in shares),
    )
  return splits


def held_out_share(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
  """Returns which images are held out, bool `[N]`: a fifth if groups allow, each on one side.

  Of several partitions into folds, the fold is taken whose share of images is nearest to a fifth,
  of those nearly as near the one with most groups, then with the most alike shares of labels: the
  largest group alone may be near a fifth of the images, too, and would say little.

  Args:
    labels: int `[N]`, or 0 and 1 of several labels, `[N, L]`.
    groups: object `[N]`.

  Raises:
    UsageError: there are too few groups.
  """
  found = len(set(groups))
  if found < HELD_OUT_OF:
    raise UsageError(
      f"label_table must have splits, or for a held-out share at least {HELD_OUT_OF} groups. "
      f"Received: {found}"
    )
  few = found <= FEW_GROUPS  # of many, any fold is near a fifth
  known = multi_hot(labels, int(labels.max()) + 1)
  candidates = [
    folds == fold
    for count in (range(2, HELD_OUT_OF + 1) if few else [HELD_OUT_OF])
    for trial in range(TRIALS if few else 1)
    for folds in [group_folds(labels, groups, count, TRIALS * seed + trial)]
    for fold in range(count)
  ]

  def worth(held: np.ndarray) -> tuple[float, int, float]:
    off = round(abs(held.mean() - 1 / HELD_OUT_OF) / ALIKE)
    unlike = np.abs(known[held].mean(axis=0) - known[~held].mean(axis=0)).max()
    return -off, len(set(groups[held])), -unlike

  return max(candidates, key=worth)


def check_folds(count: int, most: int, what: str) -> None:
  """Raises UsageError where there are more folds than what they are made of."""
  if count > most:
    raise UsageError(f"cv_folds must be at most {most}, {what}. Received: {count}")


def group_folds(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Returns the fold of each image, int `[N]`, none of them empty and each group in one.

  Folds have shares of labels as alike as groups allow, or of several labels as chance makes them;
  see `held_out_share`.

  Raises:
    UsageError: there are fewer groups than folds.
  """
  check_folds(count, len(set(groups)), "the groups of labelled images")
  by_label = labels.ndim == 1 and np.unique(labels, return_counts=True)[1].max() >= count
  kinds = [StratifiedGroupKFold] if by_label else []
  for kind in (*kinds, GroupKFold):
    folds = np.zeros(len(labels), int)
    for fold, (_, held) in enumerate(
      kind(count, shuffle=True, random_state=seed % 2**32).split(labels, labels, groups)
    ):
      folds[held] = fold
    if len(np.unique(folds)) == count:
      break
  return folds
