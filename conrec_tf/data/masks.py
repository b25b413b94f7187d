"""Mask files: which value or colour of theirs is which class."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import io
import logging
import os
import re

import numpy as np
from PIL import Image

from conrec_tf.config import UsageError, listed
from conrec_tf.data.bad_image import as_bad_image
from conrec_tf.data.csv_table import read_lines
from conrec_tf.data.labels import warn_of_near_twins

logger = logging.getLogger(__name__)

IGNORED = 255  # in class maps: a pixel that isn't counted
MOST_CLASSES = 64
COLUMNS = ("value", "name")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
PALETTE_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


@dataclasses.dataclass(frozen=True)
class MaskClasses:
  """The classes of masks.

  Attributes:
    names: of the classes, in their order.
    values: `{value or colour as 0xrrggbb: class}`; several values may be one class.
    colours: whether values are colours.
  """

  names: tuple[str, ...]
  values: Mapping[int, int]
  colours: bool = False


def mask_classes(path: str, read: Iterable[tuple[str, np.ndarray]], ignored: int) -> MaskClasses:
  """Returns the classes of a CSV file or, without one, those found; see the functions for both."""
  return read_mask_classes(path) if path else found_mask_classes(read, ignored)


def read_mask_classes(path: str) -> MaskClasses:
  """Reads `value,name` of classes from a CSV file: grey values, palette indices or `#rrggbb`.

  Lines of one name are one class. Classes have the order of the file.

  Raises:
    UsageError: it can't be read, or a line isn't of that form.
  """
  names, values, kinds = list[str](), dict[int, int](), set[bool]()
  for number, row in read_lines("mask_classes", path, COLUMNS):
    text, name = row["value"], row["name"]
    is_colour = bool(COLOUR.fullmatch(text))
    if not name or not (is_colour or text.isdigit()):
      raise UsageError(
        "mask_classes must give each class a value (a number, or a colour as #rrggbb) and a name. "
        f"Received: line {number} of {path}"
      )
    value = int(text[1:], 16) if is_colour else int(text)
    if value in values:
      raise UsageError(f"mask_classes must name a value once. Received: {text} again in {path}")
    if name not in names:
      names.append(name)
    kinds.add(is_colour)
    values[value] = names.index(name)
  if len(kinds) > 1:
    raise UsageError(f"mask_classes must hold numbers or colours. Received: both in {path}")
  _check_count(names, path)
  warn_of_near_twins("classes", names)
  return MaskClasses(tuple(names), values, kinds == {True})


def found_mask_classes(masks: Iterable[tuple[str, np.ndarray]], ignored: int) -> MaskClasses:
  """Finds the values of masks; each is a class, named as itself, in the order of values.

  Args:
    masks: (file, values int `[h, w]`), see `read_mask`.
    ignored: the value of pixels that don't count; -1: none.

  Raises:
    UsageError: a mask has colours, or there are too many values for classes.
  """
  values = set[int]()
  for name, mask in masks:
    if mask.ndim == 3:
      raise UsageError(
        f"mask_classes must say which colour is which class, for masks in RGB. Received: {name}"
      )
    values |= set(np.unique(mask).tolist()) - {ignored}
    if len(values) > MOST_CLASSES:
      raise UsageError(
        f"masks must hold at most {MOST_CLASSES} values, one for each class, or say what they are "
        f"by mask_classes. Received: {len(values)} with {name}"
      )
  names = [str(value) for value in sorted(values)]
  _check_count(names, "all masks")
  return MaskClasses(tuple(names), {value: place for place, value in enumerate(sorted(values))})


def read_mask(content: bytes, name: str) -> np.ndarray:
  """Reads a mask file: values int32 `[h, w]`, or colours uint8 `[h, w, 3]`.

  Palettes aren't looked up: their indices are the values.

  Args:
    content: of the file.
    name: of the file, for messages.

  Raises:
    BadImage: it can't be decoded.
    UsageError: it is of another kind.
  """
  with as_bad_image(), Image.open(io.BytesIO(content)) as image:
    mode, frames = image.mode, getattr(image, "n_frames", 1)
    pixels = np.asarray(image)
  if frames == 1 and mode in PALETTE_MODES:
    return pixels.astype(np.int32)
  if frames == 1 and (mode == "RGB" or (mode == "RGBA" and np.all(pixels[..., 3] == 255))):
    return pixels[..., :3]
  raise UsageError(
    "masks must be grey, have a palette, or be RGB. "
    f"Received: {mode}{' in several frames' if frames > 1 else ''} in {name}"
  )


def class_map(mask: np.ndarray, classes: MaskClasses, ignored: int, name: str) -> np.ndarray:
  """Returns the class of each pixel, uint8 `[h, w]`, `IGNORED` where it doesn't count.

  Args:
    mask: what `read_mask` returned.
    classes: which value is which.
    ignored: the value of pixels that don't count; -1: none.
    name: of the file, for messages.

  Raises:
    UsageError: there is another value, or values in place of colours.
  """
  if mask.ndim == 3 and not classes.colours:
    raise UsageError(
      f"mask_classes must say which colour is which class, for masks in RGB. Received: {name}"
    )
  if mask.ndim == 2 and classes.colours:
    raise UsageError(
      f"mask_classes must hold values, for masks that aren't in RGB. Received: colours for {name}"
    )
  if classes.colours:
    red, green, blue = np.moveaxis(mask.astype(np.int32), -1, 0)
    mask = (red << 16) | (green << 8) | blue
  values, inverse = np.unique(mask, return_inverse=True)
  known = {**classes.values, **({ignored: IGNORED} if ignored >= 0 else {})}
  strange = [value for value in values.tolist() if value not in known]
  if strange:
    shown = [f"#{value:06x}" if classes.colours else str(value) for value in strange]
    raise UsageError(
      f"masks must hold classes alone: {listed([str(value) for value in classes.values])}. "
      f"Received: {listed(shown)} in {name}"
    )
  places = np.array([known[value] for value in values.tolist()], np.uint8)
  return places[inverse].reshape(mask.shape)


def encoded(classes: np.ndarray) -> bytes:
  """Returns a class map as a PNG file, which is small and which TensorFlow decodes."""
  buffer = io.BytesIO()
  Image.fromarray(classes).save(buffer, "PNG")
  return buffer.getvalue()


def palette(count: int) -> np.ndarray:
  """Returns a colour for each class, uint8 `[count, 3]`: black, then those of PASCAL VOC.

  A class's bits, three by three, become the high bits of red, green and blue (Everingham et al.
  2010).
  """
  colours = np.zeros([count, 3], np.uint8)
  for place in range(count):
    for level in range(3):
      for channel in range(3):
        colours[place, channel] |= (place >> (3 * level + channel) & 1) << (7 - level)
  return colours


def mask_image(classes: np.ndarray) -> Image.Image:
  """Returns classes uint8 `[h, w]` as an image with a palette; its indices are the classes."""
  image = Image.fromarray(classes, "P")
  image.putpalette(palette(MOST_CLASSES).tobytes())
  return image


def log_balance(names: Sequence[str], maps: Sequence[np.ndarray]) -> None:
  """Logs which share of the pixels is of which class, and warns of classes without any.

  Args:
    names: of the classes.
    maps: uint8 `[h, w]`, of the training masks.
  """
  counts = [np.bincount(found.ravel(), minlength=IGNORED)[: len(names)] for found in maps]
  pixels = np.sum(counts, axis=0)
  shares = pixels / max(1, pixels.sum())
  logger.info(
    "Classes of masks: %s",
    listed([f"{name} {share:.2%}" for name, share in zip(names, shares)]),
  )
  missing = [name for name, count in zip(names, pixels) if not count]
  if missing:
    logger.warning("No pixel of the training masks is of %s", listed(missing))


def _check_count(names: Sequence[str], where: str | os.PathLike) -> None:
  if not 2 <= len(names) <= MOST_CLASSES:
    raise UsageError(
      f"masks must have 2 to {MOST_CLASSES} classes. Received: {listed(names) or 'none'} in {where}"
    )
