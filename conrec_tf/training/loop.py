"""The one training loop: steps, metrics, progress; it knows no loss and no network."""

from collections.abc import Callable, Sequence
import logging
import time
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from conrec_tf.config.options.training import SizePhase
from conrec_tf.distribute.strategy import first_local_result, split_batch
from conrec_tf.distribute.workers import Workers
from conrec_tf.errors import UsageError
from conrec_tf.metrics import (
  DATA_WAIT,
  FIRST_NON_FINITE_STEP,
  GLOBAL_STEP,
  IMAGES_PER_SECOND,
  LEARNING_RATE,
  SKIPPED_UPDATES,
)
from conrec_tf.training.preemption import GracefulShutdown, Preempted
from conrec_tf.training.progress import Progress
from conrec_tf.training.update_step import LatestValue

logger = logging.getLogger(__name__)

SECONDS_IN_GRAPH = 2.0  # how long a signal may wait


class Step(Protocol):
  """A training step: a function of a batch that says which metrics it reports."""

  def __call__(self, batch: Any) -> dict[str, Any]:
    """Updates the weights; returns `{name: scalar, or tuple of arguments of the metric}`."""

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of those names."""


class NonFiniteStep(UsageError):
  """A step whose loss or gradient isn't finite; its number is `step`."""

  def __init__(self, step: int, received: str) -> None:
    super().__init__(
      "loss and gradients must be finite; a lower learning_rate often helps, on_nan=skip goes on "
      "without such steps, on_nan=explain says what it began with. "
      f"Received: step {step}, {received}"
    )
    self.step = step


class Event(NamedTuple):
  """Something that happens every so many steps.

  Attributes:
    interval: steps between.
    action: function of the step, the number of steps taken.
  """

  interval: int
  action: Callable[[int], None]


class StepRunner(tf.Module):
  """Runs training steps inside the graph and gathers what they report.

  Its metrics belong into the checkpoint, so that a resumed run logs the same rows. They hold
  what all replicas reported, in each process.

  Args:
    strategy: where the step runs; this isn't made in its scope.
    jit_compile: whether XLA compiles the step.
  """

  def __init__(
    self, strategy: tf.distribute.Strategy, step: Step, jit_compile: bool = False
  ) -> None:
    super().__init__()
    self._strategy = strategy
    self._step = tf.function(step, jit_compile=True) if jit_compile else step
    self.metrics = step.metrics()
    self.waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

  @tf.function(autograph=False)
  def __call__(self, iterator: tf.data.Iterator, count: tf.Tensor) -> None:
    """Takes `count` steps; an int32 tensor, so that other counts don't trace anew."""

    def take_step(taken: tf.Tensor) -> list[tf.Tensor]:
      asked = tf.timestamp()
      with tf.control_dependencies([asked]):
        batch = iterator.get_next()
      with tf.control_dependencies(tf.nest.flatten(batch)):
        came = tf.timestamp()
      self.waited.assign_add(came - asked)
      with tf.control_dependencies([came]):  # or one core alone might take the step before it
        batch = tf.nest.map_structure(tf.identity, batch)
      reported = self._strategy.run(self._step, args=(split_batch(self._strategy, batch),))
      for name, value in first_local_result(self._strategy, reported).items():
        self.metrics[name].update_state(*(value if isinstance(value, tuple) else (value,)))
      return [taken + 1]

    tf.while_loop(lambda taken: taken < count, take_step, [0])

  def collect(self) -> tuple[dict[str, float], float]:
    """Returns what the metrics say since the last call, and seconds spent waiting for data."""
    result = {
      name: float(metric.result())
      for name, metric in self.metrics.items()
      if self._is_logged(name, metric)
    }
    waited = float(self.waited)
    for metric in self.metrics.values():
      metric.reset_state()
    self.waited.assign(0.0)
    return result, waited

  @staticmethod
  def _is_logged(name: str, metric: tf.keras.metrics.Metric) -> bool:
    if isinstance(metric, tf.keras.metrics.Mean):
      return metric.count > 0  # of nothing there is no mean
    if isinstance(metric, LatestValue):
      return not tf.math.is_nan(metric.result())
    if name == SKIPPED_UPDATES:
      return metric.result() > 0
    return name != FIRST_NON_FINITE_STEP

  def first_non_finite_step(self) -> int:
    """Returns the first step since `collect` whose loss or gradient wasn't finite, or 0."""
    metric = self.metrics.get(FIRST_NON_FINITE_STEP)
    return int(metric.result()) if metric else 0


