"""A network's input, where it wasn't made for images in [0, 1], or for as many channels."""

import dataclasses

import tensorflow as tf


def in_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
  """Returns grey images `[B, H, W, 1]` as RGB or RGB as grey; others, of any channels, stay."""
  if (images.shape[-1], channels) == (1, 3):
    return tf.image.grayscale_to_rgb(images)
  return tf.image.rgb_to_grayscale(images) if (images.shape[-1], channels) == (3, 1) else images


@dataclasses.dataclass(frozen=True)
class Scaling:
  """What is taken from images in [0, 1], and what they are divided by then, for red, green, blue.

  Attributes:
    bgr: whether channels are then in the order blue, green, red.
  """

  mean: tuple[float, float, float]
  deviation: tuple[float, float, float]
  bgr: bool = False

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Scales images float32 `[B, H, W, C]` in [0, 1].

    Grey images become RGB. Of images with other channels each is scaled by the mean of the three
    numbers, and their order stays.
    """
    images = in_channels(images, 3)
    if images.shape[-1] == 3:
      mean = tf.constant(self.mean, images.dtype)
      deviation = tf.constant(self.deviation, images.dtype)
      scaled = (images - mean) / deviation
      return scaled[..., ::-1] if self.bgr else scaled
    return (images - sum(self.mean) / 3.0) / (sum(self.deviation) / 3.0)


IMAGENET = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SYMMETRIC = Scaling((0.5,) * 3, (0.5,) * 3)  # -1 to 1
NEARLY_SYMMETRIC = Scaling((128 / 255,) * 3, (128 / 255,) * 3)
CENTRED_BYTES = Scaling((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3, bgr=True)
