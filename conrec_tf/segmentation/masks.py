"""Masks: the numbers or colours that files of them store, and the class maps that they become."""

from collections.abc import Iterable, Sequence
import dataclasses
import io
import logging

import numpy as np
from PIL import Image, ImageOps
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.images import header
from conrec_tf.data.images.bad_image import as_bad_image
from conrec_tf.data.images.by_pillow import BYTE, WORD, opened
from conrec_tf.data.images.pixel_values import upright
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

IGNORED = 255  # in class maps: a pixel that isn't counted
MOST_CLASSES = 64
NUMBER_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
PNG_BITS_AT, PNG_COLOUR_AT = 24, 25  # bytes of its header
LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF", "HEIF")
NOISE = 16  # by which values of black and white that were saved with losses differ from them


@dataclasses.dataclass(frozen=True)
class Mask:
  """The content of a mask file.

  Attributes:
    name: of the file, for messages.
    pixels: `[h, w]`, numbers as they are stored, uint8 where those can't be larger, else int32; or
      colours uint8 `[h, w, 3]`.
    white: of numbers, the largest that the file can store: 1, 3, 15, 255, 65535.
    palette: uint8 `[n, 3]`, the colour of each number, where the file has a palette.
    is_lossy: whether the file's format changes values.
    white_is_zero: whether it is a TIFF of which 0 is white; its numbers are then those of black 0.
  """

  name: str
  pixels: np.ndarray
  white: int = BYTE
  palette: np.ndarray | None = None
  is_lossy: bool = False
  white_is_zero: bool = False

  def palette_colour(self, number: int) -> int:
    """Returns the colour of a number, as 0xrrggbb; there is a palette."""
    assert self.palette is not None
    red, green, blue = self.palette[number].tolist()
    return red << 16 | green << 8 | blue

  def colours(self) -> np.ndarray | None:
    """Returns colours as 0xrrggbb, int32 `[h, w]`; None where a mask has none."""
    if self.pixels.ndim == 2 and self.palette is None:
      return None
    pixels = self.pixels if self.palette is None else self.palette[self.pixels]
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue

  def is_approximate(self, values: np.ndarray) -> bool:
    """Returns whether a mask's values aren't exactly those of classes, as after lossy saving."""
    if self.is_lossy or len(values) > MOST_CLASSES:
      return True
    return self.is_noisy(values)

  def is_noisy(self, values: np.ndarray) -> bool:
    """Returns whether a mask's values are noise about black and white, as of what was a JPEG."""
    if self.pixels.ndim == 3 or self.palette is not None:
      return False
    dark = (values > 0) & (values <= NOISE)
    bright = (values < self.white) & (values >= self.white - NOISE)
    return self.white > 2 * NOISE and min(dark.sum(), bright.sum()) >= 2


def read_mask(content: bytes, name: str, max_pixels: int = Config.max_pixels) -> Mask:
  """Reads a mask file and turns it upright, as its own EXIF data or TIFF's tag says.

  Palettes aren't looked up: their indices are the numbers. Of fewer than 8 bits numbers are those
  that are stored, which libraries stretch to 255.

  Raises:
    BadImage: it can't be decoded, or has more than `max_pixels`.
    UsageError: it is of another kind.
  """
  with as_bad_image(), opened(content, max_pixels) as image:
    mode, frames, file_format = image.mode, getattr(image, "n_frames", 1), image.format
    white, shown_white = _white(image, content)
    white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO
    is_lossy = file_format in LOSSY or (file_format == "WEBP" and b"VP8 " in content[:64])
    colours = image.getpalette("RGB") if mode == "P" else None
    encoded = tf.constant(content)
    if header.needs_library(encoded):
      pixels = np.asarray(ImageOps.exif_transpose(image))
    else:  # as images are, whose EXIF data Pillow looks for in more places
      pixels = upright(np.asarray(image), int(header.orientation(encoded)))
  if frames == 1 and mode in NUMBER_MODES:
    pixels = pixels.astype(np.int32)
    if white_is_zero and mode.startswith("I"):  # which Pillow inverts of 8 bits alone
      pixels = white - pixels
    elif white != shown_white:
      pixels = np.round(pixels * (white / shown_white)).astype(np.int32)
    palette = None if colours is None else _whole_palette(colours)
    pixels = pixels.astype(np.uint8 if white <= BYTE else np.int32)  # all masks are held at once
    return Mask(name, pixels, white, palette, is_lossy, white_is_zero)
  if frames == 1 and (mode == "RGB" or (mode == "RGBA" and np.all(pixels[..., 3] == 255))):
    return Mask(name, pixels[..., :3], is_lossy=is_lossy)
  raise UsageError(
    "masks must be grey, have a palette, or be RGB. "
    f"Received: {mode}{' in several frames' if frames > 1 else ''} in {name}"
  )


