"""The classes of masks, and the values or colours that stand for them."""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import logging
import os
import re
from typing import NamedTuple

import numpy as np

from conrec_tf.data.files.label_table import read_lines
from conrec_tf.data.files.labels import warn_of_near_twins
from conrec_tf.data.images.by_pillow import BYTE
from conrec_tf.errors import UsageError, listed
from conrec_tf.segmentation.masks import IGNORED, MOST_CLASSES, Mask

logger = logging.getLogger(__name__)

COLUMNS = ("value", "name")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
SKIPPED = "ignored"  # the name in a table of what doesn't count
LOSSY_DISTANCE = 64.0  # from a class, of values that were saved with losses
COLOUR_DISTANCE = 8.0  # of other colours, which programs round
CLEAR_GAP = 32  # between the values of classes, of masks that were saved with losses
WHITE = 0xFFFFFF
FEW_PIXELS = 0.05  # share of a mask saved with losses that may be near no class


@dataclasses.dataclass(frozen=True)
class MaskClasses:
  """The classes of masks.

  Attributes:
    names: of the classes, in their order.
    values: `{value or colour as 0xrrggbb: class}`; several values may be one class, `IGNORED` is
      that of what doesn't count.
    colours: whether values are colours.
  """

  names: tuple[str, ...]
  values: Mapping[int, int]
  colours: bool = False


def class_maps(
  read: Sequence[Mask], path: str, ignored: int
) -> tuple[tuple[str, ...], list[np.ndarray]]:
  """Returns the names of the classes of masks and, of each mask, the class of each pixel.

  Args:
    path: of a CSV file, see `read_mask_classes`; empty: see `found_mask_classes`.
    ignored: the value of pixels that don't count; -1: none.

  Returns:
    names: of the classes.
    maps: uint8 `[h, w]`, `IGNORED` where a pixel doesn't count.

  Raises:
    UsageError: the masks hold something else than classes; see both functions and `class_map`.
  """
  classes = read_mask_classes(path) if path else found_mask_classes(read, ignored)
  if not path and classes.names[0] != "0":
    logger.warning(
      "Of the values of masks that count none is 0: the lowest, %s, is taken for the background, "
      "which means over classes leave out; mask_classes may name another one first",
      classes.names[0],
    )
  if classes.colours and ignored >= 0:
    raise UsageError(
      f"ignored_mask_value must be left out for classes by colour; a line as #ffffff,{SKIPPED} of "
      f"mask_classes says which colour doesn't count. Received: {ignored} with {path}"
    )
  warn_of_low_bits(read)
  if ignored >= 0:
    classes = dataclasses.replace(classes, values={**classes.values, ignored: IGNORED})
  maps, remarks = list[np.ndarray](), list[str]()
  for mask in read:
    found, remark = class_map(mask, classes)
    maps.append(found)
    if remark:
      remarks.append(remark)
  if remarks:
    logger.warning(
      "%d masks hold values beside those of mask_classes, taken for the nearest, e.g. %s",
      len(remarks),
      remarks[0],
    )
  return classes.names, maps


def read_mask_classes(path: str) -> MaskClasses:
  """Reads `value,name` of classes from a CSV file: grey values, palette indices or `#rrggbb`.

  Lines of one name are one class. Classes have the order of the file. What is named `ignored` is
  no class but doesn't count.

  Raises:
    UsageError: it can't be read, or a line isn't of that form.
  """
  names, values, kinds = list[str](), dict[int, int](), set[bool]()
  for number, row in read_lines("mask_classes", path, COLUMNS):
    text, name = row["value"].strip(), row["name"].strip()
    is_colour = bool(COLOUR.fullmatch(text))
    if not name or not (is_colour or text.isdecimal()):
      raise UsageError(
        "mask_classes must give each class a value (a number, or a colour as #rrggbb) and a name. "
        f"Received: line {number} of {path}"
      )
    value = int(text[1:], 16) if is_colour else int(text)
    if value in values:
      raise UsageError(f"mask_classes must name a value once. Received: {text} again in {path}")
    if name not in (*names, SKIPPED):
      names.append(name)
    kinds.add(is_colour)
    values[value] = IGNORED if name == SKIPPED else names.index(name)
  if len(kinds) > 1:
    raise UsageError(f"mask_classes must hold numbers or colours. Received: both in {path}")
  _check_count(names, path)
  warn_of_near_twins("classes", [*names, SKIPPED])
  return MaskClasses(tuple(names), values, kinds == {True})


def found_mask_classes(read: Sequence[Mask], ignored: int) -> MaskClasses:
  """Finds the values of masks; each is a class, named as itself, in the order of values.

  Raises:
    UsageError: a mask has colours, or there are too many values for classes; values aren't those of
      classes but what saving with losses makes of them; palettes differ; 0 is white and more than
      black and white is there; or what is white, or 1, in some masks is another number in others.
  """
  found = list[_Numbers]()
  for mask in read:
    if mask.pixels.ndim == 3:
      raise UsageError(
        "mask_classes must say which colour is which class, for masks in RGB. "
        f"Received: {mask.name}"
      )
    found.append(_numbers_of(mask, ignored))
  for check in (_check_values, _check_palettes, _check_white, _check_bits):
    check(found)
  values = sorted({value for one in found for value in one.values})
  names = [str(value) for value in values]
  _check_count(names, "all masks")
  return MaskClasses(tuple(names), {value: number for number, value in enumerate(values)})


