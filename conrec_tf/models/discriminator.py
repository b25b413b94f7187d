"""A discriminator that judges a reconstruction patch by patch (PatchGAN, arXiv 1611.07004)."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

SLOPE = 0.2  # of leaky ReLU


class PatchDiscriminator(tf.keras.Model):
  """Judges whether patches are of a reconstruction or of the image, beside what was corrupted.

  4x4 convolutions, two of stride 2 and two of stride 1, so that a judgement is of 34 x 34 pixels.
  Each image is normalised by itself, as by batch norm at the batch size of 1 of the paper.

  Args:
    filters: of the first convolution; doubled at each of the next two.
  """

  def __init__(self, filters: int = 64, **kwargs: Any) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.convolutions = [
      tf.keras.layers.Conv2D(
        width,
        4,
        strides=stride,
        padding="same",
        kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        dtype=self.dtype,
      )
      for width, stride in ((filters, 2), (2 * filters, 2), (4 * filters, 1), (1, 1))
    ]
    self.norms = [
      tf.keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, dtype=self.dtype)
      for _ in range(2)
    ]

  def call(self, pairs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Judges images.

    Args:
      pairs: two float32 `[B, H, W, C]` in [0, 1]: what the network saw, and what it is to have
        been.

    Returns:
      Judgements float32 `[B, H/4, W/4, 1]`, the higher the more like an image.
    """
    x = 2.0 * tf.concat(pairs, axis=-1) - 1.0
    first, *inner, last = self.convolutions
    x = tf.nn.leaky_relu(first(x), SLOPE)
    for convolution, norm in zip(inner, self.norms, strict=True):
      x = tf.nn.leaky_relu(norm(convolution(x)), SLOPE)
    return last(x)
