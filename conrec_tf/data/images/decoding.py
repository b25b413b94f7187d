"""Decodes image files: JPEG at a reduced size too, whatever libraries read, 8 or 16 bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.augmentation.resizing import REDUCTIONS
from conrec_tf.data.images import formats, header
from conrec_tf.data.images.pixel_values import ROUNDING, converted, too_large
from conrec_tf.errors import UsageError

NATIVE = 0

Decode = Callable[[Any], tf.Tensor]  # of a record's image: bytes, a path, an index
DecodeSize = Callable[[tf.Tensor], tf.Tensor]  # from height and width, int32 `[2]`, to a reduction
DecodeReduced = Callable[[Any, DecodeSize], tuple[tf.Tensor, tf.Tensor]]  # see `decode_reduced`


def decode_image(encoded: tf.Tensor, *args: Any, **options: Any) -> tf.Tensor:
  """Decodes an image file and turns it upright, as its EXIF data says; see `decode_stored`."""
  image = decode_stored(encoded, *args, **options)
  return header.upright(image, header.orientation(encoded))


def decode_stored(
  encoded: tf.Tensor,
  channels: int,
  bits: int = 0,
  max_pixels: int = Config.max_pixels,
  *,
  as_uint16: bool = False,
  libraries: bool = False,
  dicom_window: str = "",
  dicom_frames: str = "",
) -> tf.Tensor:
  """Decodes an image file, whatever its name says; JPEG and PNG as they are stored, not turned.

  TensorFlow decodes JPEG, PNG and GIF (its first frame, if that fills the canvas) and nothing else,
  with `libraries` `formats` does the rest. Palettes are looked up, alpha is dropped, CMYK becomes
  RGB, and grey becomes RGB or RGB grey as asked.

  Args:
    encoded: scalar string.
    channels: 1, 3, the number of a TIFF of several channels, or `NATIVE` for what the file holds.
    bits: how many of their bits files of 16 use; 0 for all. Their largest value becomes white.
      Not of PNG that says that its values fill their bits.
    max_pixels: larger images fail before they are decoded, by what their header says.
    as_uint16: whether to return 16 bits; else of 16 bits the high 8 are kept.
    libraries: whether others than TensorFlow may be called; such a function can't be exported.
    dicom_window, dicom_frames: see `formats.read_image`.

  Returns:
    uint8 `[h, w, channels]`, or uint16 if asked.
  """

  def by_tensorflow() -> tf.Tensor:
    pixels = header.pixels(encoded)
    return _with_channels(within_limit(encoded, pixels, max_pixels), channels, bits, as_uint16)

  def by_library() -> tf.Tensor:
    def read(data: bytes) -> np.ndarray:
      image = formats.read_image(data, bits, max_pixels, dicom_window, dicom_frames)
      return converted(image, channels, as_uint16)

    image = of_bytes(read, encoded, tf.uint16 if as_uint16 else tf.uint8)
    return tf.ensure_shape(image, [None, None, channels or None])

  if not libraries:
    others = header.needs_library(encoded)
    check = tf.debugging.assert_equal(others, False, "no JPEG, PNG, or GIF that fills its canvas")
    with tf.control_dependencies([check] if check is not None else []):
      return by_tensorflow()
  return tf.cond(header.needs_library(encoded), by_library, by_tensorflow)


def decode_reduced(
  encoded: tf.Tensor,
  decode_size: DecodeSize,
  stored: Decode,
  channels: int,
  max_pixels: int = Config.max_pixels,
  as_uint16: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Decodes a JPEG file with no more pixels than it needs, where that is half a side or less.

  Args:
    encoded: scalar string.
    decode_size: from the whole image's height and width to one of `REDUCTIONS`.
    stored: what decodes any other file, and a JPEG that isn't reduced; see `decode_stored`.
    channels, max_pixels, as_uint16: those of `stored`.

  Returns:
    What `stored` returns, or the same reduced, turned upright; and int32 `[2]`, height and width
    of the whole image.
  """
  number = header.orientation(encoded)
  reduction, full_size = tf.constant(1), tf.zeros([2], tf.int32)

  def of_header() -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.image.extract_jpeg_shape(encoded)
    area = tf.reduce_prod(tf.cast(shape[:2], tf.int64))
    with tf.control_dependencies([within_limit(encoded, area, max_pixels)]):
      size = header.upright_size(shape[:2], number)
    return decode_size(size), size

  def reduced() -> tf.Tensor:
    decoders = [
      lambda ratio=ratio: tf.io.decode_jpeg(encoded, 3, ratio) for ratio in REDUCTIONS[1:]
    ]
    index = tf.reduce_sum(tf.cast(reduction > tf.constant(REDUCTIONS[1:]), tf.int32))
    image = with_channels(tf.switch_case(index, decoders), channels)
    return _in_16_bits(image) if as_uint16 else image

  if channels in (1, 3):
    none = reduction, full_size
    reduction, full_size = tf.cond(tf.io.is_jpeg(encoded), of_header, lambda: none)
    image = tf.cond(reduction > 1, reduced, lambda: stored(encoded))
  else:
    image = stored(encoded)
  image = header.upright(image, number)
  return image, tf.where(reduction > 1, full_size, tf.shape(image)[:2])


