"""What decoder, pooling, objectives and segmentation know of a network that embeds."""

import tensorflow as tf


class Encoder(tf.keras.Model):
  """A network with levels; called with images, it returns features and skips.

  Images are float32 `[B, H, W, C]` in [0, 1]. Features are the maps of the deepest level,
  `[B, H/stride, W/stride, f]`; skips, a list, those of the shallower ones, shallowest first.
  """

  @property
  def stride(self) -> int:
    """Pixels from one location of the features to the next; a power of two."""
    raise NotImplementedError

  @property
  def num_skips(self) -> int:
    """The number of skips; those of the shallowest levels may lack."""
    raise NotImplementedError

  @property
  def num_blocks(self) -> int:
    """The number of blocks that `freeze` counts."""
    raise NotImplementedError

  def freeze(self, blocks: int) -> None:
    """Freezes the first `blocks` blocks, batch norm included."""
    raise NotImplementedError

  def variables_by_level(self) -> list[list[tf.Variable]]:
    """Returns the trainable variables of each level, those that its maps need beyond the last's."""
    raise NotImplementedError
