"""A moving average of weights over the steps of a training."""

import tensorflow as tf


class MovingAverage:
  """Keeps a network whose weights are the moving average of another's (Polyak and Juditsky 1992).

  Batch norm's statistics are averaged like weights, so that they belong to them.

  Args:
    model: the network that is trained.
    average: another of the same layers, with the same weights at the start.
    decay: share of the average that stays at a step, below 1. Of the first steps less stays,
      (1 + step) / (10 + step), so that the start is soon forgotten.
    iterations: the steps taken so far, a scalar variable.
  """

  def __init__(
    self, model: tf.keras.Model, average: tf.keras.Model, decay: float, iterations: tf.Variable
  ) -> None:
    self._pairs = list(zip(average.weights, model.weights))
    self._decay, self._iterations = decay, iterations

  def update(self) -> None:
    """Moves the average towards the weights; in a replica, together with the others."""
    tf.distribute.get_replica_context().merge_call(self._update)

  def _update(self, strategy: tf.distribute.Strategy) -> None:
    step = tf.cast(self._iterations, tf.float32)
    moves = 1.0 - tf.minimum(self._decay, (1.0 + step) / (10.0 + step))

    def move(average: tf.Variable, weight: tf.Tensor) -> None:
      average.assign_add(tf.cast(moves, average.dtype) * (tf.cast(weight, average.dtype) - average))

    for average, weight in self._pairs:
      strategy.extended.update(average, move, args=(weight,))
