"""LARS, and SimCLR's scaling of the learning rate."""

import math

import tensorflow as tf


def lars_update(weight, gradient, velocity, *, learning_rate, momentum, weight_decay,
                trust_coefficient):
  """One step of LARS (You et al. 2017, arXiv 1708.03888) as in SimCLR.

  Args:
    weight, gradient, velocity: float tensors of one shape.
    learning_rate, momentum, weight_decay: as usual.
    trust_coefficient: the layer-wise rate is this times |weight| / |gradient|, where both
      norms are positive, else 1. None: plain momentum.

  Returns:
    new weight and new velocity.
  """
  gradient += weight_decay * weight
  trust = 1.0
  if trust_coefficient is not None:
    weight_norm, gradient_norm = tf.norm(weight), tf.norm(gradient)
    trust = tf.where((weight_norm > 0) & (gradient_norm > 0),
                     trust_coefficient * tf.math.divide_no_nan(weight_norm, gradient_norm), 1.0)
  velocity = momentum * velocity + learning_rate * trust * gradient
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

  def __init__(self, learning_rate, momentum=0.9, lars_decay=0.0, trust_coefficient=0.001,
               excluded=(), name="LARS", jit_compile=False, **kwargs):
    super().__init__(name=name, jit_compile=jit_compile, **kwargs)
    self._learning_rate = self._build_learning_rate(learning_rate)
    self.momentum = momentum
    self.lars_decay = lars_decay
    self.trust_coefficient = trust_coefficient
    self._excluded = {id(variable) for variable in excluded}

  def build(self, var_list):
    super().build(var_list)
    if not getattr(self, "_built", False):
      self.velocities = [self.add_variable_from_reference(variable, "velocity")
                         for variable in var_list]
      self._built = True

  def is_excluded(self, variable):
    """Whether a variable is exempt from decay and layer-wise rates."""
    return variable.shape.rank < 2 or id(variable) in self._excluded

  def update_step(self, gradient, variable):
    excluded = self.is_excluded(variable)
    velocity = self.velocities[self._index_dict[self._var_key(variable)]]
    new_weight, new_velocity = lars_update(
        variable, gradient, velocity, learning_rate=tf.cast(self.learning_rate, variable.dtype),
        momentum=self.momentum, weight_decay=0.0 if excluded else self.lars_decay,
        trust_coefficient=None if excluded else self.trust_coefficient)
    velocity.assign(new_velocity)
    variable.assign(new_weight)

  def get_config(self):
    return {**super().get_config(), "learning_rate": self._serialize_hyperparameter(
        self._learning_rate), "momentum": self.momentum, "lars_decay": self.lars_decay,
            "trust_coefficient": self.trust_coefficient}


def scaled_learning_rate(config):
  """SimCLR's scaling: base * sqrt(batch), base * batch / 256, or base."""
  scale = {"sqrt": math.sqrt(config.train_batch_size), "linear": config.train_batch_size / 256,
           "none": 1.0}
  return config.learning_rate * scale[config.learning_rate_scaling]


def build_optimizer(config):
  """The optimizer that `config` describes."""
  return LARS(scaled_learning_rate(config), momentum=config.momentum,
              lars_decay=config.weight_decay)