def check_size(name: str, size: Iterable[int], mask_name: str, mask: np.ndarray) -> None:
  """Raises UsageError where a mask isn't as large as its image, height and width, is upright."""
  if mask.shape[:2] != tuple(size):
    raise UsageError(
      f"masks must be as large as their images, {shown_size(size)} for {name}, upright. "
      f"Received: {shown_size(mask.shape[:2])} in {mask_name}"
    )


def shown_size(size: Iterable[int]) -> str:
  """Returns height and width as text."""
  return " x ".join(map(str, size))


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
  for label in range(count):
    for level in range(3):
      for channel in range(3):
        colours[label, channel] |= (label >> (3 * level + channel) & 1) << (7 - level)
  return colours


def mask_image(classes: np.ndarray) -> Image.Image:
  """Returns classes uint8 `[h, w]` as an image with a palette; its indices are the classes."""
  image = Image.fromarray(classes, "P")
  image.putpalette(palette(MOST_CLASSES).tobytes())
  return image


def log_balance(
  names: Sequence[str], maps: Sequence[np.ndarray], measured: Sequence[np.ndarray]
) -> None:
  """Logs which share of the pixels is of which class, and warns of classes without any.

  Args:
    maps: uint8 `[h, w]`, of the training masks.
    measured: likewise, of those of evaluation.
  """
  pixels, of_measured = (
    np.sum([np.bincount(found.ravel(), minlength=IGNORED)[: len(names)] for found in part], axis=0)
    for part in (maps, measured)
  )
  shares = pixels / max(1, pixels.sum())
  logger.info(
    "Classes of masks: %s",
    listed([f"{name} {share:.2%}" for name, share in zip(names, shares, strict=True)]),
  )
  for what, counts, so in (
    ("training", pixels, ""),
    ("evaluation", of_measured, ": Dice is 0 where the network says so, and else there is none"),
  ):
    if missing := [name for name, count in zip(names, counts, strict=True) if not count]:
      logger.warning("No pixel of the %s masks is of %s%s", what, listed(missing), so)


def _white(image: Image.Image, content: bytes) -> tuple[int, int]:
  """Returns the largest number that a file can store, and what Pillow makes of it."""
  if image.mode == "1":
    return 1, 1
  if image.mode == "P":
    return BYTE, BYTE
  shown = BYTE if image.mode == "L" else WORD
  if image.format == "PNG" and content[PNG_COLOUR_AT] == 0:
    return 2 ** content[PNG_BITS_AT] - 1, shown
  if image.format == "TIFF":
    [bits, *_] = image.tag_v2.get(BITS_TAG, (8,))  # type: ignore[attr-defined]
    white = min(2**bits - 1, shown)
    return white, shown if image.mode == "L" else white
  if image.format == "PPM":
    arguments = image.tile[0].args  # type: ignore[attr-defined]
    return (int(arguments[-1]) if isinstance(arguments, tuple) else shown), shown
  return shown, shown


def _whole_palette(colours: list[int]) -> np.ndarray:
  """Returns a palette of 256 colours, black where there are fewer, uint8 `[256, 3]`."""
  given = np.array(colours, np.uint8).reshape(-1, 3)
  return np.concatenate([given, np.zeros([256 - len(given), 3], np.uint8)])
