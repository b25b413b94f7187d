"""The joint loss at the inner levels of encoder and decoder (after arXiv 2301.00772)."""

from collections.abc import Sequence

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Objective
from conrec_tf.metrics import LEVELS_CONTRAST_LOSS, LEVELS_RECONSTRUCTION_LOSS


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
