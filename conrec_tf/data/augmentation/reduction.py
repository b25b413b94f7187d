"""By how much a JPEG can be reduced while it is decoded, and boxes of the whole within that."""

import tensorflow as tf

REDUCTIONS = (1, 2, 4, 8)  # what libjpeg decodes to without computing all pixels


def largest_reduction(side: tf.Tensor, image_size: int) -> tf.Tensor:
  """Returns the largest of `REDUCTIONS` that leaves at least `image_size` pixels.

  Args:
    side: int32 of any shape: what will be resized to that size, pixels. The smallest decides.
    image_size: pixels.

  Returns:
    int32 scalar.
  """
  fits = tf.reduce_min(side) >= tf.constant(REDUCTIONS) * image_size
  return tf.reduce_max(tf.where(fits, REDUCTIONS, 1))


def reduced_box(
  offset: tf.Tensor, size: tf.Tensor, full_size: tf.Tensor, reduced_size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns a box of an image as a box of the same image reduced, to the nearest pixel.

  Args:
    offset, size: int32 `[2]` each, (y, x) and (height, width).
    full_size, reduced_size: int32 `[2]`, of the image.
  """
  scale = tf.cast(reduced_size, tf.float32) / tf.cast(full_size, tf.float32)
  begin, end = (
    tf.cast(tf.round(tf.cast(place, tf.float32) * scale), tf.int32)
    for place in (offset, offset + size)
  )
  begin = tf.minimum(begin, reduced_size - 1)
  return begin, tf.maximum(end - begin, 1)
