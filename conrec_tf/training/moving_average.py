"""A moving average of weights over the steps of a training."""

from collections.abc import Callable, Sequence

import tensorflow as tf


class MovingAverage:
  """Keeps variables that are the moving average of others (Polyak and Juditsky 1992).

  Args:
    averages: variables, with the same values at the start.
    variables: what is trained, in the same order.
    decay: from the steps taken so far, a float32 scalar, to the share of the average that stays.
    iterations: the steps taken so far, a scalar variable.
  """

  def __init__(
    self,
    averages: Sequence[tf.Variable],
    variables: Sequence[tf.Variable],
    decay: Callable[[tf.Tensor], tf.Tensor],
    iterations: tf.Variable,
  ) -> None:
    self._pairs = list(zip(averages, variables, strict=True))
    self._decay, self._iterations = decay, iterations

  def update(self) -> None:
    """Moves the average towards the variables; in a replica, together with the others."""
    tf.distribute.get_replica_context().merge_call(self._update)

  def _update(self, strategy: tf.distribute.Strategy) -> None:
    moves = 1.0 - self._decay(tf.cast(self._iterations, tf.float32))

    def move(average: tf.Variable, weight: tf.Tensor) -> None:
      average.assign_add(tf.cast(moves, average.dtype) * (tf.cast(weight, average.dtype) - average))

    for average, weight in self._pairs:
      strategy.extended.update(average, move, args=(weight,))
