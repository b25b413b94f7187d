"""One update of the weights; numbers that aren't finite are left out, or traced to their origin."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
import re
import traceback
from typing import Any

import tensorflow as tf

from conrec_tf.distribute import replicas
from conrec_tf.metrics import FIRST_NON_FINITE_STEP, SKIPPED_UPDATES

PACKAGE = pathlib.Path(__file__).parents[1]
DETECTED = re.compile(r'Detected (?P<what>.+?) in output \d+ of .*?op "?(?P<op>\w+)')


class NonFiniteGuard:
  """Applies the gradients of all replicas, on demand only if they and the loss are finite.

  With float16 the loss that is differentiated is a multiple, so that small gradients don't
  vanish. Its optimizer leaves out gradients that overflowed and lowers the multiple; that
  happens in every such training and is no trouble.

  Args:
    optimizer: its `iterations` counts all steps, skipped ones too.
    variables: what is trained.
    untrained: what isn't; among it what the forward pass itself changes, moving averages.
    skip: whether a step whose loss or gradients aren't finite is left out.
  """

  def __init__(
    self,
    optimizer: tf.keras.optimizers.Optimizer,
    variables: Sequence[tf.Variable],
    untrained: Sequence[tf.Variable],
    skip: bool = False,
  ) -> None:
    self._skips = skip
    self._optimizer = optimizer
    self._variables = variables
    self._statistics = [
      variable for variable in untrained if skip and not variable.trainable
    ]  # else it is frozen
    self._scales = isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what it reports."""
    # Both in any case: checkpoints go on with another on_nan.
    return {
      SKIPPED_UPDATES: tf.keras.metrics.Sum(SKIPPED_UPDATES),
      FIRST_NON_FINITE_STEP: FirstNonFiniteStep(FIRST_NON_FINITE_STEP),
    }

  def snapshot(self) -> list[tf.Tensor]:
    """Returns what to hand to the call; to be taken before the forward pass."""
    return [tf.identity(variable) for variable in self._statistics]

  def scaled(self, loss: tf.Tensor) -> tf.Tensor:
    """Returns what to differentiate in place of the loss: replicas' gradients are added up."""
    loss = loss / replicas.num_replicas()
    return self._optimizer.get_scaled_loss(loss) if self._scales else loss

  def __call__(
    self,
    loss: tf.Tensor,
    gradients: Sequence[tf.Tensor | None],
    snapshot: Sequence[tf.Tensor],
    metrics: dict[str, tf.Tensor],
  ) -> dict[str, Any]:
    """Updates the weights.

    Args:
      loss: scalar.
      gradients: of the scaled loss, by variable.
      snapshot: what `snapshot` returned.
      metrics: what the step reports, `{name: scalar}`.

    Returns:
      `metrics`, means over the replicas, and its own; a skipped step doesn't count in the means.
    """
    step = self._optimizer.iterations + 1
    loss, *values = _means([loss, *metrics.values()])
    metrics = dict(zip(metrics, values, strict=True))
    finite = tf.math.is_finite(loss)
    if self._scales:
      gradients = self._optimizer.get_unscaled_gradients(gradients)
    pairs = [pair for pair in zip(gradients, self._variables, strict=True) if pair[0] is not None]
    gradients = replicas.all_reduce_sum([gradient for gradient, _ in pairs])
    if not self._scales:
      finite &= tf.math.is_finite(tf.linalg.global_norm(gradients))
    variables = [variable for _, variable in pairs]
    if not self._skips:
      self._apply(gradients, variables)
      return {**metrics, FIRST_NON_FINITE_STEP: (step, ~finite), SKIPPED_UPDATES: 0.0}
    self._apply_if(finite, gradients, variables)
    for variable, value in zip(self._statistics, snapshot, strict=True):
      variable.assign(tf.where(finite, variable, value))
    counted = {
      name: (tf.where(finite, value, 0.0), tf.cast(finite, tf.float32))
      for name, value in metrics.items()
    }
    return {
      **counted,
      FIRST_NON_FINITE_STEP: (step, False),
      SKIPPED_UPDATES: tf.cast(~finite, tf.float32),
    }

  def _apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> None:
    self._optimizer.apply_gradients(
      zip(gradients, variables, strict=True), skip_gradients_aggregation=True
    )

  def _apply_if(
    self, finite: tf.Tensor, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
  ) -> None:
    def together(
      strategy: tf.distribute.Strategy, finite: tf.Tensor, gradients: Sequence[tf.Tensor]
    ) -> None:
      tf.cond(
        strategy.experimental_local_results(finite)[0],
        lambda: strategy.run(lambda parts: self._apply(parts, variables), (gradients,)),
        self._pass_over,
      )

    # A replica can't meet the others within tf.cond, but all of them can enter it together.
    tf.distribute.get_replica_context().merge_call(together, (finite, gradients))

  def _pass_over(self) -> None:
    self._optimizer.iterations.assign_add(1)


