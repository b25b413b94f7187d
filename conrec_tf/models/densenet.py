"""DenseNet121 (paper, Table 2), behind the interface of the U-net's encoder."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.models.normalization import replace_batch_norm

STEM = ("input", "zero_padding", "conv1", "pool1")


class DenseNetEncoder(tf.keras.Model):
  """Keras' DenseNet121 without top: 7,037,504 parameters (8,062,504 with its top).

  Args:
    weights: empty for random ones, imagenet (Keras' cache or download), or the path of
      an .h5 file in Keras' format without top.
    global_bn: whether batch norm looks at the batches of all replicas.

  Raises:
    UsageError: the weights can't be found or don't fit.
  """

  num_blocks = 4

  def __init__(self, weights: str = "", global_bn: bool = True, **kwargs: Any) -> None:
    super().__init__(**kwargs)
    try:
      network = tf.keras.applications.DenseNet121(include_top=False, weights=weights or None)
    except Exception as error:  # Keras raises bare exceptions for downloads and files.
      raise UsageError(
        "encoder_weights must be imagenet, with densenet121_weights_tf_dim_ordering_tf_kernels_"
        "notop.h5 in ~/.keras/models or a network to download it, or the path of that file. "
        f"Received: {weights} ({str(error).splitlines()[0]})"
      ) from error
    self.network = replace_batch_norm(network, global_bn)

  def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Encodes images.

    Args:
      images: float32 `[B, H, W, 1 or 3]` in [0, 1], at least 32 pixels a side.
      training: whether batch norm uses the batch's statistics.

    Returns:
      features `[B, H/32, W/32, 1024]` and no skips.
    """
    if images.shape[-1] == 1:
      images = tf.image.grayscale_to_rgb(images)
    pixels = tf.keras.applications.densenet.preprocess_input(images * 255.0)
    return self.network(pixels, training=training), []

  def freeze(self, blocks: int) -> None:
    """Freezes the stem and the first `blocks` dense blocks, batch norm included."""
    prefixes = STEM + tuple(
      f"{part}{block + 2}" for block in range(blocks) for part in ("conv", "pool")
    )
    for layer in self.network.layers:
      if layer.name.startswith(prefixes) or blocks == self.num_blocks:
        layer.trainable = False
