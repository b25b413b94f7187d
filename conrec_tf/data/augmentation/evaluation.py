"""What is done to an image before evaluation: no augmentation, one size."""

import tensorflow as tf

from conrec_tf.data.augmentation.reduction import largest_reduction

CENTRE_CROP = 0.875
LARGEST_UNCROPPED = 32


def evaluation_image(image: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Resizes an image bicubically, all of it or the central 87.5 %.

  As the authors (and SimCLR): no crop at 32 pixels or less.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    image_size: pixels.
    center_crop: whether to take the central 87.5 % of the shorter side, squared.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].
  """
  if center_crop and image_size > LARGEST_UNCROPPED:
    shape = tf.shape(image)[:2]
    side = _side(shape, image_size, center_crop)
    offset = (shape - side) // 2
    image = image[offset[0] : offset[0] + side, offset[1] : offset[1] + side]
  image = tf.image.resize(image, [image_size, image_size], "bicubic") / image.dtype.max
  return tf.clip_by_value(image, 0.0, 1.0)


def evaluation_reduction(full_size: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Returns by how much an image can be reduced so that evaluation loses no pixels.

  Args:
    full_size: int32 `[2]`, height and width.
    image_size: see `evaluation_image`.
    center_crop: see `evaluation_image`.

  Returns:
    int32 scalar, one of `REDUCTIONS`.
  """
  return largest_reduction(_side(full_size, image_size, center_crop), image_size)


def _side(size: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Returns the shorter side of what evaluation takes of an image, pixels."""
  shorter = tf.reduce_min(size)
  if center_crop and image_size > LARGEST_UNCROPPED:
    return tf.cast(tf.round(CENTRE_CROP * tf.cast(shorter, tf.float32)), tf.int32)
  return shorter
