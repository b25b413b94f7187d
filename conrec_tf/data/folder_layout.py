"""Splits and labels of images, from the folders that they lie in."""

from collections.abc import Sequence
import logging
import os
import re
import unicodedata

import numpy as np

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import holdout_mask

logger = logging.getLogger(__name__)

SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
NAMES_SHOWN = 10

Layout = tuple[np.ndarray, np.ndarray, tuple[str, ...]]


def folder_layout(config: Config, names: Sequence[str], root: str) -> Layout:
  """Returns split names `[N]`, labels int64 `[N]` and class names of files, by their folders.

  Labels come in natural order, 2 before 10, or as `label_order` says. Names are compared and
  shown in Unicode's composed form (NFC), without line breaks and tabs.

  Args:
    config: `label_mode`, `label_order` and `ordinal_labels` count.
    names: of the files, below the root.
    root: the folder, for messages.

  Raises:
    UsageError: files lie too deep, on several levels, or there is one label alone.
  """
  parts = [[label_text(folder) for folder in name.split(os.sep)[:-1]] for name in names]
  depths = {len(folders) for folders in parts}
  if config.label_mode == "folders" and depths not in ({1}, {2}):
    raise UsageError(
      "data_dir must hold label/file or split/label/file, for label_mode=folders. "
      f"Received: {_depths_text(names)} in {root}"
    )
  if config.label_mode == "auto" and depths not in ({0}, {1}, {2}):
    raise UsageError(
      "label_mode must be none for images that lie neither flat nor as label/file or "
      f"split/label/file. Received: auto for {_depths_text(names)} in {root}"
    )
  if config.label_mode == "none" or depths == {0}:
    logger.info("%d images without labels; a tenth is held out as split test", len(parts))
    return _shares(None, len(parts)), np.zeros(len(parts), np.int64), ()
  outer = {folders[0] for folders in parts}
  if (
    config.label_mode == "auto"
    and depths == {1}
    and {name.lower() for name in outer} <= SPLIT_NAMES
  ):
    logger.info(
      "%d images without labels; folders are splits: %s (--label_mode=folders if they are labels)",
      len(parts),
      ", ".join(sorted(outer)),
    )
    return np.array([folders[0] for folders in parts]), np.zeros(len(parts), np.int64), ()
  labels = [folders[-1] for folders in parts]
  class_names = ordered_labels(set(labels), config.label_order, config.ordinal_labels)
  if len(class_names) < 2:
    raise UsageError(
      "data_dir must hold at least two labels; without labels use --label_mode=none. "
      f"Received: {class_names[0]} alone in {root}"
    )
  places = {name: place for place, name in enumerate(class_names)}
  indices = np.array([places[label] for label in labels], np.int64)
  logger.info(
    "%d images; folders are %d labels: %s", len(parts), len(class_names), _listed(class_names)
  )
  if depths == {2}:
    splits = np.array([folders[0] for folders in parts])
    _warn_of_missing_labels(splits, indices, class_names)
    return splits, indices, class_names
  logger.info(
    "There are no splits; a fifth of each label is held out as split test "
    "(--label_mode=none if the folders aren't labels)"
  )
  return _shares(indices, len(parts)), indices, class_names


def label_text(name: str) -> str:
  """Returns a name as text that can be compared, shown and written on one line."""
  text = os.fsencode(name).decode("utf-8", "backslashreplace")
  return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", unicodedata.normalize("NFC", text))


def ordered_labels(labels: set[str], order: str, ordinal: bool) -> tuple[str, ...]:
  """Puts labels in their order: what the user says, or the natural one.

  Args:
    labels: the names.
    order: all of them, separated by commas; empty for natural order.
    ordinal: whether the order matters, so that one of words is to be looked at.

  Raises:
    UsageError: `order` doesn't hold just these labels.
  """
  if order:
    given = tuple(name.strip() for name in order.split(","))
    if set(given) != labels or len(given) != len(labels):
      raise UsageError(
        f"label_order must name each label once: {_listed(sorted(labels, key=natural))}. "
        f"Received: {order}"
      )
    return given
  found = tuple(sorted(labels, key=natural))
  if ordinal and not all(re.search(r"\d", name) for name in found):
    logger.warning(
      "Grades are taken in this order: %s (--label_order sets another)", ", ".join(found)
    )
  return found


def natural(name: str) -> list[tuple[bool, int, str]]:
  """Returns a key for sorting: numbers within names by their value, all else by code points."""
  return [
    (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
    for part in re.split(r"(\d+)", name)
    if part
  ]


def _warn_of_missing_labels(
  splits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> None:
  for split in np.unique(splits):
    there = set(labels[splits == split].tolist())
    missing = [name for label, name in enumerate(class_names) if label not in there]
    if missing:
      logger.warning(
        "Split %s has no images of %d of %d labels: %s",
        split,
        len(missing),
        len(class_names),
        _listed(missing),
      )


def _listed(names: Sequence[str]) -> str:
  return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def _shares(labels: np.ndarray | None, count: int) -> np.ndarray:
  return np.where(holdout_mask(labels, count), "test", "train")


def _depths_text(names: Sequence[str]) -> str:
  """Says how deep files lie, with one of each depth, the odd ones first."""
  by_depth: dict[int, list[str]] = {}
  for name in names:
    by_depth.setdefault(name.count(os.sep), []).append(name)
  parts = [
    f"{len(found)} files {depth} folders deep, e.g. {label_text(min(found))}"
    for depth, found in sorted(by_depth.items(), key=lambda pair: len(pair[1]))
  ]
  return " and ".join(parts)
