"""Momentum contrast: a second network that follows the first, a queue of its outputs, the loss."""

import logging
import math
from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.distribute import replicas
from conrec_tf.metrics import CONTRAST_ACCURACY, CONTRAST_ENTROPY, CONTRAST_LOSS
from conrec_tf.models import FeatureLevels, Outputs, build_model
from conrec_tf.pretrained.find import MOMENTUM
from conrec_tf.training.moving_average import MovingAverage
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective

logger = logging.getLogger(__name__)

PARTS = ("encoder", "pooling", "projection_head")


class MomentumContrast(PretrainingObjective):
  """Projections nearest to the keys that a second network makes of the other view.

  Its weights are a moving average of the trained network's (He et al. 2019, arXiv 2003.04297; v3:
  arXiv 2104.02057); its batch norm has statistics of its own, and it has no dropout. No gradient
  reaches it.

  Attributes:
    network: encoder, pooling and projection head.
    queue: float `[K, D]`, keys of earlier batches, the oldest replaced first; None where the
      batch's other keys are enough.
  """

  part = "contrastive"
  in_validation = True
  metrics = (CONTRAST_LOSS, CONTRAST_ACCURACY, CONTRAST_ENTROPY)

  def build(self, iterations: tf.Variable, last_step: int, skip_non_finite: bool) -> None:
    """Creates the second network, the schedule of its average, and the queue."""
    options, self._iterations = self.options, iterations
    self.network = build_model(options, self.channels, with_decoder=False)
    if hasattr(self.network.pooling, "dropout"):
      self.network.pooling.dropout = 0.0
    averages: list[tf.Variable] = []
    followed: list[tf.Variable] = []
    for name in PARTS:
      part, other = getattr(self.network, name), getattr(self.model, name)
      part.set_weights(other.get_weights())
      averages += part.trainable_weights
      followed += other.trainable_weights
    base = options.moco_momentum

    def decay(step: tf.Tensor) -> tf.Tensor:
      if options.moco_momentum_schedule == "constant":
        return tf.constant(base)
      done = tf.minimum(step / float(max(1, last_step)), 1.0)
      return 1.0 - (1.0 - base) * (tf.cos(math.pi * done) + 1.0) / 2.0

    self._average = MovingAverage(averages, followed, decay, iterations)
    self.networks = {MOMENTUM: self.network}
    self.untrained = self.network.non_trainable_variables
    self.queue = None
    if options.moco_queue_length:
      shape = [options.moco_queue_length, options.proj_out_dim]
      drawn = tf.random.stateless_normal(
        shape, [options.seed, 0], dtype=tf.as_dtype(tf.keras.backend.floatx())
      )
      self.queue = self.networks["queue"] = tf.Variable(
        tf.math.l2_normalize(drawn, axis=1),
        trainable=False,
        name="queue",
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
      )
      self.untrained = [*self.untrained, self.queue]

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss, and accuracy and entropy by name; in training the queue moves on."""
    options = self.options
    keys = self.keys(
      batch["target" if options.contrastive_inputs == "clean" else "corrupted"], training
    )
    logits, own = moco_logits(
      outputs.projection, keys, options.temperature, options.hidden_norm, self.queue
    )
    loss = moco_from_logits(logits, own)
    if training:
      self._enqueue(keys)
    return options.contrastive_weight * loss, {
      CONTRAST_LOSS: loss,
      CONTRAST_ACCURACY: losses.accuracy_of_logits(logits, own),
      CONTRAST_ENTROPY: losses.entropy_of_logits(logits),
    }

  def keys(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns the keys float32 `[2B, D]` of images `[2B, H, W, C]`, view-major."""
    return tf.stop_gradient(self.network(images, training=training).projection)

  def _enqueue(self, keys: tf.Tensor) -> None:
    """Puts the keys of all replicas, float `[2B, D]` of each, in place of the oldest ones."""
    if self.queue is None:
      return
    if self.options.hidden_norm:
      keys = tf.math.l2_normalize(keys, axis=-1)
    keys = tf.cast(replicas.all_gather(keys), self.queue.dtype)
    length, count = (tf.shape(rows, tf.int64)[0] for rows in (self.queue, keys))
    start = tf.cast(self._iterations, tf.int64) * count % length
    indices = (start + tf.range(count)) % length
    self.queue.assign(tf.tensor_scatter_nd_update(self.queue, indices[:, tf.newaxis], keys))

  def after_update(
    self, batch: Batch, outputs: Outputs, counts: float | tf.Tensor
  ) -> dict[str, Any]:
    """Moves the weights towards those of the trained network."""
    self._average.update(counts)
    return {}


def moco_logits(
  queries: tf.Tensor,
  keys: tf.Tensor,
  temperature: float,
  hidden_norm: bool = True,
  queue: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Computes similarities of queries with keys over temperature, for momentum contrast.

  A query of one view is to be nearest to its image's key of the other view. The other keys are
  those of the batch's other images, of all replicas (arXiv 2104.02057), or with a queue those of
  earlier batches (arXiv 2003.04297).

  Args:
    queries: float `[2B, D]`, view-major.
    keys: float `[2B, D]`, view-major, of the momentum network; no gradient reaches it.
    queue: float `[K, D]`, keys of earlier batches, or None.

  Returns:
    Logits `[2B, B * replicas]`, or `[2B, 1 + K]` with a queue, and the column of each row's own
    key, int32 `[2B]`.
  """
  keys = tf.stop_gradient(keys)
  if hidden_norm:
    queries, keys = (tf.math.l2_normalize(rows, axis=-1) for rows in (queries, keys))
  images = tf.shape(queries)[0] // 2
  if queue is not None:
    own = tf.reduce_sum(queries * tf.roll(keys, images, axis=0), axis=1, keepdims=True)
    logits = tf.concat(
      [own, tf.matmul(queries, tf.cast(queue, queries.dtype), transpose_b=True)], 1
    )
    return logits / temperature, tf.zeros([2 * images], tf.int32)
  firsts, seconds = tf.split(losses.gather_views(keys), 2)
  logits = tf.concat(
    [
      tf.matmul(queries[:images], seconds, transpose_b=True),
      tf.matmul(queries[images:], firsts, transpose_b=True),
    ],
    axis=0,
  )
  own = replicas.own_rows(images)
  return logits / temperature, tf.concat([own, own], axis=0)


def moco_from_logits(logits: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
  """Computes the loss of momentum contrast from what `moco_logits` returned.

  Scalar, summed over the views as `nt_xent` is. All-equal projections give 2 ln(columns).
  """
  cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=own, logits=logits)
  return 2.0 * tf.reduce_mean(cross_entropy)


def warn_of_long_queue(length: int, images: int) -> None:
  """Warns of a queue that comes near the number of training images."""
  if length > images:
    logger.warning(
      "The queue holds %d projections, two of an image, of %d images: many are of the image that "
      "they are compared with, or of a view just seen; a shorter --moco_queue_length is usual",
      length,
      images,
    )
