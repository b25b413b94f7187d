"""Losses of segmentation: cross entropy, Dice, focal, over the pixels that count."""

from collections.abc import Sequence

import tensorflow as tf

from conrec_tf.distribute import replicas

SMOOTH = 1.0  # pixels; a class that is in neither has Dice 1


def segmentation_loss(
  logits: tf.Tensor,
  classes: tf.Tensor,
  kind: str,
  *,
  dice_weight: float = 1.0,
  class_weights: Sequence[float] = (),
  focal_gamma: float = 2.0,
) -> tf.Tensor:
  """Computes the loss of a batch.

  On several replicas the mean of what they compute is the loss of the whole batch.

  Args:
    logits: float32 `[B, H, W, K]`.
    classes: int32 `[B, H, W]`; other numbers than 0 to K - 1 don't count.
    kind: cross_entropy, dice, cross_entropy_dice (their sum) or focal.
    dice_weight: of Dice in the sum.
    class_weights: of each class; empty: all 1.
    focal_gamma: exponent of focal's modulation; 0 is cross entropy.

  Returns:
    Scalar.
  """
  hot = tf.one_hot(classes, logits.shape[-1], dtype=logits.dtype)  # zeros where nothing counts
  weights = tf.constant(class_weights or [1.0] * logits.shape[-1], logits.dtype)
  if kind == "dice":
    return dice_loss(logits, hot, weights)
  if kind == "focal":
    return pixel_loss(logits, hot, weights, focal_gamma)
  loss = pixel_loss(logits, hot, weights)
  if kind == "cross_entropy_dice":
    loss += dice_weight * dice_loss(logits, hot, weights)
  return loss


def pixel_loss(
  logits: tf.Tensor, hot: tf.Tensor, weights: tf.Tensor, gamma: float = 0.0
) -> tf.Tensor:
  """Computes cross entropy, or focal loss (Lin et al. 2017, arXiv 1708.02002, Eq. 4).

  Args:
    logits: float `[B, H, W, K]`.
    hot: float `[B, H, W, K]`, one-hot, or zeros where a pixel doesn't count.
    weights: float `[K]`.
    gamma: how much less pixels count that are surely right.

  Returns:
    Scalar: the mean over pixels that count, weighted by class.
  """
  logs = tf.nn.log_softmax(logits)
  losses = -logs * hot * weights
  if gamma:
    losses *= tf.pow(1.0 - tf.exp(logs), gamma)
  total = replicas.all_reduce_sum(tf.reduce_sum(hot * weights))
  return tf.math.divide_no_nan(
    tf.reduce_sum(losses) * tf.cast(replicas.num_replicas(), logits.dtype), total
  )


def dice_loss(logits: tf.Tensor, hot: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
  """Computes 1 - Dice of probabilities (Milletari et al. 2016, arXiv 1606.04797), of the batch.

  Args:
    logits: float `[B, H, W, K]`.
    hot: float `[B, H, W, K]`, one-hot, or zeros where a pixel doesn't count.
    weights: float `[K]`.

  Returns:
    Scalar: the mean over classes, weighted; in [0, 1].
  """
  counts = tf.reduce_sum(hot, axis=-1, keepdims=True)
  probabilities = tf.nn.softmax(logits) * counts
  sums = [
    tf.reduce_sum(values, axis=[0, 1, 2]) for values in (probabilities * hot, probabilities, hot)
  ]
  both, made, true = tf.unstack(replicas.all_reduce_sum(tf.stack(sums)))
  dice = (2.0 * both + SMOOTH) / (made + true + SMOOTH)
  return tf.reduce_sum((1.0 - dice) * weights) / tf.reduce_sum(weights)
