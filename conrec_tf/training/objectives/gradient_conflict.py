"""Whether the losses agree: the cosine of their gradients in the encoder that they share."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from conrec_tf.metrics import GRADIENT_COSINE, level_cosine
from conrec_tf.models import ConRec
from conrec_tf.training.update_step import LatestValue


class GradientConflict:
  """Compares the gradients of the contrastive and the reconstruction part of a loss.

  Args:
    model: the network, built.
    interval: steps between two comparisons.
  """

  def __init__(self, model: ConRec, interval: int) -> None:
    self._interval = interval
    self._levels = model.encoder.variables_by_level()
    self._names = [GRADIENT_COSINE] + [
      level_cosine(level + 1) for level in range(len(self._levels))
    ]

  def metrics(self) -> dict[str, LatestValue]:
    """Returns the metrics of the numbers that the call returns."""
    return {name: LatestValue() for name in self._names}

  def __call__(
    self, tape: tf.GradientTape, parts: Mapping[str, tf.Tensor], step: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Computes the cosines, in all of the encoder and in each level.

    Nothing is computed at other steps, and nothing that is needed for the update changes.

    Args:
      tape: persistent, which has seen the losses; the variables haven't changed since.
      parts: the losses, scalars, of the names of `PretrainingObjective.part`.
      step: integer scalar, from 1.

    Returns:
      `{metric name: float32 scalar in [-1, 1]}`, NaN at other steps, where a gradient isn't finite
      and where one of them is 0.
    """

    def cosines() -> tf.Tensor:
      first, second = (
        tape.gradient(parts[name], self._levels, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for name in ("contrastive", "reconstruction")
      )
      return gradient_cosines(first, second)

    missing = tf.fill([len(self._names)], float("nan"))
    found = tf.cond(step % self._interval == 0, cosines, lambda: missing)
    return dict(zip(self._names, tf.unstack(found), strict=True))


def gradient_cosines(
  first: Sequence[Sequence[tf.Tensor]], second: Sequence[Sequence[tf.Tensor]]
) -> tf.Tensor:
  """Computes the cosines between two gradients, in all levels together and in each.

  Args:
    first: float tensors of any shape, by level and variable.
    second: the same of the other gradient.

  Returns:
    float32 `[1 + levels]`; NaN where one of the gradients is 0 or not finite.
  """

  norms = tf.sqrt(_products(first, first)) * tf.sqrt(_products(second, second))
  return _products(first, second) / norms


def _products(
  first: Sequence[Sequence[tf.Tensor]], second: Sequence[Sequence[tf.Tensor]]
) -> tf.Tensor:
  """Returns the inner products of two gradients, in all levels together and in each."""
  by_level = [
    tf.add_n([tf.reduce_sum(left * right) for left, right in zip(*level, strict=True)])
    for level in zip(first, second, strict=True)
  ]
  return tf.stack([tf.add_n(by_level), *by_level])
