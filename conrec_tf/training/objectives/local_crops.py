"""Many views: small crops of an image are near its whole views, cheaply (arXiv 2006.09882)."""

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.distribute import replicas
from conrec_tf.metrics import LOCAL_CROP_LOSS
from conrec_tf.models import FeatureLevels, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class LocalCrops(PretrainingObjective):
  """Crops of a few pixels, each compared with the whole views of all images.

  Encoder, pooling and projection head see them without the decoder, and apart from whole views:
  batch norm normalises them by their own statistics, which its moving averages don't take up, as
  those are for whole images.
  """

  part = "contrastive"
  metrics = (LOCAL_CROP_LOSS,)

  def build(self, iterations: tf.Variable, last_step: int, skip_non_finite: bool) -> None:
    """Keeps the step, of which dropout is a function."""
    self._iterations = iterations

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss of crops, float32 `local_crops`, `[B, N, h, w, C]` in [0, 1]."""
    options, crops = self.options, batch["local_crops"]
    _, number, *shape = crops.shape
    crops = tf.reshape(tf.transpose(crops, [1, 0, 2, 3, 4]), [-1, *shape])
    projections = self._project(crops, number, training)
    logits = crop_logits(projections, outputs.projection, options.temperature, options.hidden_norm)
    loss = decoupled_from_crop_logits(logits)
    return options.local_crop_weight * loss, {LOCAL_CROP_LOSS: loss}

  def _project(self, crops: tf.Tensor, number: int, training: bool) -> tf.Tensor:
    model, statistics = self.model, self.model.non_trainable_variables
    before = [tf.identity(variable) for variable in statistics]
    # Another seed than that of the whole views.
    seed = tf.stack([tf.constant(self.options.seed + 1, tf.int64), self._iterations])
    features, _ = model.encoder(crops, training=training)
    embedding = model.pooling(features, training=training, seed=seed, num_views=number)
    assert model.projection_head  # as there is a contrastive loss
    projections = model.projection_head(embedding, training=training)
    for variable, value in zip(statistics, before, strict=True):
      variable.assign(value)
    return projections


def crop_logits(
  crops: tf.Tensor, views: tf.Tensor, temperature: float, hidden_norm: bool = True
) -> tf.Tensor:
  """Computes similarities of crops with the whole views of all replicas over temperature.

  Args:
    crops: float `[N * B, D]`, projections, all first crops, then all second ones, and so on.
    views: float `[2B, D]`, projections, view-major.
    temperature: positive.
    hidden_norm: whether rows are first normalised to unit length.

  Returns:
    `[N, B, 2, B * replicas]`: by crop and image against view and image.
  """
  if hidden_norm:
    crops, views = (tf.math.l2_normalize(rows, axis=-1) for rows in (crops, views))
  images = tf.shape(views)[0] // 2
  logits = tf.matmul(crops, losses.gather_views(views), transpose_b=True) / temperature
  return tf.reshape(logits, [-1, images, 2, images * replicas.num_replicas()])


def decoupled_from_crop_logits(logits: tf.Tensor) -> tf.Tensor:
  """Computes the decoupled contrastive loss of crops from what `crop_logits` returned.

  A crop is to be near both views of its image, and far from those of the other images.

  Args:
    logits: float `[N, B, 2, B * replicas]`.

  Returns:
    Scalar, twice the mean over crops, as `nt_xent` is summed over the views. All-equal projections
    give 2 ln(2B - 2).
  """
  images, of_all = tf.shape(logits)[1], tf.shape(logits)[3]
  column = replicas.own_rows(images)
  own = tf.one_hot(column, of_all, True, False)[:, tf.newaxis]
  near = tf.reduce_sum(tf.where(own, logits, 0.0), axis=[2, 3]) / 2.0
  others = tf.where(own, tf.cast(losses.MASKED, logits.dtype), logits)
  return 2.0 * tf.reduce_mean(tf.reduce_logsumexp(others, axis=[2, 3]) - near)
