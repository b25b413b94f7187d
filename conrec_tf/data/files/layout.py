"""Splits and labels of images, from the folders that they lie in."""

from collections.abc import Mapping, Sequence
import logging
import os
import re
from typing import NamedTuple

import numpy as np

from conrec_tf.config import Data
from conrec_tf.data.files.groups import check_groups, held_out_groups, holdout_mask
from conrec_tf.data.files.label_table import Row
from conrec_tf.data.files.labels import (
  label_numbers,
  label_text,
  ordered_labels,
  warn_of_near_twins,
  warn_of_odd_labels,
)
from conrec_tf.data.files.walk import base_name, readable, without_ending
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

IMAGES, MASKS, VALID_MASKS = "images", "masks", "fields"  # folders side by side
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
LABELS_ARE = {"image_folder": "folders are", "webdataset": "samples have", "parquet": "rows have"}

Label = str | tuple[str, ...]  # of a sample: one, empty for none, or several


class Layout(NamedTuple):
  """Splits and labels of the images of a folder or an archive.

  Attributes:
    splits: names of splits, `[N]`.
    labels: int64 `[N]`, or 0 and 1 of several labels, `[N, L]`; zeros without labels.
    class_names: of the labels; empty without labels.
    groups: names of groups, patients say, object `[N]`, or None where there are none.
  """

  splits: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...]
  groups: np.ndarray | None = None


def split_word(name: str) -> str:
  """Returns the split that a name has in it, train in photos-train-000; else nothing."""
  words = re.findall("[a-z]+", name.lower())
  return next((word for word in words if word in SPLIT_NAMES), "")


def has_splits(files: Mapping[str, str]) -> bool:
  """Returns whether files of many images, `{name: its split, or nothing}`, are named after splits.

  Raises:
    UsageError: some are, others aren't.
  """
  without = [name for name, split in files.items() if not split]
  if 0 < len(without) < len(files):
    named = next(name for name in files if files[name])
    raise UsageError(
      "data_dir must name files that all have a split's name in theirs, as train-000, or none. "
      f"Received: {named} with {files[named]}, {without[0]} without any"
    )
  return not without


def folder_layout(data: Data, names: Sequence[str], root: str) -> Layout:
  """Returns splits and labels of files, by their folders.

  Labels come in natural order, 2 before 10, or as `label_order` says. Names are compared and
  shown in Unicode's composed form (NFC), without line breaks and tabs.

  Args:
    data: `label_mode`, `label_order` and `ordinal_labels` count.

  Raises:
    UsageError: files lie too deep, on several levels, or there is one label alone.
  """
  parts = [[label_text(folder) for folder in name.split(os.sep)[:-1]] for name in names]
  depths = {len(folders) for folders in parts}
  if data.label_mode == "folders" and depths not in ({1}, {2}):
    raise UsageError(
      "data_dir must hold label/file or split/label/file, for label_mode=folders. "
      f"Received: {_depths_text(names)} in {root}"
    )
  if data.label_mode == "auto" and depths not in ({0}, {1}, {2}):
    raise UsageError(
      "label_mode must be none for images that lie neither flat nor as label/file or "
      f"split/label/file. Received: auto for {_depths_text(names)} in {root}"
    )
  if data.label_mode == "none" or depths == {0}:
    logger.info("%d images without labels; a tenth is held out as split test", len(parts))
    return _unlabelled(None, len(parts))
  outer = [folders[0] for folders in parts]
  if data.label_mode == "auto" and depths == {1}:
    like_splits = sorted(name for name in set(outer) if name.lower() in SPLIT_NAMES)
    others = sorted(set(outer) - set(like_splits))
    if not others:
      logger.info(
        "%d images without labels; folders are splits: %s (--label_mode=folders if they are "
        "labels)",
        len(parts),
        ", ".join(like_splits),
      )
      return _unlabelled(outer, len(parts))
    if len(like_splits) > 1:
      logger.warning(
        "Folders %s are taken for labels, as %s is no name of a split (--label_mode=none if none "
        "is a label)",
        listed(like_splits),
        others[0],
      )
  splits = outer if depths == {2} else None
  return _labelled(data, [folders[-1] for folders in parts], splits, None, root)


def table_layout(data: Data, names: Sequence[str], rows: dict[str, Row]) -> Layout:
  """Returns splits, labels and groups of files, by the rows of `read_label_table`.

  Raises:
    UsageError: some images have a split or a group and others none, a group lies in two splits,
      or there is one label alone.
  """
  columns: dict[str, list[str] | None] = {}
  for column in ("split", "group"):
    values = [getattr(rows[name], column) for name in names]
    if any(values) and not all(values):
      raise UsageError(
        f"label_table must give all images a {column}, or none. "
        f"Received: none for {names[values.index('')]}"
      )
    columns[column] = values if all(values) else None
  splits, groups = columns["split"], columns["group"]
  if data.label_columns:
    several = np.array([rows[name].multi_hot for name in names], np.int64)
    return _multi_hot_layout(data.label_columns, several, splits, groups)
  labels, origin = [rows[name].label for name in names], data.label_table or data.data_dir
  return _labelled(data, labels, splits, groups, origin, given="the table gives")