def _means(values: list[tf.Tensor]) -> list[tf.Tensor]:
  """Returns means over the replicas of scalars of any float type, in the type of the first."""
  if replicas.num_replicas() == 1:
    return values
  stacked = tf.stack([tf.cast(value, values[0].dtype) for value in values])
  return tf.unstack(replicas.all_reduce_mean(stacked))


class FirstNonFiniteStep(tf.keras.metrics.Metric):
  """The first step at which something happened; 0 if it didn't."""

  def __init__(self, name: str) -> None:
    super().__init__(name=name, dtype=tf.int64)
    self._first = self.add_weight("first", initializer="zeros", dtype=tf.int64)

  def update_state(self, step: tf.Tensor, happened: tf.Tensor) -> None:
    """Notes a step, int64 scalar, if it happened there, bool scalar."""
    self._first.assign(tf.where(happened & (self._first == 0), step, self._first))

  def result(self) -> tf.Tensor:
    """Returns the step, int64 scalar."""
    return tf.identity(self._first)


class LatestValue:
  """The latest value since it was reset that isn't NaN; else NaN.

  It isn't in checkpoints: it is of a step that is logged, and gone before one is saved, so that a
  run can go on with it or without it.
  """

  def __init__(self) -> None:
    self._value = tf.Variable(float("nan"), trainable=False)

  def update_state(self, value: tf.Tensor) -> None:
    """Takes a value, float32 scalar."""
    self._value.assign(tf.where(tf.math.is_nan(value), self._value, value))

  def result(self) -> tf.Tensor:
    """Returns the value, float32 scalar."""
    return tf.identity(self._value)

  def reset_state(self) -> None:
    """Forgets the value."""
    self._value.assign(float("nan"))


def merged_reports(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Merges what the guards of several networks report of a step.

  A step was skipped, or wasn't finite, if it was for one of them.
  """
  if len(reports) == 1:
    return reports[0]
  merged = {name: value for report in reports for name, value in report.items()}
  happened = [report[FIRST_NON_FINITE_STEP] for report in reports]
  step = happened[0][0]
  merged[FIRST_NON_FINITE_STEP] = step, tf.reduce_any([one for _, one in happened])
  merged[SKIPPED_UPDATES] = tf.reduce_max([report[SKIPPED_UPDATES] for report in reports])
  return merged


def mean_metrics(*names: str) -> dict[str, tf.keras.metrics.Metric]:
  """Returns a Keras mean for each name."""
  return {name: tf.keras.metrics.Mean(name=name) for name in names}


def first_non_finite(
  step: Callable[[Mapping[str, tf.Tensor]], Any],
  batch: Mapping[str, tf.Tensor],
  variables: Sequence[tf.Variable],
) -> str:
  """Takes a step one operation at a time, and says in words which number isn't finite first.

  The batch comes first, then the weights, then what operations give, in the order of computing,
  gradients after losses. The weights are of no use afterwards.

  Args:
    step: a function of a batch that updates the weights.
    batch: tensors by name, images along the first axis.
    variables: all that the step computes with.

  Raises:
    tf.errors.InvalidArgumentError: the step fails for another reason.
  """
  for name, values in batch.items():
    if (image := _first_bad(values)) is not None:
      return f"{name} of the batch, image {image} of {len(values)}"
  for variable in variables:
    if _first_bad(tf.reshape(variable, [1, -1])) is not None:
      return f"the weight {variable.name} before the step"
  tf.config.run_functions_eagerly(True)
  tf.debugging.enable_check_numerics()
  try:
    step(batch)
  except tf.errors.InvalidArgumentError as error:
    found = DETECTED.search(error.message)
    if not found:
      raise
    return f"{found['what']} given by {found['op']}{_place(error)}"
  finally:
    tf.debugging.disable_check_numerics()
    tf.config.run_functions_eagerly(False)
  return "none, when the step is taken again one operation at a time"


def _first_bad(values: tf.Tensor) -> int | None:
  """Returns the index along the first axis of what holds a number that isn't finite, or None."""
  if not values.dtype.is_floating:
    return None
  bad = tf.reduce_any(~tf.math.is_finite(tf.reshape(values, [len(values), -1])), axis=1)
  return int(tf.argmax(bad)) if tf.reduce_any(bad) else None


def _place(error: Exception) -> str:
  """Returns the innermost line of this package that was at work."""
  frames = traceback.extract_tb(error.__traceback__)
  own = [each for each in frames if PACKAGE in pathlib.Path(each.filename).parents]
  own = [each for each in own if each.filename != __file__]
  if not own:
    return ""
  return f" in {pathlib.Path(own[-1].filename).relative_to(PACKAGE.parent)}, line {own[-1].lineno}"
