"""Class maps of masks: as files, as pictures, and how much there is of each class."""

from collections.abc import Sequence
import io
import logging

import numpy as np
from PIL import Image

from conrec_tf.errors import listed

logger = logging.getLogger(__name__)

IGNORED = 255  # in class maps: a pixel that isn't counted
MOST_CLASSES = 64


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
    listed([f"{name} {share:.2%}" for name, share in zip(names, shares, strict=True)]),
  )
  missing = [name for name, count in zip(names, pixels, strict=True) if not count]
  if missing:
    logger.warning("No pixel of the training masks is of %s", listed(missing))