def sample_layout(
  data: Data,
  names: Sequence[str],
  labels: Mapping[str, Label],
  split_of: Mapping[str, str],
  class_names: tuple[str, ...] = (),
) -> Layout:
  """Returns splits and labels of samples that have their labels beside them.

  Args:
    labels: of each, one, empty for none, or several of each; nothing without labels.
    split_of: of each, or nothing.
    class_names: all labels in the order that counts unless `label_order` sets another; empty for
      those that samples have, in natural order.

  Raises:
    UsageError: there is one label alone, or some samples have one and others a list.
  """
  splits = [split_of[name] for name in names] if split_of else None
  if not labels:
    held_out = "" if splits else "; a tenth is held out as test"
    logger.info("%d images without labels%s", len(names), held_out)
    return _unlabelled(splits, len(names))
  given = [labels[name] for name in names]
  examples = {isinstance(label, tuple): name for name, label in zip(names, given, strict=True)}
  if len(examples) > 1:
    raise UsageError(
      "data_dir must hold one label of each image, or a list of them of each. "
      f"Received: {'one' if labels[examples[False]] else 'none'} for {examples[False]}, a list for "
      f"{examples[True]}"
    )
  if several := [label for label in given if isinstance(label, tuple)]:
    used = {name for label in several for name in label}
    class_names = _class_names(data, used, data.data_dir, class_names)
    has = np.array([[name in label for name in class_names] for label in several], np.int64)
    return _multi_hot_layout(class_names, has, splits, None)
  return _labelled(data, list(map(str, given)), splits, None, data.data_dir, class_names)


def _unlabelled(splits: list[str] | None, count: int) -> Layout:
  """Returns the layout of images without labels, of which a share is held out without splits."""
  if splits is None:
    splits = np.where(holdout_mask(None, count), "test", "train").tolist()
  return Layout(np.array(splits), np.zeros(count, np.int64), ())


def _labelled(
  data: Data,
  labels: list[str],
  splits: list[str] | None,
  groups: list[str] | None,
  origin: str,
  stated: tuple[str, ...] = (),
  given: str = "",
) -> Layout:
  class_names = _class_names(data, set(labels) - {""}, origin, stated)
  logger.info(
    "%d images; %s %d labels: %s",
    len(labels),
    given or LABELS_ARE[data.dataset],
    len(class_names),
    listed(class_names),
  )
  warn_of_odd_labels(labels, class_names)
  if splits is None and groups is None:
    logger.info(
      "There are no splits; a fifth of each label is held out as split test (--label_mode=none if "
      "the folders aren't labels)"
    )
  return _in_splits(label_numbers(labels, class_names), class_names, splits, groups)


def _class_names(
  data: Data, labels: set[str], origin: str, stated: tuple[str, ...] = ()
) -> tuple[str, ...]:
  """Returns labels in their order, at least two; see `ordered_labels`."""
  class_names = ordered_labels(data, labels, stated)
  if len(class_names) < 2:
    raise UsageError(
      "data_dir must hold at least two labels; without labels use --label_mode=none. "
      f"Received: {listed(class_names) or 'none'} alone in {origin}"
    )
  return class_names


def _multi_hot_layout(
  class_names: tuple[str, ...],
  labels: np.ndarray,
  splits: list[str] | None,
  groups: list[str] | None,
) -> Layout:
  """Returns the layout of images of several labels each, int `[N, L]`."""
  count, names = len(class_names), listed(class_names)
  logger.info("%d images, each with any of %d labels: %s", len(labels), count, names)
  if splits is None and groups is None:
    logger.info("There are no splits; a fifth is held out as split test")
  return _in_splits(labels, class_names, splits, groups)


def _in_splits(
  labels: np.ndarray,
  class_names: tuple[str, ...],
  splits: list[str] | None,
  groups: list[str] | None,
) -> Layout:
  """Returns the layout of labelled images, with a fifth held out where there are no splits."""
  for what, names in (("labels", class_names), ("splits", splits), ("groups", groups)):
    warn_of_near_twins(what, names or ())
  if splits is not None:
    if groups is not None:
      check_groups(splits, groups)
    found = np.array(splits)
  elif groups is not None:
    found = held_out_groups(labels, groups, class_names)
  else:
    found = np.where(holdout_mask(labels, len(labels)), "test", "train")
  return Layout(found, labels, class_names, None if groups is None else np.array(groups, object))


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


def without_masks(files: Sequence[str]) -> list[str]:
  """Returns files but for those in folders `masks` and `fields` beside `images`, as they were.

  Where there are other folders too, these are of masks if the images have one of their names.
  """
  folders = [os.path.dirname(name) for name in files]
  kinds = {os.path.basename(folder) for folder in folders}
  if {IMAGES, MASKS} <= kinds <= {IMAGES, MASKS, VALID_MASKS}:
    return [name for name, of in zip(files, folders, strict=True) if os.path.basename(of) == IMAGES]
  names: dict[str, set[str]] = {}
  for name, folder in zip(files, folders, strict=True):
    if os.path.basename(folder) in (IMAGES, MASKS, VALID_MASKS):
      names.setdefault(folder, set()).add(without_ending(base_name(name)))

  def are_masks(folder: str) -> bool:
    above, kind = os.path.split(folder)
    beside = names.get(os.path.join(above, IMAGES), set())
    return kind != IMAGES and not beside.isdisjoint(names[folder])

  left_out = {folder for folder in names if are_masks(folder)}
  return [name for name, folder in zip(files, folders, strict=True) if folder not in left_out]


def layout_beside_masks(names: Sequence[str]) -> Layout:
  """Returns the split of each image, the folder above `images`, and no labels."""
  return unlabelled_layout([readable(os.path.split(os.path.dirname(name))[0]) for name in names])


def unlabelled_layout(splits: Sequence[str]) -> Layout:
  """Returns the layout of images without labels; without splits a tenth of them is held out."""
  warn_of_near_twins("splits", splits)
  if not any(splits):
    logger.info("There are no splits; a tenth is held out as split test")
  return _unlabelled(list(splits) if any(splits) else None, len(splits))
