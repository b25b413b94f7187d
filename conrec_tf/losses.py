"""Losses: contrastive (the paper's Eq. 3), of reconstructions (Eq. 2), of labels, of masks."""

from collections.abc import Sequence
import math

import tensorflow as tf

from conrec_tf.distribute import replicas

MASKED = -1e9
FOCAL_GAMMA = 2.0  # exponent of focal loss' modulation
SMOOTH = 1.0  # pixels; a class that is in neither has Dice 1


def view_major(views: tf.Tensor) -> tf.Tensor:
  """Reshapes `[B, 2, ...]` to `[2B, ...]`: all first views, then all second views."""
  return tf.concat([views[:, 0], views[:, 1]], axis=0)


def nt_xent(projections: tf.Tensor, temperature: float, hidden_norm: bool = True) -> tf.Tensor:
  """Computes the normalised temperature-scaled cross entropy, in SimCLR's convention.

  The mean over the first views' rows plus the mean over the second views' rows: twice
  Algorithm 1 of SimCLR, which averages over all 2B. With a reconstruction weight of 100
  the factor matters. All-equal projections give 2 ln(2B - 1).

  With several replicas each compares its rows with those of all, and the mean over the replicas
  is the loss of the whole batch.

  Args:
    projections: float `[2B, D]`, view-major: row i and row B + i come from one image.
    temperature: positive.
    hidden_norm: whether rows are first normalised to unit length.

  Returns:
    Scalar.
  """
  return nt_xent_from_logits(contrastive_logits(projections, temperature, hidden_norm))


def contrastive_logits(
  projections: tf.Tensor, temperature: float, hidden_norm: bool = True
) -> tf.Tensor:
  """Computes the similarities of all pairs over temperature; those of a row with itself are masked.

  Args:
    projections: float `[2B, D]`, view-major.
    temperature: positive.
    hidden_norm: whether rows are first normalised to unit length.

  Returns:
    `[2B, 2B * replicas]`: this replica's rows, and all replicas' as columns, view-major too.
  """
  if hidden_norm:
    projections = tf.math.l2_normalize(projections, axis=-1)
  logits = tf.matmul(projections, gather_views(projections), transpose_b=True) / temperature
  itself = tf.one_hot(own_columns(logits), tf.shape(logits)[1], True, False)
  return tf.where(itself, tf.cast(MASKED, logits.dtype), logits)


def gather_views(views: tf.Tensor) -> tf.Tensor:
  """Gathers all replicas' rows, with gradients: `[2B, D]` to `[2B * replicas, D]`, view-major."""
  width = views.shape[-1]
  by_view = tf.reshape(views, [2, -1, width])
  return tf.reshape(replicas.all_gather(by_view, axis=1), [-1, width])


def own_columns(logits: tf.Tensor) -> tf.Tensor:
  """Returns the column, int32 `[2B]`, in which each of this replica's rows meets itself."""
  images, of_all = tf.unstack(tf.shape(logits) // 2)
  first = replicas.own_rows(images)
  return tf.concat([first, of_all + first], axis=0)


def nt_xent_from_logits(logits: tf.Tensor) -> tf.Tensor:
  """Computes `nt_xent` from what `contrastive_logits` returned."""
  columns = tf.shape(logits)[1]
  partner = tf.math.floormod(own_columns(logits) + columns // 2, columns)
  return 2.0 * tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
  )


def decoupled_from_logits(logits: tf.Tensor) -> tf.Tensor:
  """Computes the decoupled contrastive loss (Yeh et al. 2021, arXiv 2110.06848, Eq. 6).

  NT-Xent without the pair itself in the denominator. There a pair that is already the nearest
  among few others has hardly a gradient; here it keeps one.

  Args:
    logits: what `contrastive_logits` returned.

  Returns:
    Scalar, summed over the views as `nt_xent` is. All-equal projections give 2 ln(2B - 2).
  """
  columns = tf.shape(logits)[1]
  partner = tf.math.floormod(own_columns(logits) + columns // 2, columns)
  is_partner = tf.one_hot(partner, columns, True, False)
  others = tf.where(is_partner, tf.cast(MASKED, logits.dtype), logits)
  own = tf.gather(logits, partner, batch_dims=1)
  return 2.0 * tf.reduce_mean(tf.reduce_logsumexp(others, axis=1) - own)


CONTRASTIVE_LOSSES = {"nt_xent": nt_xent_from_logits, "decoupled": decoupled_from_logits}


def loss_of_equal_projections(method: str, images: int, queue_length: int = 0) -> float:
  """Returns what a contrastive loss is when all projections are alike, and no pair can be told.

  Args:
    method: nt_xent, decoupled or moco.
    images: of a batch, on all replicas together; two views each.
    queue_length: of moco; 0: the batch's other keys.
  """
  compared = {
    "nt_xent": 2 * images - 1,
    "decoupled": 2 * images - 2,
    "moco": 1 + queue_length if queue_length else images,
  }[method]
  return 2.0 * math.log(compared)


def accuracy_of_equal_projections(images: int, queue_length: int) -> float:
  """Returns the contrastive accuracy by chance; see `loss_of_equal_projections`."""
  return 1.0 / (1 + queue_length if queue_length else images)


def contrastive_accuracy(logits: tf.Tensor) -> tf.Tensor:
  """Returns the share of first views whose nearest second view is their own, as SimCLR logs it."""
  block = _between_views(logits)
  return accuracy_of_logits(block, own_columns(logits)[: tf.shape(block)[0]])


def contrastive_entropy(logits: tf.Tensor) -> tf.Tensor:
  """Returns the mean entropy, in nats, of the softmax from first to second views, as SimCLR."""
  return entropy_of_logits(_between_views(logits))


def accuracy_of_logits(logits: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
  """Returns the share of rows of `[N, M]` whose largest logit is in their column, int32 `[N]`."""
  nearest = tf.argmax(logits, axis=1, output_type=tf.int32)
  return tf.reduce_mean(tf.cast(nearest == own, tf.float32))


def entropy_of_logits(logits: tf.Tensor) -> tf.Tensor:
  """Returns the mean entropy, in nats, of the softmax of rows of `[N, M]`."""
  return -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), axis=1))


