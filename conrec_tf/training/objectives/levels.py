"""The joint loss at the inner levels of encoder and decoder too (after arXiv 2301.00772)."""

from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Training
from conrec_tf.metrics import LEVELS_CONTRAST_LOSS, LEVELS_RECONSTRUCTION_LOSS
from conrec_tf.models import ConRec, FeatureLevels, Outputs
from conrec_tf.models.heads import build_projection_head
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class Levels(PretrainingObjective):
  """Means over the inner levels of contrastive and reconstruction losses."""

  def __init__(self, options: Training, model: ConRec, channels: int) -> None:
    super().__init__(options, model, channels)
    self.heads = LevelHeads(options, channels, model.encoder.num_skips, name="level_heads")
    side = model.encoder.stride
    self.heads(model.with_maps(tf.zeros([1, side, side, channels]))[1])  # creates the variables
    self.variables = self.heads.trainable_variables
    self.untrained = self.heads.non_trainable_variables
    self.only_to_resume = {"level_heads": self.heads}
    weights = {
      LEVELS_CONTRAST_LOSS: options.multi_level_contrastive_weight,
      LEVELS_RECONSTRUCTION_LOSS: options.multi_level_reconstruction_weight,
    }
    self.metrics = [name for name, weight in weights.items() if weight]

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the losses; a smaller reconstruction is compared with the target's means."""
    options, target = self.options, batch["target"]
    projections, reconstructions = self.heads(maps, training=training)
    total, metrics = tf.zeros([], target.dtype), {}
    if projections:
      contrastive = losses.CONTRASTIVE_LOSSES[options.contrastive_method]
      found = [
        contrastive(losses.contrastive_logits(each, options.temperature, options.hidden_norm))
        for each in projections
      ]
      metrics[LEVELS_CONTRAST_LOSS] = tf.reduce_mean(found)
      total += options.multi_level_contrastive_weight * metrics[LEVELS_CONTRAST_LOSS]
    if reconstructions:
      found = [
        losses.reconstruction_loss(each, reduced_target(target, each), options.reconstruction_loss)
        for each in reconstructions
      ]
      metrics[LEVELS_RECONSTRUCTION_LOSS] = tf.reduce_mean(found)
      total += options.multi_level_reconstruction_weight * metrics[LEVELS_RECONSTRUCTION_LOSS]
    return total, metrics


class LevelHeads(tf.keras.Model):
  """Projections of the encoder's shallower levels, reconstructions of the decoder's inner ones.

  Args:
    channels: of the images.
    num_skips: how many shallower levels the encoder has.
  """

  def __init__(self, options: Training, channels: int, num_skips: int, **kwargs: Any) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.projection_heads = [
      build_projection_head(options)
      for _ in range(num_skips if options.multi_level_contrastive_weight else 0)
    ]
    self.output_convolutions = [
      tf.keras.layers.Conv2D(channels, 1, dtype=self.dtype)
      for _ in range(options.decoder_levels - 1 if options.multi_level_reconstruction_weight else 0)
    ]

  def call(
    self, maps: FeatureLevels, training: bool = False
  ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Projects and reconstructs at each level.

    Returns:
      Projections `[B, D]`, shallowest first; reconstructions `[B, h, w, C]`, smallest first.
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


def reduced_target(target: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
  """Returns the means of a target `[B, H, W, C]` over the pixels of a smaller reconstruction."""
  factor = target.shape[1] // reconstruction.shape[1]
  return tf.nn.avg_pool2d(target, factor, factor, "VALID")
