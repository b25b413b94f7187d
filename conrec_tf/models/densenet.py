"""DenseNet121 (paper, Table 2), behind the interface of the U-net's encoder."""

from typing import Any

import tensorflow as tf

from conrec_tf.errors import UsageError, short_message
from conrec_tf.models.encoder import Encoder
from conrec_tf.models.normalization import replace_batch_norm
from conrec_tf.models.scaling import in_channels

STEM = ("input", "zero_padding", "conv1", "pool1")
LEVELS = ("conv2_block6_concat", "conv3_block12_concat", "conv4_block24_concat")  # block outputs


class DenseNetEncoder(Encoder):
  """Keras' DenseNet121 without top: 7,037,504 parameters (8,062,504 with its top).

  Args:
    weights: empty for random ones, imagenet (Keras' cache or download), or the path of
      an .h5 file in Keras' format without top.
    all_levels: whether the maps of the first three dense blocks are outputs too.

  Raises:
    UsageError: the weights can't be found or don't fit.
  """

  stride = 32
  num_blocks = 4

  def __init__(
    self, weights: str = "", global_bn: bool = True, all_levels: bool = False, **kwargs: Any
  ) -> None:
    super().__init__(**kwargs)
    try:
      network = tf.keras.applications.DenseNet121(include_top=False, weights=weights or None)
    except Exception as error:  # Keras raises bare exceptions for downloads and files.
      raise UsageError(
        "encoder_weights must be imagenet, with densenet121_weights_tf_dim_ordering_tf_kernels_"
        "notop.h5 in ~/.keras/models or a network to download it, or the path of that file. "
        f"Received: {weights} ({short_message(error)})"
      ) from error
    network = replace_batch_norm(network, global_bn)
    if all_levels:
      levels = [network.get_layer(name).output for name in LEVELS]
      network = tf.keras.Model(network.input, [network.output, *levels])
    self.all_levels = all_levels
    self.network = network

  @property
  def num_skips(self) -> int:
    """The number of maps beside the features."""
    return len(LEVELS) if self.all_levels else 0

  def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Encodes images.

    Args:
      images: float32 `[B, H, W, 1 or 3]` in [0, 1], at least 32 pixels a side.

    Returns:
      features `[B, H/32, W/32, 1024]`, and of all levels the maps of the first three dense blocks:
      `[B, H/4, W/4, 256]`, `[B, H/8, W/8, 512]`, `[B, H/16, W/16, 1024]`; else an empty list.
    """
    images = in_channels(images, 3)
    pixels = tf.keras.applications.densenet.preprocess_input(images * 255.0)
    outputs = self.network(pixels, training=training)
    return (outputs[0], outputs[1:]) if self.all_levels else (outputs, [])

  def freeze(self, blocks: int) -> None:
    """Freezes the stem and the first `blocks` dense blocks, batch norm included."""
    prefixes = STEM + tuple(
      f"{part}{block + 2}" for block in range(blocks) for part in ("conv", "pool")
    )
    for layer in self.network.layers:
      if layer.name.startswith(prefixes) or blocks == self.num_blocks:
        layer.trainable = False
