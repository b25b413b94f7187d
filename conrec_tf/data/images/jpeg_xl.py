"""JPEG XL files: their size and bits by their header, ISO/IEC 18181-1, and their pixels."""

import numpy as np

from conrec_tf.data.images.by_pillow import library, no_range
from conrec_tf.data.images.pixel_values import check_size, filled_range

CODESTREAM = b"\xff\x0a"
SIGNATURES = (CODESTREAM, b"\0\0\0\x0cJXL ")
HEADER_BYTES = 64  # more than it can have up to the bits
# Of sizes and bits, by two bits that come before: what is added to so many bits.
SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))
DEPTHS = ((8, 0), (10, 0), (12, 0), (1, 6))
# Widths by heights, whose number stands in place of a width.
RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read_jpeg_xl(data: bytes, bits: int, max_pixels: int) -> np.ndarray:
  """Decodes a file, turned upright.

  Returns:
    uint8 or uint16 `[h, w, C]`, C 1 or 3, that fills its range: other bits than 8 and 16 are
    stretched, and of 16 as many as `bits`, if not 0. Alpha is dropped.

  Raises:
    ValueError: it is too large, holds several images, or values that have no known range.
    Exception: of imagecodecs, where it is damaged.
  """
  height, width, stored = _size_and_bits(data)
  check_size(height, width, max_pixels)
  image = np.atleast_3d(library("imagecodecs", "JPEG XL").jpegxl_decode(data))
  if image.dtype not in (np.uint8, np.uint16):
    raise ValueError(no_range(image.dtype))
  image = image[..., : image.shape[-1] - (image.shape[-1] in (2, 4))]  # the last is alpha
  used = bits if bits and stored == 16 else stored
  return image if used in (8, 16) else filled_range(image, 2**used - 1, image.dtype.type)


def _size_and_bits(data: bytes) -> tuple[int, int, int]:
  """Returns height and width, as stored, and the bits of a sample, of floats too."""
  start = len(CODESTREAM) + (0 if data.startswith(CODESTREAM) else _start(data))
  bits = _Bits(data[start : start + HEADER_BYTES])
  size = bits.size()
  if bits.take(1):  # all as it is by default
    return *size, 8
  if bits.take(1):
    bits.take(3)  # orientation
    if bits.take(1):
      bits.size()  # at which it is to be shown
    if bits.take(2):
      raise ValueError("JPEG XL of several images isn't read; save one image a file")
  bits.take(1)  # floats
  return *size, bits.choice(DEPTHS)


def _start(data: bytes) -> int:
  """Returns where the codestream begins in a file of boxes, in whole or its first part."""
  offset = 0
  while offset + 8 < len(data):
    length, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
    header = 8
    if length == 1:
      length, header = int.from_bytes(data[offset + 8 : offset + 16], "big"), 16
    if kind in (b"jxlc", b"jxlp"):
      return offset + header + (4 if kind == b"jxlp" else 0)  # the part's number
    offset += max(length, header)
  raise ValueError("JPEG XL without an image")


class _Bits:
  """The bits of a header, the lowest of each byte first."""

  def __init__(self, data: bytes) -> None:
    self._left = int.from_bytes(data, "little")

  def take(self, count: int) -> int:
    """Returns the next number of so many bits."""
    number, self._left = self._left & (1 << count) - 1, self._left >> count
    return number

  def choice(self, forms: tuple[tuple[int, int], ...]) -> int:
    """Returns the next number, which two bits say the form of."""
    added, count = forms[self.take(2)]
    return added + self.take(count)

  def size(self) -> tuple[int, int]:
    """Returns the next height and width."""
    is_small = self.take(1)

    def side() -> int:
      return 8 + 8 * self.take(5) if is_small else self.choice(SIDES)

    height = side()
    ratio = RATIOS[self.take(3)]
    return height, side() if ratio is None else height * ratio[0] // ratio[1]
