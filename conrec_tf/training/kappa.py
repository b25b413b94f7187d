"""Quadratic weighted kappa while training: TensorFlow Addons' where it is installed, else ours."""

import warnings

import tensorflow as tf


class QuadraticWeightedKappa(tf.keras.metrics.Metric):
  """Cohen's kappa with quadratic weights of what it has seen, in [-1, 1]; 0 where not defined.

  Its values and its checkpoints are those of TensorFlow Addons' `CohenKappa`, which there is
  only up to TensorFlow 2.15.

  Args:
    num_classes: how many grades there are, from 0.
  """

  def __init__(self, num_classes: int) -> None:
    super().__init__(name="quadratic_weighted_kappa")
    self.conf_mtx = self.add_weight(  # Addons' name, so that either restores what the other saved
      name="conf_mtx", shape=(num_classes, num_classes), initializer="zeros", dtype=tf.float32
    )

  def update_state(
    self, labels: tf.Tensor, predictions: tf.Tensor, weights: tf.Tensor | None = None
  ) -> None:
    """Counts int labels `[B]` and predictions `[B]`, each as much as its weight, float32 `[B]`."""
    classes = len(self.conf_mtx)
    self.conf_mtx.assign_add(
      tf.math.confusion_matrix(labels, predictions, classes, weights, dtype=tf.float32)
    )

  def result(self) -> tf.Tensor:
    """Returns 1 - (weighted disagreement) / (that of independent labels and predictions)."""
    grades = tf.range(len(self.conf_mtx), dtype=tf.float32)
    weights = tf.square(grades[:, None] - grades)
    by_chance = tf.reduce_sum(self.conf_mtx, 0)[:, None] * tf.reduce_sum(self.conf_mtx, 1)
    observed = tf.reduce_sum(self.conf_mtx / tf.reduce_sum(self.conf_mtx) * weights)
    expected = tf.reduce_sum(by_chance / tf.reduce_sum(by_chance) * weights)
    return _zero_for_nan(1 - observed / expected)

  def reset_state(self) -> None:
    """Forgets what it has seen."""
    self.conf_mtx.assign(tf.zeros_like(self.conf_mtx))


def quadratic_weighted_kappa(num_classes: int) -> tf.keras.metrics.Metric:
  """Returns a metric of int labels and predictions `[B]`, from 0 to `num_classes` - 1.

  A third argument may be their weights, float32 `[B]`.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # that Addons has had its last release
      import tensorflow_addons as tfa
  except ImportError:
    return QuadraticWeightedKappa(num_classes)

  class AddonsKappa(tfa.metrics.CohenKappa):
    """Addons' own is NaN where all labels and predictions are one grade."""

    def result(self) -> tf.Tensor:
      return _zero_for_nan(super().result())

  return AddonsKappa(num_classes, sparse_labels=True, weightage="quadratic")


def _zero_for_nan(value: tf.Tensor) -> tf.Tensor:
  return tf.where(tf.math.is_nan(value), tf.zeros_like(value), value)
