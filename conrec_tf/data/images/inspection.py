"""Looks at every image of a dataset, without stopping at bad ones."""

from collections.abc import Callable
import functools
import re
from typing import Any
import zlib

import numpy as np
import simplejpeg
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.images import formats, header
from conrec_tf.data.images.bad_image import as_bad_image, reason
from conrec_tf.data.images.decoding import NATIVE, decode_stored, of_bytes, within_limit

# Bytes before the end (EOI) that some cameras write; damage leaves more, or some elsewhere.
LEFT_OVER = 16
# Markers of JPEG (ITU-T T.81, table B.1): frames by process, and where the pixels begin.
FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
LOSSLESS = dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG") | {0xF7: "JPEG-LS"}
START_OF_SCAN = 0xDA
PNG_FRAME = 12  # bytes of a chunk of PNG around its data: length, kind, and checksum

# From an image's bytes, a string scalar, to int32 `[4]`: height, width, channels, bits a channel.
Describe = Callable[[tf.Tensor], tf.Tensor]


@functools.cache
def image_describer(max_pixels: int, dicom_window: str, dicom_frames: str) -> Describe:
  """Returns `describe_image` of these options, which is traced once; threads may call it."""
  describe = tf.function(
    lambda encoded: describe_image(encoded, max_pixels, dicom_window, dicom_frames),
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,  # takes seconds, nothing needs it
  )
  return describe.get_concrete_function()


def describe_image(
  encoded: tf.Tensor,
  max_pixels: int = Config.max_pixels,
  dicom_window: str = "",
  dicom_frames: str = "",
) -> tf.Tensor:
  """Decodes an image file to see whether that works, and what it holds.

  JPEG and GIF files that are damaged within, which TensorFlow decodes to grey or shifted areas,
  fail too, as does a PNG whose orientation is damaged.

  Args:
    encoded: scalar string.
    max_pixels, dicom_window, dicom_frames: see `decode_stored`.

  Returns:
    int32 `[4]`: height, width (of the image turned upright), channels, bits a channel, 8 or 16.
  """

  def by_tensorflow() -> tf.Tensor:
    shape = tf.shape(decode_stored(encoded, NATIVE, 0, max_pixels))
    colors = tf.where(shape[2] <= 2, 1, 3)  # alpha doesn't count
    bits = tf.where(header.is_16_bit_png(encoded), 16, 8)
    return tf.concat([shape[:2], [colors, bits]], 0)

  def of_jpeg() -> tf.Tensor:
    with tf.control_dependencies([of_bytes(_with_known_process, encoded, tf.bool)]):
      shape = tf.image.extract_jpeg_shape(encoded)
    area = tf.reduce_prod(tf.cast(shape[:2], tf.int64))
    is_whole = of_bytes(_is_whole_jpeg, within_limit(encoded, area, max_pixels), tf.bool)
    by_header = tf.concat([shape[:2], [tf.where(shape[2] == 1, 1, 3), 8]], 0)
    return tf.cond(is_whole, lambda: by_header, by_tensorflow)

  def of_png() -> tf.Tensor:
    whole = of_bytes(_with_whole_orientation, encoded, tf.bool)
    with tf.control_dependencies([whole]):
      return by_tensorflow()

  def by_library() -> tf.Tensor:
    def read(data: bytes) -> np.ndarray:
      image = formats.read_image(data, 0, max_pixels, dicom_window, dicom_frames)
      return np.array([*image.shape, 8 * image.itemsize], np.int32)

    return of_bytes(read, encoded, tf.int32)

  stored = tf.case(
    [(tf.io.is_jpeg(encoded), of_jpeg), (header.is_png(encoded), of_png)], default=by_library
  )
  stored = tf.ensure_shape(stored, [4])
  size = header.upright_size(stored[:2], header.orientation(encoded))
  return tf.concat([size, stored[2:]], 0)


@as_bad_image()
def _with_known_process(data: bytes) -> np.bool_:
  """Returns true for a JPEG of 8 bits that isn't lossless, as far as its header can be followed."""
  offset = 2
  while offset + 5 <= len(data) and data[offset] == 0xFF and data[offset + 1] != START_OF_SCAN:
    kind = data[offset + 1]
    if kind in LOSSLESS:
      raise ValueError(f"{LOSSLESS[kind]}, which isn't read; save PNG")
    if kind in FRAMES and data[offset + 4] != 8:
      raise ValueError(f"JPEG of {data[offset + 4]} bits, which isn't read; save PNG")
    offset += 1 if kind == 0xFF else 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
  return np.True_


@as_bad_image()
def _is_whole_jpeg(data: bytes) -> np.bool_:
  """Returns whether a JPEG decodes without a remark, at an eighth of its size; fails for damage."""
  try:
    color = simplejpeg.decode_jpeg_header(data)[2]
    simplejpeg.decode_jpeg(data, {"Gray": "Gray", "CMYK": "CMYK"}.get(color, "RGB"), min_factor=8)
  except ValueError as error:
    left_over = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
    if not left_over or int(left_over[1]) >= LEFT_OVER:
      raise
    return np.False_
  return np.True_


@as_bad_image()
def _with_whole_orientation(data: bytes) -> np.bool_:
  """Returns true for a PNG whose EXIF data, if any, is as its checksum says, else raises.

  libpng passes over what is damaged there, and the image would be turned as it happens to say.
  """
  offset = len(header.PNG)
  while offset + PNG_FRAME <= len(data):
    end = offset + PNG_FRAME - 4 + int.from_bytes(data[offset : offset + 4], "big")
    kind = data[offset + 4 : offset + 8]
    if kind == b"eXIf" and zlib.crc32(data[offset + 4 : end]).to_bytes(4, "big") != data[end:][:4]:
      raise ValueError("damaged EXIF data, which says how it is turned")
    offset = end + 4
  return np.True_


def decode_error(describe: Describe, image: Any) -> str:
  """Returns why a function, outside of a graph, fails on an image, in a few words; or nothing."""
  try:
    describe(image)
  except Exception as error:  # whatever libraries come up with
    return reason(error)
  return ""
