"""Heads on the inner levels of encoder and decoder, for pre-training alone."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.models.conrec import ConRec, FeatureLevels
from conrec_tf.models.heads import ProjectionHead


class LevelHeads(tf.keras.Model):
  """Projections of the encoder's shallower levels, reconstructions of the decoder's inner ones.

  After PCRLv2 (Zhou et al. 2023, arXiv 2301.00772), which contrasts and restores at each level.

  Args:
    projection_heads: one for each of the encoder's shallower levels, shallowest first, or none.
    channels: of a reconstruction.
    inner_levels: how many of the decoder's levels reconstruct, deepest first.
  """

  def __init__(
    self,
    projection_heads: Sequence[ProjectionHead],
    channels: int,
    inner_levels: int,
    **kwargs: Any,
  ) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.projection_heads = list(projection_heads)
    self.output_convolutions = [
      tf.keras.layers.Conv2D(channels, 1, dtype=self.dtype) for _ in range(inner_levels)
    ]

  def call(
    self, maps: FeatureLevels, training: bool = False
  ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Projects and reconstructs at each level.

    Args:
      maps: of the network.
      training: whether batch norm uses the batch's statistics.

    Returns:
      projections, `[B, D]` each, shallowest first, and reconstructions in [0, 1], `[B, h, w, C]`
      each, smallest first.
    """
    averages = [tf.reduce_mean(tf.cast(level, self.dtype), axis=[1, 2]) for level in maps.encoder]
    projections = [
      head(average, training=training)
      for head, average in zip(self.projection_heads, averages, strict=False)
    ]
    reconstructions = [
      tf.sigmoid(convolution(level))
      for convolution, level in zip(self.output_convolutions, maps.decoder, strict=False)
    ]
    return projections, reconstructions


def build_level_heads(config: Config, model: ConRec, channels: int) -> LevelHeads | None:
  """Builds the heads that `config` describes on a network's levels, or None where it has none.

  Args:
    config: the options of the run.
    model: a built network.
    channels: of the images.
  """
  inner = config.unet_depth - 1
  projects, reconstructs = (
    config.multi_level_contrastive_weight,
    config.multi_level_reconstruction_weight,
  )
  if not projects and not reconstructs:
    return None
  heads = LevelHeads(
    [
      ProjectionHead(
        config.proj_head_mode,
        config.num_proj_layers,
        config.proj_out_dim,
        config.batch_norm_decay,
        config.global_bn,
      )
      for _ in range(inner if projects else 0)
    ],
    channels,
    inner - 1 if reconstructs else 0,
    name="level_heads",
  )
  side = 2**inner
  heads(model.with_maps(tf.zeros([1, side, side, channels]))[1])  # creates the variables
  return heads
