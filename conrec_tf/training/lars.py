"""LARS (You et al. 2017, arXiv 1708.03888), the paper's optimizer, as in SimCLR."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def lars_update(
  weight: tf.Tensor,
  gradient: tf.Tensor,
  velocity: tf.Tensor,
  *,
  learning_rate: float | tf.Tensor,
  momentum: float,
  weight_decay: float,
  trust_coefficient: float | None,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Takes one step of LARS (You et al. 2017, arXiv 1708.03888) as in SimCLR.

  Args:
    weight: float tensor.
    gradient: of the weight's shape.
    velocity: of the weight's shape.
    learning_rate: scales the step.
    momentum: share of the velocity that stays.
    weight_decay: share of the weight that is added to the gradient.
    trust_coefficient: the layer-wise rate is this times |weight| / |gradient|, where both
      norms are positive, else 1. None: plain momentum.

  Returns:
    new weight and new velocity.
  """
  if weight_decay:
    gradient += weight_decay * weight
  if trust_coefficient is not None:
    weight_norm, gradient_norm = tf.norm(weight), tf.norm(gradient)
    trust = tf.where(
      (weight_norm > 0) & (gradient_norm > 0),
      trust_coefficient * tf.math.divide_no_nan(weight_norm, gradient_norm),
      1.0,
    )
    learning_rate = learning_rate * trust
  velocity = momentum * velocity + learning_rate * gradient
  return weight - velocity, velocity


class LARS(tf.keras.optimizers.Optimizer):
  """LARS with SimCLR's exclusions: vectors take plain momentum steps without decay.

  Biases and batch norm are the vectors (rank below 2) of the network.

  Args:
    learning_rate: float or `LearningRateSchedule`.
    momentum: of the velocity.
    lars_decay: weight decay; not named `weight_decay`, which Keras would apply itself.
    trust_coefficient: the eta of LARS.
    excluded: further variables that take plain momentum steps, e.g. a supervised head.
  """

  def __init__(
    self,
    learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
    momentum: float = 0.9,
    lars_decay: float = 0.0,
    trust_coefficient: float = 0.001,
    excluded: Sequence[tf.Variable] = (),
    name: str = "LARS",
    jit_compile: bool = False,
    **kwargs: Any,
  ) -> None:
    # By default Keras takes 0 times each weight from it, four operations a variable.
    super().__init__(name=name, jit_compile=jit_compile, **{"weight_decay": None, **kwargs})
    self._learning_rate = self._build_learning_rate(learning_rate)
    self.momentum = momentum
    self.lars_decay = lars_decay
    self.trust_coefficient = trust_coefficient
    self._excluded = {self._var_key(variable) for variable in excluded}

  def build(self, var_list: Sequence[tf.Variable]) -> None:
    """Creates the velocities of the variables that will be updated."""
    super().build(var_list)
    if not getattr(self, "_built", False):
      self.velocities = [
        self.add_variable_from_reference(variable, "velocity") for variable in var_list
      ]
      self._built = True

  def is_excluded(self, variable: tf.Variable) -> bool:
    """Returns whether a variable is exempt from decay and layer-wise rates."""
    return variable.shape.rank < 2 or self._var_key(variable) in self._excluded

  def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
    """Updates one variable and its velocity in place."""
    excluded = self.is_excluded(variable)
    velocity = self.velocities[self._index_dict[self._var_key(variable)]]
    new_weight, new_velocity = lars_update(
      variable,
      gradient,
      velocity,
      learning_rate=tf.cast(self.learning_rate, variable.dtype),
      momentum=self.momentum,
      weight_decay=0.0 if excluded else self.lars_decay,
      trust_coefficient=None if excluded else self.trust_coefficient,
    )
    velocity.assign(new_velocity)
    variable.assign(new_weight)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments to make such an optimizer again, without `excluded`."""
    return {
      **super().get_config(),
      "learning_rate": self._serialize_hyperparameter(self._learning_rate),
      "momentum": self.momentum,
      "lars_decay": self.lars_decay,
      "trust_coefficient": self.trust_coefficient,
    }