def class_map(mask: Mask, classes: MaskClasses) -> tuple[np.ndarray, str]:
  """Returns the class of each pixel, uint8 `[h, w]`, `IGNORED` where it doesn't count.

  A value that is no class is taken for the nearest, up to a distance and less than half way to
  another class: `LOSSY_DISTANCE` where values were saved with losses, of which a few pixels that
  are further away don't count; else `COLOUR_DISTANCE` of colours, and none of numbers.

  Returns:
    The classes, and what was taken for the nearest, as text; empty if nothing was.

  Raises:
    UsageError: there is another value, or values in place of colours.
  """
  if mask.pixels.ndim == 3 and not classes.colours:
    raise UsageError(
      f"mask_classes must say which colour is which class, for masks in RGB. Received: {mask.name}"
    )
  pixels = mask.colours() if classes.colours else mask.pixels
  if pixels is None:
    raise UsageError(
      f"mask_classes must hold values, for masks without colours. Received: colours for {mask.name}"
    )
  values, inverse, counts = np.unique(pixels, return_inverse=True, return_counts=True)
  values = values.astype(np.int64)  # of which differences are taken
  of_values, is_known = _nearest(mask, values, counts, classes)
  remark = "" if is_known.all() else f"{_shown(values[~is_known], classes)} in {mask.name}"
  lost = counts[(of_values == IGNORED) & ~is_known].sum() / counts.sum()
  if lost:
    remark += f", where {lost:.2%} of the pixels, near none, don't count"
  return of_values[inverse].reshape(pixels.shape), remark


def counted_pixels(field: Mask) -> np.ndarray:
  """Returns which pixels a field says count, bool `[h, w]`: those that aren't 0, or black.

  Of a field that was saved with losses, those that are up to `LOSSY_DISTANCE` from white.

  Raises:
    UsageError: it was saved with losses and more than `FEW_PIXELS` of it are neither about black
      nor white, or its palette has black for what counts.
  """
  values = np.unique(field.pixels)
  if field.is_lossy or field.is_noisy(values):
    colours = field.pixels.ndim == 3
    classes = MaskClasses(("black", "white"), {0: 0, WHITE if colours else field.white: 1}, colours)
    return class_map(field, classes)[0] == 1
  if field.palette is not None and field.palette_colour(0):
    black = [value for value in values.tolist() if value and not field.palette_colour(value)]
    if black or values.tolist() == [0]:
      raise UsageError(
        "fields must store black, which doesn't count, as 0. Received: a palette of which 0 is "
        f"#{field.palette_colour(0):06x} in {field.name}"
      )
  return (field.pixels if field.pixels.ndim == 2 else field.pixels.any(axis=-1)) != 0


def _nearest(
  mask: Mask, values: np.ndarray, counts: np.ndarray, classes: MaskClasses
) -> tuple[np.ndarray, np.ndarray]:
  """Returns of each value of a mask its class, uint8, and whether it is exactly that, bool.

  Args:
    values: its different numbers or colours, sorted.
    counts: their pixels.
  """
  known = np.array(list(classes.values), np.int64)
  class_of = np.array(list(classes.values.values()), np.uint8)
  is_known, is_approximate = np.isin(values, known), mask.is_approximate(values)
  gap = min(
    _distances(known[class_of != own], value, classes.colours).min(initial=np.inf)
    for value, own in zip(known, class_of, strict=True)
  )
  if is_approximate and gap < CLEAR_GAP and (mask.is_lossy or not is_known.all()):
    raise UsageError(
      f"mask_classes must be {CLEAR_GAP} or more apart, for masks that were saved with losses; "
      f"save those as PNG. Received: {mask.name}"
    )
  nearest, distance = np.zeros(len(values), np.int64), np.full(len(values), np.inf)
  for index, value in enumerate(known):
    of_this = _distances(values, value, classes.colours)
    nearest[of_this < distance] = index
    distance = np.minimum(distance, of_this)
  allowed = LOSSY_DISTANCE if is_approximate else COLOUR_DISTANCE if classes.colours else 0.0
  is_near = is_known | ((distance <= allowed) & (2 * distance < gap))
  are_few = counts[~is_near].sum() <= FEW_PIXELS * counts.sum()
  if not is_near.all() and not (is_approximate and are_few):
    raise UsageError(
      f"masks must hold classes alone: {_shown(known, classes)}. "
      f"Received: {_shown(values[~is_near], classes)} in {mask.name}"
    )
  return np.where(is_near, class_of[nearest], np.uint8(IGNORED)), is_known


