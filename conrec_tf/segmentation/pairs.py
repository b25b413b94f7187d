"""Pairs images with their masks, by the folders that they lie in or by a CSV file."""

from collections.abc import Callable, Mapping, Sequence
import logging
import os
from typing import NamedTuple

from conrec_tf.data.files.label_table import files_by_name, read_lines
from conrec_tf.data.files.labels import label_text
from conrec_tf.data.files.layout import (
  IMAGES,
  MASKS,
  VALID_MASKS,
  Layout,
  layout_beside_masks,
  unlabelled_layout,
)
from conrec_tf.data.files.walk import without_ending
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)


class Pairs(NamedTuple):
  """The masks of images.

  Attributes:
    masks: `{image: mask}`.
    valid_masks: `{image: valid mask}` of those that have one, where 0 doesn't count.
    layout: from names of images to their splits, without labels.
  """

  masks: Mapping[str, str]
  valid_masks: Mapping[str, str]
  layout: Callable[[list[str]], Layout]


def paired_by_folders(files: Sequence[str], root: str) -> Pairs:
  """Pairs files that lie in folders `images` and `masks` side by side, and perhaps `fields`.

  Args:
    files: paths below the root.

  Raises:
    UsageError: there are no such folders, or a file of one has none in the other.
  """
  sides: dict[str, dict[tuple[str, str], str]] = {IMAGES: {}, MASKS: {}, VALID_MASKS: {}}
  for name in files:
    folder, base = os.path.split(name)
    above, kind = os.path.split(folder)
    if kind not in sides:
      raise UsageError(
        f"data_dir must hold {IMAGES} and {MASKS} side by side, in splits or not. "
        f"Received: {name} in {root}"
      )
    key = above, without_ending(base)
    if key in sides[kind]:
      raise UsageError(
        f"{kind} must have names that differ in more than their endings. "
        f"Received: {sides[kind][key]} and {name} in {root}"
      )
    sides[kind][key] = name
  for here, there in ((IMAGES, MASKS), (MASKS, IMAGES), (VALID_MASKS, IMAGES)):
    alone = sorted(sides[here][key] for key in sides[here].keys() - sides[there].keys())
    if alone:
      raise UsageError(
        f"data_dir must have a file of the same name in {there} for each in {here}, without: "
        f"{len(alone)} of {len(sides[here])}. Received: {listed(alone)} in {root}"
      )
  images, valid_masks = sorted(sides[IMAGES].items()), sides[VALID_MASKS]
  return Pairs(
    {name: sides[MASKS][key] for key, name in images},
    {name: valid_masks[key] for key, name in images if key in valid_masks},
    layout_beside_masks,
  )


def paired_by_table(path: str, names: Sequence[str]) -> Pairs:
  """Reads `image,mask` and perhaps `field` and `split` of files.

  Files are named as in a table of labels; see `read_label_table`. Those that it doesn't name are no
  part of the dataset.

  Args:
    path: of the CSV file, UTF-8.

  Raises:
    UsageError: the file can't be read or lacks a column, an image or mask is missing or named
      twice, or some images have a split and some don't.
  """
  masks, valid_masks, splits = dict[str, str](), dict[str, str](), dict[str, str]()
  known = files_by_name(names)
  named = set[str]()
  for number, given in read_lines("mask_table", path, ("image", "mask"), ("field", "split")):
    where = f"line {number} of {path}"
    image, mask, valid_mask = (
      _file(known, given.get(column, ""), column, where) for column in ("image", "mask", "field")
    )
    if {image, mask} & named or image == mask:
      raise UsageError(
        f"mask_table must pair each image with a mask of its own. Received: {image} with {mask}, "
        f"{where}"
      )
    named |= {image, mask}
    masks[image], splits[image] = mask, label_text(given.get("split", ""))
    if valid_mask:
      valid_masks[image] = valid_mask
  if len({bool(split) for split in splits.values()}) != 1:
    raise UsageError(
      "mask_table must give all images a split, or none, and have images. "
      f"Received: {sum(map(bool, splits.values()))} of {len(splits)} in {path}"
    )
  left = sorted(set(names) - named - set(valid_masks.values()))
  if left:
    logger.warning(
      "Lost: %d of %d files aren't in %s, e.g. %s", len(left), len(names), path, left[0]
    )
  return Pairs(
    masks, valid_masks, lambda chosen: unlabelled_layout([splits[name] for name in chosen])
  )


def _file(known: dict[str, str], text: str, column: str, where: str) -> str:
  """Returns the file that a line names; only a field may be missing."""
  if not text and column == "field":
    return ""
  if text not in known:
    raise UsageError(
      "mask_table must name files of data_dir, by their paths below it or by names that one file "
      f"has. Received: {text or 'nothing'} as {column}, {where}"
    )
  return known[text]
