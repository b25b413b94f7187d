"""The one training loop: steps, metrics, progress; it knows no loss and no network."""

import json
import logging
import os
import time

import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.distribute.strategy import first_local_result, split_batch
from conrec_tf.evaluation import metric_names
from conrec_tf.run_dir.run_directory import io_as_usage_error, write_text
from conrec_tf.training.preemption import Preempted
from conrec_tf.training.progress import Progress

logger = logging.getLogger(__name__)

SECONDS_IN_GRAPH = 2.0  # how long a signal may wait


class StepRunner(tf.Module):
  """Runs training steps inside the graph and gathers what they report.

  Its metrics belong into the checkpoint, so that a resumed run logs the same rows. They hold
  what all replicas reported, in each process.

  Args:
    strategy: `tf.distribute.Strategy`; this isn't made in its scope.
    step: callable from a batch to `{name: scalar, or arguments of the metric}`, with
      `step.metrics()`, the Keras metrics of those names.
    jit_compile: whether XLA compiles the step.
  """

  def __init__(self, strategy, step, jit_compile=False):
    super().__init__()
    self._strategy = strategy
    self._step = tf.function(step, jit_compile=True) if jit_compile else step
    self.metrics = step.metrics()
    self.waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

  @tf.function
  def __call__(self, iterator, count):
    """Takes `count` steps; an int32 tensor, so that other counts don't trace anew."""
    for _ in tf.range(count):
      asked = tf.timestamp()
      with tf.control_dependencies([asked]):
        batch = next(iterator)
      with tf.control_dependencies(tf.nest.flatten(batch)):
        came = tf.timestamp()
      self.waited.assign_add(came - asked)
      with tf.control_dependencies([came]):  # or one core alone might take the step before it
        batch = tf.nest.map_structure(tf.identity, batch)
      reported = self._strategy.run(self._step, args=(split_batch(self._strategy, batch),))
      for name, value in first_local_result(self._strategy, reported).items():
        self.metrics[name].update_state(*(value if isinstance(value, tuple) else (value,)))

  def collect(self):
    """What the metrics say since the last call, and seconds spent waiting for data."""
    result = {
      name: float(metric.result())
      for name, metric in self.metrics.items()
      if self._says_something(name, metric)
    }
    waited = float(self.waited)
    for metric in self.metrics.values():
      metric.reset_state()
    self.waited.assign(0.0)
    return result, waited

  @staticmethod
  def _says_something(name, metric):
    if isinstance(metric, tf.keras.metrics.Mean):
      return metric.count > 0  # of nothing there is no mean
    return name != metric_names.FIRST_NON_FINITE_STEP and (
      name != metric_names.SKIPPED_UPDATES or metric.result() > 0
    )

  def first_non_finite_step(self):
    """The first step since the last `collect` whose loss or gradient wasn't finite, or 0."""
    return (
      int(self.metrics[metric_names.FIRST_NON_FINITE_STEP].result())
      if metric_names.FIRST_NON_FINITE_STEP in self.metrics
      else 0
    )


def train(
  runner,
  iterator,
  *,
  first_step,
  last_step,
  log_steps,
  images_per_step,
  learning_rate,
  log,
  events,
  shutdown,
  ids,
  workers,
):
  """Trains from `first_step` to exactly `last_step`.

  Args:
    runner: `StepRunner`.
    iterator: over endless batches.
    first_step: steps already taken.
    last_step: where to stop.
    log_steps: steps between two rows of metrics.
    images_per_step: for images/s.
    learning_rate: callable that gives the current one.
    log: `MetricsLog`.
    events: list of (steps between, function of the step), called in this order after the
      row of metrics; at `last_step` all of them are.
    shutdown: entered `GracefulShutdown`.
    ids: function of a step that tells its images.
    workers: `Workers`, all of which train and have events at the same steps.

  Raises:
    UsageError: a loss or gradient isn't finite.
    Preempted: a signal came; no event of that step has been called.
  """
  progress = Progress(first_step, last_step)
  step, since, logged = first_step, time.monotonic(), first_step
  intervals = [log_steps] + [interval for interval, _ in events]
  steps_per_execution = 1
  while step < last_step:
    count = min(
      [last_step - step, steps_per_execution]
      + [interval - step % interval for interval in intervals]
    )
    began = time.monotonic()
    runner(iterator, tf.constant(count))
    steps_per_execution = max(1, int(SECONDS_IN_GRAPH * count / (time.monotonic() - began)))
    step += count
    trouble = runner.first_non_finite_step()
    if trouble:
      progress.pause()
      raise UsageError(
        "loss and gradients must be finite; a lower learning_rate often helps, "
        f"on_nan=skip goes on without such steps. Received: step {trouble}, "
        f"learning rate {float(learning_rate()):g}, images {ids(trouble)}"
      )
    if step % log_steps == 0 or step == last_step:
      seconds = time.monotonic() - since
      metrics, waited = runner.collect()
      row = {
        metric_names.GLOBAL_STEP: step,
        **metrics,
        metric_names.LEARNING_RATE: float(learning_rate()),
        metric_names.IMAGES_PER_SECOND: (step - logged) * images_per_step / seconds,
        metric_names.DATA_WAIT: waited / seconds,
      }
      log.write(row)
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
      for interval, event in events:
        if step % interval == 0 or step == last_step:
          event(step)
    except BaseException:
      progress.pause()
      raise
    since += time.monotonic() - began
    progress.exclude(time.monotonic() - began)
  progress.pause()


class MetricsLog:
  """`metrics.jsonl` and TensorBoard scalars.

  `evaluated` holds the steps that have a row of an evaluation; `board` is TensorBoard's writer.

  Args:
    model_dir: folder of the run.
    first_step: rows of later steps, left by a run that was cut off, are dropped; with 0, all.
  """

  def __init__(self, model_dir, first_step):
    self._path = model_dir / "metrics.jsonl"
    self.evaluated = set()
    if self._path.exists():
      lines = self._path.read_text().splitlines(keepends=True)
      rows = [json.loads(line) for line in lines if first_step and line.endswith("\n")]
      rows = [row for row in rows if row[metric_names.GLOBAL_STEP] <= first_step]
      write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
      self.evaluated.update(row[metric_names.GLOBAL_STEP] for row in rows if _is_evaluation(row))
    self.board = tf.summary.create_file_writer(os.fspath(model_dir))

  def write(self, row):
    """Appends `{name: number}` with its `global_step`."""
    with io_as_usage_error(self._path.parent, tf.errors.OpError):
      with self._path.open("a") as file:
        file.write(json.dumps(row) + "\n")
      with self.board.as_default(step=row[metric_names.GLOBAL_STEP]):
        for name, value in row.items():
          if name != metric_names.GLOBAL_STEP:
            tf.summary.scalar(name, value)
      self.board.flush()
    if _is_evaluation(row):
      self.evaluated.add(row[metric_names.GLOBAL_STEP])


def _is_evaluation(row):
  return any(name.startswith(metric_names.EVAL) for name in row)