def within_limit(encoded: tf.Tensor, pixels: tf.Tensor, max_pixels: int) -> tf.Tensor:
  """Returns a file, or fails for one of too many pixels; `pixels` is an int64 scalar."""
  limit = tf.constant(max_pixels, tf.int64)
  check = tf.debugging.assert_less_equal(pixels, limit, too_large(max_pixels))
  with tf.control_dependencies([check] if check is not None else []):
    return tf.identity(encoded)


def of_bytes(function: Callable[[bytes], Any], encoded: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
  """Calls a function of a file's bytes; in eager mode they come as an array of one object."""
  return tf.numpy_function(
    lambda data: function(data if isinstance(data, bytes) else data.item()),
    [encoded],
    dtype,
    stateful=False,
  )


def _with_channels(encoded: tf.Tensor, channels: int, bits: int, as_uint16: bool) -> tf.Tensor:
  def of_8_bits() -> tf.Tensor:
    image = tf.io.decode_image(encoded, expand_animations=False)
    return _in_16_bits(image) if as_uint16 else image

  def of_16_bits() -> tf.Tensor:
    image = tf.io.decode_png(encoded, dtype=tf.uint16)
    if bits:
      is_full = header.fills_bits(encoded)
      image = tf.cond(is_full, lambda: image, lambda: fill_range(image, bits))
    return image if as_uint16 else tf.cast(tf.bitwise.right_shift(image, 8), tf.uint8)

  if as_uint16 or bits:
    native = tf.cond(header.is_16_bit_png(encoded), of_16_bits, of_8_bits)
  else:
    native = of_8_bits()
  if channels == NATIVE:
    return native
  stored = tf.shape(native)[-1]
  grey = native[:, :, :1]
  if channels == 1:
    image = tf.cond(
      stored <= 2,
      lambda: grey,
      lambda: tf.image.rgb_to_grayscale(_with_channels(encoded, 3, bits, as_uint16)),
    )
  elif channels == 3:

    def of_cmyk() -> tf.Tensor:
      image = tf.io.decode_jpeg(encoded, 3)
      return _in_16_bits(image) if as_uint16 else image

    image = tf.case(
      [
        (stored <= 2, lambda: tf.concat([grey] * 3, -1)),
        (tf.io.is_jpeg(encoded) & (stored == 4), of_cmyk),
      ],
      default=lambda: native[:, :, :3],
    )
  else:
    check = tf.debugging.assert_equal(stored, channels, f"other than {channels} channels")
    with tf.control_dependencies([check] if check is not None else []):
      image = tf.identity(native)
  return tf.ensure_shape(image, [None, None, channels])


def _in_16_bits(image: tf.Tensor) -> tf.Tensor:
  """Returns uint8 as uint16, white as white; `pixel_values.converted` does so of arrays."""
  return tf.cast(image, tf.uint16) * 257


def fill_range(image: tf.Tensor, bits: int) -> tf.Tensor:
  """Stretches uint16 values of which only the low bits are used over the range; more is white."""
  largest = 2**bits - 1
  values = tf.cast(tf.minimum(tf.cast(image, tf.int32), largest), tf.float64) / largest
  return tf.cast(tf.round(values * tf.uint16.max), tf.uint16)


def shares_of_white(image: tf.Tensor) -> tf.Tensor:
  """Returns an image of floats, of which none may lie outside of [0, 1] but for rounding."""
  is_share = (image >= -ROUNDING) & (image <= 1 + ROUNDING)
  check = tf.debugging.assert_equal(tf.reduce_all(is_share), True, "floats outside of 0 to 1")
  with tf.control_dependencies([check] if check is not None else []):
    return tf.identity(image)


def checked_channels(asked: int, stored: int) -> int:
  """Returns how many channels the network gets: those asked for, or for 0 those that are stored.

  Raises:
    UsageError: another number is asked for, and the images are neither grey nor RGB.
  """
  if not stored or asked not in (0, stored) and stored not in (1, 3):
    raise UsageError(
      "image_channels must be 0 for images that are neither grey nor RGB. "
      f"Received: {asked} for {stored} channels"
    )
  return asked or stored


def with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
  """Makes grey of RGB or RGB of grey where an image `[h, w, C]` has another number of channels."""
  if channels == image.shape[-1]:
    return image
  return tf.image.rgb_to_grayscale(image) if channels == 1 else tf.concat([image] * 3, -1)
