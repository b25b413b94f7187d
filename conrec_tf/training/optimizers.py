"""The optimizer that the options describe, learning-rate schedules, and where weights decay."""

from collections.abc import Iterable, Sequence
import logging
import math
from typing import Any

import tensorflow as tf

from conrec_tf.config import Optimization
from conrec_tf.training.lars import LARS

logger = logging.getLogger(__name__)


class AdamW(tf.keras.optimizers.AdamW):
  """Keras' AdamW (Loshchilov and Hutter, arXiv 1711.05101); vectors don't decay.

  A variable is updated by TensorFlow's one operation for it. Keras has thirty, which compute the
  same but for rounding; with a hundred variables they take seconds to trace.
  """

  def apply_gradients(
    self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]], *args: Any, **kwargs: Any
  ) -> tf.Tensor:
    """Updates the variables in place; the arguments are Keras'."""
    pairs = list(grads_and_vars)
    step = tf.cast(self.iterations + 1, pairs[0][1].dtype)
    self._beta_1_power, self._beta_2_power = self.beta_1**step, self.beta_2**step
    return super().apply_gradients(pairs, *args, **kwargs)

  def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
    """Updates one variable and its moments in place."""
    index = self._index_dict[self._var_key(variable)]
    tf.raw_ops.ResourceApplyAdam(
      var=variable.handle,
      m=self._momentums[index].handle,
      v=self._velocities[index].handle,
      beta1_power=self._beta_1_power,
      beta2_power=self._beta_2_power,
      lr=tf.cast(self.learning_rate, variable.dtype),
      beta1=self.beta_1,
      beta2=self.beta_2,
      epsilon=self.epsilon,
      grad=gradient,
    )

  def _use_weight_decay(self, variable: tf.Variable) -> bool:
    return variable.shape.rank >= 2 and super()._use_weight_decay(variable)


class WarmupCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
  """Linear warm-up from 0, then a constant rate or a cosine to 0, as in SimCLR.

  Args:
    peak: learning rate after the warm-up.
    warmup_steps: steps of linear rise; step 0 has rate 0 if there are any.
    last_step: where the cosine reaches 0; None for a constant rate.
  """

  def __init__(self, peak: float, warmup_steps: int, last_step: int | None = None) -> None:
    self.peak, self.warmup_steps, self.last_step = peak, warmup_steps, last_step

  def __call__(self, step: tf.Tensor) -> tf.Tensor:
    """Returns the learning rate, a float32 scalar, of the step after `step` steps."""
    step = tf.cast(step, tf.float32)
    rate = tf.constant(self.peak, tf.float32)
    if self.last_step is not None:
      share = (step - self.warmup_steps) / max(1, self.last_step - self.warmup_steps)
      rate *= 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(share, 0.0, 1.0)))
    if self.warmup_steps:
      rate = tf.where(step < self.warmup_steps, self.peak * step / self.warmup_steps, rate)
    return rate

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments to make such a schedule again."""
    return {"peak": self.peak, "warmup_steps": self.warmup_steps, "last_step": self.last_step}


def scaled_learning_rate(base: float, scaling: str, batch_size: int) -> float:
  """Scales a learning rate as SimCLR: base * sqrt(batch), base * batch / 256, or base."""
  return base * {"sqrt": math.sqrt(batch_size), "linear": batch_size / 256, "none": 1.0}[scaling]


def build_optimizer(
  optimization: Optimization, examples: int, last_step: int, head: Sequence[tf.Variable] = ()
) -> tf.keras.optimizers.Optimizer:
  """Builds the optimizer that the options describe.

  Args:
    examples: images of an epoch, for the warm-up.
    last_step: where a cosine schedule ends.
    head: variables of a supervised head, which LARS leaves out.
  """
  rate: float | WarmupCosine = scaled_learning_rate(
    optimization.learning_rate, optimization.learning_rate_scaling, optimization.train_batch_size
  )
  warmup_steps = round(optimization.warmup_epochs * examples // optimization.train_batch_size)
  if 0 < last_step <= warmup_steps:
    logger.warning(
      "The learning rate rises for %d steps (--warmup_epochs=%g), and the training has %d: it "
      "doesn't come to its full",
      warmup_steps,
      optimization.warmup_epochs,
      last_step,
    )
  cosine = optimization.learning_rate_schedule == "cosine"
  if warmup_steps or cosine:
    rate = WarmupCosine(rate, warmup_steps, last_step if cosine else None)
  momentum, decay = optimization.momentum, optimization.weight_decay
  optimizer = {
    "lars": lambda: LARS(rate, momentum=momentum, lars_decay=decay, excluded=head),
    "momentum": lambda: tf.keras.optimizers.SGD(rate, momentum, nesterov=True),
    "adam": lambda: tf.keras.optimizers.Adam(rate),
    "adamw": lambda: AdamW(rate, weight_decay=decay),
  }[optimization.optimizer]()
  if optimization.mixed_precision == "mixed_float16":
    # Before the optimizer sees gradients they are scaled back, so that LARS's ratios hold.
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
  return optimizer


def penalized_variables(
  optimizer: str, variables: Sequence[tf.Variable], head: Sequence[tf.Variable]
) -> list[tf.Variable]:
  """Returns the variables that decay through the loss.

  AdamW decays by itself, and LARS all but the supervised head; with other optimizers all decay
  through the loss. Biases and batch norm, which are vectors, never decay.
  """
  decayed = {"lars": head, "adamw": ()}.get(optimizer, variables)
  return [variable for variable in decayed if variable.shape.rank >= 2]


def l2_penalty(variables: Sequence[tf.Variable], weight_decay: float) -> tf.Tensor:
  """Returns the L2 term of the loss, a scalar: weight_decay / 2 times the sum of squares."""
  if not variables:
    return tf.zeros([], tf.keras.backend.floatx())
  return weight_decay * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])