def _distances(values: np.ndarray, other: int, colours: bool) -> np.ndarray:
  """Returns how far values, or colours in red, green and blue, are from another, `[n]`."""
  if not colours:
    return np.abs(values - other).astype(float)
  parts = [((values >> shift) & 255) - ((other >> shift) & 255) for shift in (16, 8, 0)]
  return np.linalg.norm(np.stack(parts, -1), axis=-1)


def _shown(values: np.ndarray, classes: MaskClasses) -> str:
  return listed([f"#{value:06x}" if classes.colours else str(value) for value in values.tolist()])


def _check_count(names: Sequence[str], where: str | os.PathLike) -> None:
  if not 2 <= len(names) <= MOST_CLASSES:
    raise UsageError(
      f"masks must have 2 to {MOST_CLASSES} classes. Received: {listed(names) or 'none'} in {where}"
    )


class _Numbers(NamedTuple):
  """The numbers in a mask, but for that of pixels that don't count.

  Attributes:
    values: its numbers.
    is_clear: whether these are those of classes, as far as one can see.
  """

  mask: Mask
  values: frozenset[int]
  is_clear: bool


def _numbers_of(mask: Mask, ignored: int) -> _Numbers:
  values = np.unique(mask.pixels)
  counted = [value for value in values.tolist() if value != ignored]
  gap = np.diff(counted).min(initial=CLEAR_GAP)
  is_clear = len(counted) <= MOST_CLASSES and (gap >= CLEAR_GAP or not mask.is_approximate(values))
  return _Numbers(mask, frozenset(counted), is_clear)


def warn_of_low_bits(masks: Sequence[Mask]) -> None:
  """Warns of numbers of fewer than 8 bits beside others, which programs show stretched."""
  grey = [mask for mask in masks if mask.pixels.ndim == 2 and mask.palette is None]
  low = [mask for mask in grey if mask.white < BYTE]
  if low and len(low) < len(grey):
    other = next(mask for mask in grey if mask.white >= BYTE)
    logger.warning(
      "Masks differ in their bits: numbers count as they are stored, 0 to %d in %s, 0 to %d in %s",
      low[0].white,
      low[0].name,
      other.white,
      other.name,
    )


def _check_values(found: Sequence[_Numbers]) -> None:
  values = set[int]()
  for one in found:
    values |= one.values
    if not one.is_clear or len(values) > MOST_CLASSES:
      shown = sorted(values if one.is_clear else one.values)
      raise UsageError(
        f"masks must hold one value for each class, at most {MOST_CLASSES}, and none between as "
        "JPEG or a smaller copy leaves them, or be given classes by mask_classes, of which the "
        f"nearest counts. Received: {len(shown)} with {one.mask.name}, "
        f"{listed([*map(str, shown)])}"
      )


def _check_palettes(found: Sequence[_Numbers]) -> None:
  first = dict[int, tuple[int, str]]()
  for one in found:
    for value in one.values if one.mask.palette is not None else ():
      colour = one.mask.palette_colour(value)
      other, name = first.setdefault(value, (colour, one.mask.name))
      if other != colour:
        raise UsageError(
          "palettes of masks must be alike, or mask_classes say which colours (#rrggbb), or which "
          f"indices whatever their colours, are which class. Received: {value} is #{other:06x} in "
          f"{name} and #{colour:06x} in {one.mask.name}"
        )


def _check_white(found: Sequence[_Numbers]) -> None:
  for one in found:
    if one.mask.white_is_zero and not one.values <= {0, one.mask.white}:
      raise UsageError(
        "masks must store black as 0, or mask_classes say which value is which class, "
        f"{one.mask.white} that of a stored 0. Received: WhiteIsZero, shown as "
        f"{listed([str(value) for value in sorted(one.values)])}, in {one.mask.name}"
      )


def _check_bits(found: Sequence[_Numbers]) -> None:
  """Raises UsageError for 0 and 1 beside 0 and 255, or numbers beside the same ones stretched."""
  whites = sorted({one.mask.white for one in found})
  for low, high in itertools.combinations(whites, 2):
    seen = {
      white: {
        value: one.mask.name for one in found if one.mask.white == white for value in one.values
      }
      for white in (low, high)
    }
    for value, name in seen[low].items():
      stretched = round(value * high / low)
      if value and value not in seen[high] and stretched in seen[high]:
        raise _unlike(value, name, stretched, seen[high][stretched])
  ones = [one.mask.name for one in found if one.values - {0} == {1}]
  for white in whites:
    full = [one.mask.name for one in found if one.values - {0} == {white}]
    if white > 1 and ones and full and not any({1, white} <= one.values for one in found):
      raise _unlike(1, ones[0], white, full[0])


def _unlike(value: int, name: str, other: int, other_name: str) -> UsageError:
  return UsageError(
    "masks must hold one kind of values, or mask_classes say which are which class: lines of one "
    f"name are one class. Received: {value} in {name}, {other} in {other_name}"
  )
