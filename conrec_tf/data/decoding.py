"""Decodes image files, and checks all of a dataset without stopping at bad ones."""

from collections.abc import Callable
import re
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

NATIVE = 0

Decode = Callable[[Any], tf.Tensor]  # of a record's image: bytes, a path, an index


def decode_image(encoded: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes a JPEG, PNG, BMP or GIF (its first frame), whatever its name says.

  As TensorFlow's decoders do it: palettes are looked up (but those of BMP), 16 bits are cut to
  8, alpha is dropped, CMYK becomes RGB, and grey becomes RGB or RGB grey as asked.

  Args:
    encoded: scalar string.
    channels: 1, 3, or `NATIVE` for what the file holds.

  Returns:
    uint8 `[h, w, channels]`.
  """
  native = tf.io.decode_image(encoded, expand_animations=False)
  if channels == NATIVE:
    return native
  stored = tf.shape(native)[-1]
  grey = native[:, :, :1]
  if channels == 1:
    image = tf.cond(
      stored <= 2, lambda: grey, lambda: tf.image.rgb_to_grayscale(decode_image(encoded, 3))
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
  except tf.errors.OpError as error:
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name:.*$", "", error.message.splitlines()[0])
    return " ".join(text.split()).rstrip(". ") or type(error).__name__
  return "unreadable at first"
