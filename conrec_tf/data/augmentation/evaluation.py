"""What is done to an image before evaluation: no augmentation, one size."""

import tensorflow as tf

CENTRE_CROP = 0.875
LARGEST_UNCROPPED = 32


def evaluation_image(image: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Resizes an image bicubically, all of it or the central 87.5 %.

  As the authors (and SimCLR): no crop at 32 pixels or less.

  Args:
    image: uint8 `[h, w, C]`.
    image_size: pixels.
    center_crop: whether to take the central 87.5 % of the shorter side, squared.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].
  """
  if center_crop and image_size > LARGEST_UNCROPPED:
    shape = tf.shape(image)[:2]
    side = tf.cast(tf.round(CENTRE_CROP * tf.cast(tf.reduce_min(shape), tf.float32)), tf.int32)
    offset = (shape - side) // 2
    image = image[offset[0] : offset[0] + side, offset[1] : offset[1] + side]
  image = tf.image.resize(image, [image_size, image_size], "bicubic") / 255.0
  return tf.clip_by_value(image, 0.0, 1.0)