def train(
  runner: StepRunner,
  batches: Callable[[int, int], tf.data.Iterator],
  *,
  first_step: int,
  phases: Sequence[SizePhase],
  log_steps: int,
  images_per_step: int,
  learning_rate: Callable[[], tf.Tensor],
  log: Callable[[dict[str, Any]], None],
  events: Sequence[Event],
  shutdown: GracefulShutdown,
  ids: Callable[[int], str],
  workers: Workers,
) -> None:
  """Trains from `first_step` to exactly the end of the last phase.

  Args:
    batches: from the steps already taken and a size in pixels to an iterator over endless batches.
    first_step: steps already taken.
    phases: the sizes of the whole training, one after the other; the step is traced once for each.
    log_steps: steps between two rows of metrics.
    learning_rate: gives the current one, a scalar.
    log: takes rows of metrics, `{name: number}` with the `global_step`.
    events: what happens on the way, called in this order after the row of metrics; at
      the last step all of them are.
    shutdown: entered.
    ids: function of a step that names its images.
    workers: all of them train and have events at the same steps.

  Raises:
    NonFiniteStep: a loss or gradient isn't finite.
    Preempted: a signal came; no event of that step has been called.
  """
  progress, last_step, size = Progress(first_step, phases), phases[-1].last_step, 0
  step, since, logged = first_step, time.monotonic(), first_step
  intervals = [log_steps] + [event.interval for event in events]
  while step < last_step:
    phase = next(each for each in phases if step < each.last_step)
    if phase.image_size != size:
      if size:
        progress.pause()
        progress.begin(step)
        logger.info("Images of %d pixels after step %d", phase.image_size, step)
      size, steps_per_execution = phase.image_size, 1
      iterator = batches(step, size)
    until_due = [interval - step % interval for interval in intervals]
    count = min([phase.last_step - step, steps_per_execution, *until_due])
    began = time.monotonic()
    runner(iterator, tf.constant(count))
    steps_per_execution = max(1, int(SECONDS_IN_GRAPH * count / (time.monotonic() - began)))
    step += count
    progress.announce(step)
    trouble = runner.first_non_finite_step()
    if trouble:
      progress.pause()
      raise NonFiniteStep(
        trouble, f"learning rate {float(learning_rate()):g}, images {ids(trouble)}"
      )
    if step % log_steps == 0 or step == last_step:
      seconds = time.monotonic() - since
      metrics, waited = runner.collect()
      row = {
        GLOBAL_STEP: step,
        **metrics,
        LEARNING_RATE: float(learning_rate()),
        IMAGES_PER_SECOND: (step - logged) * images_per_step / seconds,
        DATA_WAIT: waited / seconds,
      }
      log(row)
      progress.show(row)
      since, logged = time.monotonic(), step
    steps_per_execution, received = workers.sync_stop_signal(steps_per_execution, shutdown.received)
    if received:
      progress.pause()
      raise Preempted(received, step)
    began = time.monotonic()
    if step == last_step:
      progress.pause()
    try:
      for event in events:
        if step % event.interval == 0 or step == last_step:
          event.action(step)
    except BaseException:
      progress.pause()
      raise
    since += time.monotonic() - began
    progress.exclude(time.monotonic() - began)
  progress.pause()
