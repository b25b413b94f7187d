"""Groups of images, patients say, of which none may lie in two splits."""

from collections.abc import Sequence
import logging

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from conrec_tf.config import UsageError
from conrec_tf.data.labels import marks

logger = logging.getLogger(__name__)

HELD_OUT_OF = 5  # one part of so many
ALIKE = 0.02  # shares of labels in two splits


def check_groups(splits: list[str], groups: list[str]) -> None:
  """Raises UsageError where a group lies in two splits."""
  first: dict[str, str] = {}
  for split, group in zip(splits, groups):
    if first.setdefault(group, split) != split:
      raise UsageError(
        "label_table must have each group in one split. "
        f"Received: group {group} in {first[group]} and {split}"
      )


def held_out_groups(
  labels: np.ndarray, groups: list[str], class_names: Sequence[str]
) -> np.ndarray:
  """Returns splits, train or test, with a fifth held out and no group on both sides.

  Shares of labels are as alike as that allows; of several labels of each image, they are as chance
  makes them.

  Args:
    labels: int `[N]`, or 0 and 1 of several labels, `[N, L]`.
    groups: `[N]`.
    class_names: of the labels.

  Raises:
    UsageError: there are too few groups.
  """
  if len(set(groups)) < HELD_OUT_OF:
    raise UsageError(
      f"label_table must have splits, or at least {HELD_OUT_OF} groups. "
      f"Received: {len(set(groups))}"
    )
  folds: GroupShuffleSplit | StratifiedGroupKFold = (
    GroupShuffleSplit(1, test_size=1 / HELD_OUT_OF, random_state=0)
    if labels.ndim == 2
    else StratifiedGroupKFold(HELD_OUT_OF, shuffle=True, random_state=0)
  )
  _, held = next(iter(folds.split(labels, labels, groups)))
  splits = np.full(len(labels), "train")
  splits[held] = "test"
  shares = [
    marks(labels[splits == split], len(class_names)).mean(axis=0) for split in ("train", "test")
  ]
  furthest = int(np.argmax(np.abs(shares[0] - shares[1])))
  if abs(shares[0][furthest] - shares[1][furthest]) > ALIKE:
    logger.warning(
      "Groups don't allow alike splits: %s is %.1f %% of train and %.1f %% of test",
      class_names[furthest],
      *(100 * share[furthest] for share in shares),
    )
  return splits
