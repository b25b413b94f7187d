"""A teacher: the embedding learns to match another network's vectors of the same images."""

import dataclasses
import pathlib

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.records import TEACHER_VECTOR
from conrec_tf.distribute import replicas
from conrec_tf.metrics import TEACHER_LOSS, TEACHER_RELATION_LOSS
from conrec_tf.models import ConRec, FeatureLevels, LinearHead, Outputs
from conrec_tf.pretrained.teacher_vectors import (
  FOLDER,
  as_seen,
  kept_vectors,
  note_teacher,
  open_teacher,
)
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective

# Of angles beside distances, as the authors of arXiv 1904.05068 have it (Section 4).
ANGLE_WEIGHT = 2.0
NEAREST = 1e-6  # squared distance over the rows' variance; nearer ones can't be told from equal


class Teacher(PretrainingObjective):
  """Another network, whose vectors a linear head makes of the embedding.

  It isn't trained, and no weight of it is kept: a run notes what tells it from others.
  """

  def __init__(self, options: Training, model: ConRec, channels: int) -> None:
    super().__init__(options, model, channels)
    self.network = open_teacher(options, channels)
    self.head = LinearHead(self.network.width) if options.teacher_weight else None
    if self.head:
      size = options.image_size
      self.head(model.representation(tf.zeros([1, size, size, channels])))  # creates the variables
      self.variables = self.head.trainable_variables
      self.only_to_resume = {"teacher_head": self.head}
    weights = {
      TEACHER_LOSS: options.teacher_weight,
      TEACHER_RELATION_LOSS: options.teacher_relation_weight,
    }
    self.metrics = [name for name, weight in weights.items() if weight]

  def prepared(self, source: DatasetSource, folder: pathlib.Path) -> DatasetSource:
    """Returns the dataset with the teacher's vector of each image, made once; see `kept_vectors`.

    Where the teacher sees views, the dataset is as it was.
    """
    if self.options.teacher_views:
      note_teacher(folder / FOLDER, self.network, self.options)
      return source
    vectors = kept_vectors(folder / FOLDER, self.network, self.options, source)
    rows = source.train.rows.with_column(TEACHER_VECTOR, vectors)
    return dataclasses.replace(source, train=dataclasses.replace(source.train, rows=rows))

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the losses.

    Where the teacher doesn't see views, the batch has its vectors of whole images,
    `TEACHER_VECTOR`, float32 `[B, F]`.
    """
    options, embedding, metrics = self.options, outputs.embedding, {}
    vectors = tf.cast(self._vectors(batch), embedding.dtype)
    total = tf.zeros([], embedding.dtype)
    if self.head:
      metrics[TEACHER_LOSS] = cosine_loss(self.head(embedding), vectors)
      total += options.teacher_weight * metrics[TEACHER_LOSS]
    if options.teacher_relation_weight:
      views = zip(tf.split(embedding, 2), tf.split(vectors, 2), strict=True)
      metrics[TEACHER_RELATION_LOSS] = sum(relation_loss(*view) for view in views) / 2.0
      total += options.teacher_relation_weight * metrics[TEACHER_RELATION_LOSS]
    return total, metrics

  def _vectors(self, batch: Batch) -> tf.Tensor:
    """Returns the teacher's vectors, float32 `[2B, F]`, view-major."""
    if self.options.teacher_views:
      return tf.stop_gradient(self.network.embed(as_seen(batch["target"], self.network)))
    return tf.concat([batch[TEACHER_VECTOR]] * 2, axis=0)


def cosine_loss(rows: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
  """Returns the mean of 1 - cosine over rows, float `[B, F]` both; a scalar in [0, 2]."""
  rows, vectors = (tf.math.l2_normalize(each, axis=-1) for each in (rows, vectors))
  return 1.0 - tf.reduce_mean(tf.reduce_sum(rows * vectors, axis=-1))


def relation_loss(embeddings: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
  """Computes how far distances and angles within a batch differ (RKD, arXiv 1904.05068).

  It is the mean Huber loss of distances over their mean, over all pairs of images, plus twice that
  of the cosines of angles, over all triplets (Eq. 5 to 8). On several replicas relations are those
  of the whole batch, and the mean of what the replicas compute is its loss.

  Args:
    embeddings: float `[B, f]`, of one view of each image of this replica.
    vectors: float `[B, F]`, the teacher's.

  Returns:
    Scalar; of fewer than three images without angles.
  """
  relations = [_relations(rows) for rows in (embeddings, vectors)]
  distance, angle = (_huber(*pair) for pair in zip(*relations, strict=True))
  images = tf.cast(tf.shape(embeddings)[0] * replicas.num_replicas(), embeddings.dtype)
  pairs, own = images * (images - 1.0), images / replicas.num_replicas()
  triplets = own * (images - 1.0) * (images - 2.0)  # each at a vertex of this replica
  return tf.math.divide_no_nan(distance, pairs) + ANGLE_WEIGHT * tf.math.divide_no_nan(
    angle, triplets
  )


def _relations(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns distances `[N, N]` over their mean, and cosines of angles `[B, N, N]` at own rows.

  Those of a row with itself are 0. N are the rows of all replicas.
  """
  own = replicas.own_rows(tf.shape(rows)[0])
  rows = replicas.all_gather(rows)
  rows = rows - tf.reduce_mean(rows, axis=0)  # so that little is lost in the differences below
  products = tf.matmul(rows, rows, transpose_b=True)
  squares = tf.linalg.diag_part(products)
  squared = squares[:, tf.newaxis] + squares - 2.0 * products
  apart = tf.linalg.set_diag(
    squared > NEAREST * tf.reduce_mean(squares), tf.zeros_like(squares, tf.bool)
  )
  # Where is taken twice, as the gradient of a root is infinite at 0.
  distances = tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)
  inverse = tf.math.divide_no_nan(tf.ones([], rows.dtype), distances)
  of_own = tf.gather(products, own)
  cosines = (
    products
    - of_own[:, :, tf.newaxis]
    - of_own[:, tf.newaxis]
    + tf.gather(squares, own)[:, tf.newaxis, tf.newaxis]
  )
  to_own = tf.gather(inverse, own)
  cosines = cosines * to_own[:, :, tf.newaxis] * to_own[:, tf.newaxis]
  count = tf.cast(tf.shape(rows)[0], rows.dtype)
  mean = tf.math.divide_no_nan(tf.reduce_sum(distances), count * (count - 1.0))
  return tf.math.divide_no_nan(distances, mean), tf.linalg.set_diag(
    cosines, tf.zeros_like(cosines[..., 0])
  )


def _huber(ours: tf.Tensor, theirs: tf.Tensor) -> tf.Tensor:
  """Returns the sum of the Huber loss of differences (Eq. 6), a scalar."""
  difference = tf.abs(ours - theirs)
  return tf.reduce_sum(tf.where(difference <= 1.0, tf.square(difference) / 2.0, difference - 0.5))