def reconstruction_loss(
  reconstruction: tf.Tensor, target: tf.Tensor, kind: str = "mse"
) -> tf.Tensor:
  """Computes the distance of the reconstruction from its target (paper, Eq. 2).

  Args:
    reconstruction: float `[B, H, W, C]` in [0, 1].
    target: the same.
    kind: mse, huber (delta 1), or ssim (1 - SSIM, at least 11 pixels a side).

  Returns:
    Scalar: the mean over images, pixels and channels.
  """
  if kind == "mse":
    return tf.reduce_mean(tf.math.squared_difference(reconstruction, target))
  if kind == "huber":
    return tf.reduce_mean(tf.keras.losses.huber(target, reconstruction))
  if kind == "ssim":
    return 1.0 - tf.reduce_mean(tf.image.ssim(reconstruction, target, max_val=1.0))
  raise ValueError(f"kind must be mse, huber or ssim. Received: {kind}")


def supervised_loss(logits: tf.Tensor, labels: tf.Tensor, ordinal: bool = False) -> tf.Tensor:
  """Computes softmax cross entropy, or for grades binary cross entropy over cumulative bits.

  Args:
    logits: float `[B, K]`.
    labels: int `[B]`; grade g stands for g + 1 ones and then zeros.
    ordinal: whether labels are grades.

  Returns:
    Scalar: the mean over images (and bits).
  """
  if not ordinal:
    return tf.reduce_mean(
      tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
  bits = tf.range(tf.shape(logits)[1], dtype=labels.dtype) <= labels[:, tf.newaxis]
  return tf.reduce_mean(
    tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(bits, logits.dtype), logits=logits)
  )


def predictions(logits: tf.Tensor, ordinal: bool = False) -> tf.Tensor:
  """Returns classes int64 `[B]` from logits `[B, K]`; grades count the bits over 0.5, less 1."""
  if ordinal:
    return tf.maximum(tf.math.count_nonzero(logits > 0, axis=1) - 1, 0)
  return tf.argmax(logits, axis=1)


def supervised_accuracy(logits: tf.Tensor, labels: tf.Tensor, ordinal: bool = False) -> tf.Tensor:
  """Returns the share of right `predictions`; labels int `[B]`."""
  right = predictions(logits, ordinal) == tf.cast(labels, tf.int64)
  return tf.reduce_mean(tf.cast(right, tf.float32))


def segmentation_loss(
  logits: tf.Tensor,
  classes: tf.Tensor,
  kind: str,
  *,
  dice_weight: float = 1.0,
  class_weights: Sequence[float] = (),
) -> tf.Tensor:
  """Computes the loss of a batch.

  On several replicas the mean of what they compute is the loss of the whole batch.

  Args:
    logits: float32 `[B, H, W, K]`.
    classes: int32 `[B, H, W]`; other numbers than 0 to K - 1 don't count.
    kind: cross_entropy, dice, cross_entropy_dice (their sum) or focal.
    dice_weight: of Dice in the sum.
    class_weights: of each class; empty: all 1.

  Returns:
    Scalar.
  """
  hot = tf.one_hot(classes, logits.shape[-1], dtype=logits.dtype)  # zeros where nothing counts
  weights = tf.constant(class_weights or [1.0] * logits.shape[-1], logits.dtype)
  if kind == "dice":
    return dice_loss(logits, hot, weights)
  if kind == "focal":
    return pixel_loss(logits, hot, weights, FOCAL_GAMMA)
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


def _between_views(logits: tf.Tensor) -> tf.Tensor:
  """Returns the `[B, B * replicas]` block of first views against all second views."""
  images, of_all = tf.unstack(tf.shape(logits) // 2)
  return logits[:images, of_all:]
