"""The joint loss at the inner levels of encoder and decoder too (after arXiv 2301.00772)."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Objective, Training
from conrec_tf.metrics import LEVELS_CONTRAST_LOSS, LEVELS_RECONSTRUCTION_LOSS
from conrec_tf.models import ConRec, FeatureLevels, Outputs
from conrec_tf.models.heads import ProjectionHead
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class Levels(PretrainingObjective):
  """Contrastive and reconstruction loss at each inner level, by heads of their own.

  Attributes:
    heads: on the network's levels.
  """

  def __init__(self, options: Training, model: ConRec, channels: int) -> None:
    super().__init__(options, model, channels)
    self.heads = build_level_heads(options, model, channels)
    self.variables = self.heads.trainable_variables
    self.untrained = self.heads.non_trainable_variables
    self.only_to_resume = {"level_heads": self.heads}
    self.metrics = (
      *([LEVELS_CONTRAST_LOSS] if options.multi_level_contrastive_weight else ()),
      *([LEVELS_RECONSTRUCTION_LOSS] if options.multi_level_reconstruction_weight else ()),
    )

  @staticmethod
  def is_used(options: Training) -> bool:
    """Returns whether either loss has a weight."""
    weights = options.multi_level_contrastive_weight, options.multi_level_reconstruction_weight
    return any(weights)

  def loss(
    self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool = False
  ) -> Loss:
    """Computes `level_losses`."""
    projections, reconstructions = self.heads(maps, training=training)
    return level_losses(self.options, projections, reconstructions, batch["target"])


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


def build_level_heads(options: Training, model: ConRec, channels: int) -> LevelHeads:
  """Builds the heads that the options describe on a network's levels.

  Args:
    options: of the training.
    model: a built network.
    channels: of the images.
  """
  inner = options.unet_depth - 1
  heads = LevelHeads(
    [
      ProjectionHead(
        options.proj_head_mode,
        options.num_proj_layers,
        options.proj_out_dim,
        options.batch_norm_decay,
        options.global_bn,
      )
      for _ in range(inner if options.multi_level_contrastive_weight else 0)
    ],
    channels,
    inner - 1 if options.multi_level_reconstruction_weight else 0,
    name="level_heads",
  )
  side = 2**inner
  heads(model.with_maps(tf.zeros([1, side, side, channels]))[1])  # creates the variables
  return heads


def level_losses(
  objective: Objective,
  projections: Sequence[tf.Tensor],
  reconstructions: Sequence[tf.Tensor],
  target: tf.Tensor,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
  """Computes the contrastive loss of each level's projection, the reconstruction loss of each size.

  Args:
    objective: the options of the losses.
    projections: `[2B, D]` of each level, view-major.
    reconstructions: `[2B, h, w, C]` in [0, 1], of sizes that divide the target's; each is compared
      with the target's means over its pixels.
    target: float32 `[2B, H, W, C]` in [0, 1].

  Returns:
    Their means over the levels, weighted, as one scalar, and `{metric name: mean}`.
  """
  total, metrics = tf.zeros([], target.dtype), {}
  if projections:
    contrast = tf.reduce_mean(
      [
        losses.CONTRASTIVE_LOSSES[objective.contrastive_method](
          losses.contrastive_logits(projection, objective.temperature, objective.hidden_norm)
        )
        for projection in projections
      ]
    )
    total += objective.multi_level_contrastive_weight * contrast
    metrics[LEVELS_CONTRAST_LOSS] = contrast
  if reconstructions:
    reconstruction = tf.reduce_mean(
      [
        losses.reconstruction_loss(
          reduced, reduced_target(target, reduced), objective.reconstruction_loss
        )
        for reduced in reconstructions
      ]
    )
    total += objective.multi_level_reconstruction_weight * reconstruction
    metrics[LEVELS_RECONSTRUCTION_LOSS] = reconstruction
  return total, metrics


def reduced_target(target: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
  """Returns the means of a target `[B, H, W, C]` over the pixels of a smaller reconstruction."""
  factor = target.shape[1] // reconstruction.shape[1]
  return tf.nn.avg_pool2d(target, factor, factor, "VALID")
