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

  def update(self, counts: float | tf.Tensor) -> None:
    """Moves the average towards the variables; in a replica, together with the others.

    Args:
      counts: 1, or 0 of a step that is left out, which leaves the average as it is; a scalar that
        is the same in all replicas.
    """
    tf.distribute.get_replica_context().merge_call(self._update, (counts,))

  def _update(self, strategy: tf.distribute.Strategy, counts: float | tf.Tensor) -> None:
    share = 1.0 - self._decay(tf.cast(self._iterations, tf.float32))

    def move(average: tf.Variable, weight: tf.Tensor, counts: float | tf.Tensor) -> None:
      moves = tf.cast(share * counts, average.dtype)
      average.assign_add(moves * (tf.cast(weight, average.dtype) - average))

    for average, weight in self._pairs:
      strategy.extended.update(average, move, args=(weight, counts))
