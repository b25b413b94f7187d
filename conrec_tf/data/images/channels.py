"""How many channels the network gets of images, and how they get that many."""

import tensorflow as tf

from conrec_tf.errors import UsageError


def checked_channels(asked: int, stored: int) -> int:
  """Returns how many channels the network gets of images that all have `stored`.

  Args:
    asked: `config.image_channels`.
    stored: of the images.

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
