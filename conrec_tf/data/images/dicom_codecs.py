"""Decodes by imagecodecs what pydicom's own plugins need more libraries for: a plugin of it.

The names in capitals, `is_available` and `decode_frame` are what pydicom asks a plugin for.
"""

import importlib.util

import numpy as np
from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner

NAME = "imagecodecs"
LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
DECODER_DEPENDENCIES = {
  syntax: (NAME,) for syntax in (*LOSSLESS, *uid.JPEGLSTransferSyntaxes, uid.JPEGExtended12Bit)
}
END = b"\xff\xd9"
# The markers with which a frame's size begins: all of JPEG's that aren't tables, and JPEG-LS's.
SIZE_FOLLOWS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def register() -> None:
  """Makes pydicom decode by this module too, after the plugins that it has."""
  for syntax in DECODER_DEPENDENCIES:
    get_decoder(syntax).add_plugin(NAME, (__name__, decode_frame.__name__))


def is_available(syntax: str) -> bool:
  """Returns whether frames of a transfer syntax can be decoded."""
  return syntax in DECODER_DEPENDENCIES and importlib.util.find_spec(NAME) is not None


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytearray:
  """Decodes a frame by pixel, and tells the runner of how many bits its numbers are.

  Raises:
    ValueError: it has another size than its file says, no end, or colours of 12 bits.
    Exception: of imagecodecs, where it is damaged.
  """
  import imagecodecs

  if _size(frame) != (runner.rows, runner.columns):
    raise ValueError(f"{_size(frame)} pixels, where its file says {runner.rows, runner.columns}")
  if not frame.rstrip(b"\0").endswith(END):
    raise ValueError("cut off")  # what is missing would be grey
  syntax, is_grey = runner.transfer_syntax, runner.samples_per_pixel == 1
  if syntax in uid.JPEGLSTransferSyntaxes:
    image = imagecodecs.jpegls_decode(frame)
  elif is_grey:
    image = imagecodecs.jpeg8_decode(frame)
  elif syntax in LOSSLESS:  # its channels as they are: what they mean, the file says
    image = imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")
  else:
    raise ValueError("colours of 12 bits")
  runner.set_option("bits_allocated", 8 * image.itemsize)
  runner.set_option("planar_configuration", 0)
  return bytearray(np.ascontiguousarray(image).tobytes())


def _size(frame: bytes) -> tuple[int, int]:
  """Returns height and width by the header of JPEG or JPEG-LS."""
  offset = 2
  while offset + 9 <= len(frame) and frame[offset] == 0xFF:
    length, height, width = (
      int.from_bytes(frame[offset + start : offset + start + 2], "big") for start in (2, 5, 7)
    )
    if frame[offset + 1] in SIZE_FOLLOWS:
      return height, width
    offset += 2 + length
  raise ValueError("no header of JPEG")
