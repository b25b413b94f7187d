"""Images as Pillow reads them, and what every library that decodes files needs around it."""

import io
import math
import re
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from conrec_tf.data.images.pixel_values import check_size, filled_range, too_large

EXTRA = "pip install 'conrec-tf[formats]'"
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
BYTE, WORD = 255, 65535  # white of 8 and of 16 bits
ANIMATED = ("WEBP", "AVIF")  # formats in which more frames are a film, not further images
JPEG_2000 = b"\0\0\0\x0cjP  "
CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000: its start (SOC) and its sizes (SIZ)
DEPTH_AFTER_CODESTREAM = 42  # Ssiz of the first component, ISO/IEC 15444-1, A.5.1
NETPBM, NETPBM_HEADER = (b"P2", b"P3", b"P5", b"P6"), 4096  # of PGM and PPM; bytes with comments


def read_by_pillow(data: bytes, max_pixels: int) -> np.ndarray:
  """Decodes a file of any kind that Pillow knows, turned upright.

  Returns:
    uint8 or uint16 `[h, w, C]`, C 1 or 3; uint16 as it is stored, WhiteIsZero too.

  Raises:
    ValueError: it has more than `max_pixels`, or its values have no range that is known.
  """
  if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
    library("pillow_heif", "HEIC").register_heif_opener()
  file = opened(data, max_pixels)
  depth, white = _jpeg_2000_depth(data), _netpbm_white(data)
  if depth > 8 and len(file.getbands()) > 1:
    return _jpeg_2000_colours(data, depth)
  if white > BYTE:
    return _netpbm_of_16_bits(file, data, white)
  if file.format in ANIMATED and (frames := getattr(file, "n_frames", 1)) > 1:
    raise ValueError(f"{frames} frames; save one image a file")
  if file.format == "GIF":
    return _on_canvas(file)
  image: Image.Image = ImageOps.exif_transpose(file)
  if image.mode.startswith("I;16"):
    return np.asarray(image).astype(np.uint16)[..., np.newaxis]
  if image.mode in ("I", "F"):
    raise ValueError(no_range(image.mode))
  is_grey = image.mode in ("1", "L", "LA", "La")
  pixels = np.asarray(image.convert("L" if is_grey else "RGB")).reshape(
    image.height, image.width, 1 if is_grey else 3
  )
  if 0 < depth < 8 and image.mode not in ("P", "PA"):  # shifted, so that white of 1 bit is 128
    return filled_range(pixels >> 8 - depth, 2**depth - 1, np.uint8)
  return pixels


def opened(data: bytes, max_pixels: int) -> Any:
  """Opens a file; Pillow's own limit of pixels gives way to a larger one that is asked for.

  Raises:
    ValueError: it has more than `max_pixels`.
  """
  if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
  try:
    file = Image.open(io.BytesIO(data))
  except Image.DecompressionBombError:  # twice as many
    raise ValueError(too_large(max_pixels)) from None
  check_size(file.height, file.width, max_pixels)
  return file


def _on_canvas(file: Image.Image) -> np.ndarray:
  """Returns the first frame of a GIF where it lies on its canvas, black where nothing is.

  So does TensorFlow, of transparent pixels too, where a frame fills the canvas.
  """
  frame = np.asarray(file.convert("RGBA"))
  left, top, right, bottom = file.dispose_extent  # type: ignore[attr-defined]
  image = np.zeros([*frame.shape[:2], 3], np.uint8)
  image[top:bottom, left:right] = frame[top:bottom, left:right, :3]
  return image * (frame[..., 3:] > 0)


def fills_16_bits(data: bytes) -> bool:
  """Returns whether a file's fewer bits, as it states them, have been stretched over 16."""
  return 0 < _jpeg_2000_depth(data) < 16 or BYTE < _netpbm_white(data) < WORD


def _jpeg_2000_depth(data: bytes) -> int:
  """Returns the bits of a JPEG 2000 file's first component; 0 for any other file."""
  if not data.startswith((JPEG_2000, CODESTREAM)):
    return 0
  return (data[data.find(CODESTREAM) + DEPTH_AFTER_CODESTREAM] & 0x7F) + 1


def _jpeg_2000_colours(data: bytes, depth: int) -> np.ndarray:
  """Returns uint16 `[h, w, C]` of colours of more than 8 bits, whose white Pillow turns black."""
  codecs = library("imagecodecs", "JPEG 2000 of colours of more than 8 bits")
  image = codecs.jpeg2k_decode(data)
  return filled_range(image[..., : 3 if image.shape[-1] > 2 else 1], 2**depth - 1)


def _netpbm_white(data: bytes) -> int:
  """Returns the white that a PGM or PPM file states; 0 for any other file."""
  if not data.startswith(NETPBM):
    return 0
  return int(re.sub(rb"#[^\r\n]*", b"", data[:NETPBM_HEADER]).split(None, 4)[3])


def _netpbm_of_16_bits(file: Any, data: bytes, white: int) -> np.ndarray:
  """Returns uint16 `[h, w, C]` of a PGM or PPM, of whose colours Pillow keeps 8 bits."""
  shape, start = (file.height, file.width, len(file.getbands())), file.tile[0].offset
  count = math.prod(shape)
  if data.startswith((b"P5", b"P6")):
    numbers = np.frombuffer(data, ">u2", count, start)
  else:
    numbers = np.array(data[start:].split()[:count]).astype(np.int64)
  return filled_range(numbers.reshape(shape), white)


def no_range(dtype: object) -> str:
  """Returns why values of a dtype are refused."""
  return f"{dtype} pixels have no known range; save 8 or 16 bits a channel"


def library(name: str, kind: str) -> Any:
  """Imports what only some formats need.

  Raises:
    ImportError: it isn't installed.
  """
  try:
    return __import__(name)
  except ImportError as error:
    raise ImportError(f"{kind} needs {name}: {EXTRA}") from error
