"""Decodes image files, and checks all of a dataset without stopping at bad ones."""

from collections.abc import Callable
import io
import re
import struct
import time
from typing import Any
import warnings

import numpy as np
from PIL import Image, ImageOps
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.config import Config
from conrec_tf.data import image_header

NATIVE = 0

Decode = Callable[[Any], tf.Tensor]  # of a record's image: bytes, a path, an index


def decode_image(
  encoded: tf.Tensor,
  channels: int,
  bits: int = 0,
  max_pixels: int = Config.max_pixels,
  libraries: bool = False,
) -> tf.Tensor:
  """Decodes an image file, whatever its name says, and turns it upright.

  TensorFlow decodes JPEG, PNG and GIF (its first frame); with `libraries`, Pillow decodes TIFF,
  WebP and BMP. Palettes are looked up, 16 bits become 8, alpha is dropped, CMYK becomes RGB, and
  grey becomes RGB or RGB grey as asked. The orientation in EXIF data is honoured.

  Args:
    encoded: scalar string.
    channels: 1, 3, or `NATIVE` for what the file holds.
    bits: how many of their bits files of 16 use; 0 for all. Their largest value becomes 255.
    max_pixels: larger images fail before they are decoded, by what their header says.
    libraries: whether Pillow may be called; such a function can't be exported.

  Returns:
    uint8 `[h, w, channels]`.
  """
  if not libraries:
    return _decode_by_tensorflow(encoded, channels, bits, max_pixels)
  return tf.cond(
    image_header.needs_library(encoded),
    lambda: _decode_by_pillow(encoded, channels, bits, max_pixels),
    lambda: _decode_by_tensorflow(encoded, channels, bits, max_pixels),
  )


def _decode_by_tensorflow(
  encoded: tf.Tensor, channels: int, bits: int, max_pixels: int
) -> tf.Tensor:
  too_large = f"more than {max_pixels} pixels (--max_pixels)"
  limit = tf.constant(max_pixels, tf.int64)
  check = tf.debugging.assert_less_equal(image_header.pixels(encoded), limit, too_large)
  with tf.control_dependencies([check] if check is not None else []):
    encoded = tf.identity(encoded)
  image = _with_channels(encoded, channels, bits)
  return image_header.upright(image, image_header.orientation(encoded))


def _with_channels(encoded: tf.Tensor, channels: int, bits: int) -> tf.Tensor:
  def decoded() -> tf.Tensor:
    return tf.io.decode_image(encoded, expand_animations=False)

  def scaled() -> tf.Tensor:
    return _to_8_bits(tf.io.decode_png(encoded, dtype=tf.uint16), bits)

  native = tf.cond(image_header.is_16_bit_png(encoded), scaled, decoded) if bits else decoded()
  if channels == NATIVE:
    return native
  stored = tf.shape(native)[-1]
  grey = native[:, :, :1]
  if channels == 1:
    image = tf.cond(
      stored <= 2, lambda: grey, lambda: tf.image.rgb_to_grayscale(_with_channels(encoded, 3, bits))
    )
  else:
    is_cmyk = tf.io.is_jpeg(encoded) & (stored == 4)
    image = tf.case(
      [
        (stored <= 2, lambda: tf.repeat(grey, 3, axis=-1)),
        (is_cmyk, lambda: tf.io.decode_jpeg(encoded, 3)),
      ],
      default=lambda: native[:, :, :3],
    )
  return tf.ensure_shape(image, [None, None, channels])


def _to_8_bits(image: tf.Tensor, bits: int) -> tf.Tensor:
  largest = 2.0**bits - 1
  return tf.cast(
    tf.round(tf.minimum(tf.cast(image, tf.float32), largest) / largest * 255), tf.uint8
  )


def _decode_by_pillow(encoded: tf.Tensor, channels: int, bits: int, max_pixels: int) -> tf.Tensor:
  image = tf.numpy_function(
    # In eager mode it comes as an array of one object.
    lambda data: _pillow_image(
      data if isinstance(data, bytes) else data.item(), channels, bits, max_pixels
    ),
    [encoded],
    tf.uint8,
    stateful=False,
  )
  return tf.ensure_shape(image, [None, None, channels or None])


def _pillow_image(data: bytes, channels: int, bits: int, max_pixels: int) -> np.ndarray:
  """Returns uint8 `[h, w, channels]` of a file's bytes, as `decode_image` does.

  Raises:
    ValueError: it is too large, in a mode without a range that is known, or no image.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is ours
      file = Image.open(io.BytesIO(data))
    if file.width * file.height > max_pixels:
      raise ValueError(f"more than {max_pixels} pixels (--max_pixels)")
    image: Image.Image = ImageOps.exif_transpose(file)
  except (OSError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
    raise ValueError(str(error)) from error
  if image.mode.startswith("I;16"):
    values = np.asarray(image)
    return _grey_as(_to_8_bits(values, bits).numpy() if bits else values // 256, channels)
  if image.mode in ("I", "F"):
    raise ValueError(f"{image.mode} pixels have no known range; save 8 or 16 bits a channel")
  is_grey = image.mode in ("1", "L", "LA", "La")
  if is_grey or channels == 1:
    grey = image if is_grey else image.convert("RGB")
    return _grey_as(np.asarray(grey.convert("L")), channels)
  return np.asarray(image.convert("RGB"))


def _grey_as(image: np.ndarray, channels: int) -> np.ndarray:
  return np.repeat(image.astype(np.uint8)[..., np.newaxis], channels or 1, axis=-1)


def scan_images(
  images: tf.data.Dataset,
  decode: Decode,
  description: str,
  keep: Callable[[np.ndarray], None] | None = None,
  seconds_between: float = 10.0,
) -> np.ndarray:
  """Decodes every image once, with a progress bar in a terminal.

  Args:
    images: finite `tf.data.Dataset` of what `decode` takes.
    decode: -> uint8 `[h, w, c]`; whatever TensorFlow error it raises marks a bad image.
    description: of the progress bar.
    keep: is given what is known so far now and then, so that it survives a kill.
    seconds_between: seconds between two calls of it.

  Returns:
    int32 `[N, 3]`: heights, widths, channels; -1 where decoding failed or, in `keep`, is to come.
  """
  count = int(images.cardinality())
  shapes = np.full([count, 3], -1, np.int32)
  looked = (
    images.enumerate()
    .map(lambda index, image: (index, tf.shape(decode(image))), tf.data.AUTOTUNE)
    .ignore_errors(log_warning=False)
  )
  kept = time.monotonic()
  with tqdm(total=count, desc=description, unit=" images", disable=None, leave=False) as bar:
    for index, shape in looked.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
      shapes[index] = shape
      bar.update()
      if keep and time.monotonic() - kept > seconds_between:
        keep(shapes)
        kept = time.monotonic()
  return shapes


def decode_error(decode: Decode, image: Any) -> str:
  """Returns why `decode` fails on an image, in a few words."""
  try:
    decode(image)
  except (tf.errors.OpError, ValueError) as error:  # Pillow's, outside of graphs, are the latter
    message = getattr(error, "message", str(error))
    text = message.partition("ValueError: ")[2] or message
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name:.*$", "", text.splitlines()[0])
    return " ".join(text.split()).rstrip(". ") or type(error).__name__
  return "unreadable at first"
