"""Windows of images that are large beside what matters in them."""

import tensorflow as tf


def random_window(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
  """Cuts a window at a random place, every place as likely.

  Args:
    image: `[h, w, C]`.
    size: the window's side in pixels; a shorter side of the image is taken whole.
    seed: integer `[2]`.

  Returns:
    `[min(size, h), min(size, w), C]`, of the image's dtype.
  """
  sides = tf.shape(image)[:2]
  taken = tf.minimum(sides, size)
  uniform = tf.random.stateless_uniform([2], seed)
  places = tf.cast(uniform * tf.cast(sides - taken + 1, tf.float32), tf.int32)
  start = tf.concat([tf.minimum(places, sides - taken), [0]], axis=0)
  window = tf.slice(image, start, tf.concat([taken, [-1]], axis=0))
  return tf.ensure_shape(window, [None, None, image.shape[-1]])
