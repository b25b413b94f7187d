import concurrent.futures
import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.config.options.training import SizePhase
from conrec_tf.distribute.strategy import build_strategy
from conrec_tf.distribute.workers import Workers
from conrec_tf.errors import UsageError
from conrec_tf.metrics import FIRST_NON_FINITE_STEP
from conrec_tf.run_dir.metrics_log import MetricsLog
from conrec_tf.training.loop import Event, StepRunner, train
from conrec_tf.training.preemption import GracefulShutdown, Preempted
from conrec_tf.training.update_step import FirstNonFiniteStep, LatestValue, mean_metrics


class CountingStep:
  """Reports the batch itself as the loss."""

  def metrics(self):
    return {
      **mean_metrics("train/total_loss"),
      FIRST_NON_FINITE_STEP: FirstNonFiniteStep(FIRST_NON_FINITE_STEP),
    }

  def __call__(self, batch):
    loss = tf.cast(batch, tf.float32)
    return {
      "train/total_loss": loss,
      FIRST_NON_FINITE_STEP: (tf.constant(7, tf.int64), ~tf.math.is_finite(loss)),
    }


STRATEGY = build_strategy(Config(), Config())


def run(tmp_path, batches, last_step, log_steps=4, events=(), first_step=0, shutdown=None):
  phases = [SizePhase(last_step, 8)]
  take_steps(tmp_path, lambda *_: iter(batches), phases, log_steps, events, first_step, shutdown)
  return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def take_steps(
  tmp_path, batches, phases, log_steps, events=(), first_step=0, shutdown=None, runner=None
):
  train(
    runner or StepRunner(STRATEGY, CountingStep()),
    batches,
    first_step=first_step,
    phases=phases,
    log_steps=log_steps,
    images_per_step=16,
    learning_rate=lambda: 0.3,
    log=MetricsLog(tmp_path, first_step).write,
    events=[Event(*event) for event in events],
    shutdown=shutdown or GracefulShutdown(),
    ids=lambda step: f"of step {step}",
    workers=Workers(STRATEGY),
  )


def test_steps_rows_and_events_come_at_their_steps(tmp_path):
  events = []
  rows = run(
    tmp_path,
    tf.data.Dataset.range(100),
    last_step=11,
    events=[
      (6, lambda step: events.append(("evaluate", step))),
      (3, lambda step: events.append(("save", step))),
    ],
  )
  assert [row["global_step"] for row in rows] == [4, 8, 11]
  # Means of batches 0..3, 4..7 and 8..10: exactly 11 were taken, each once.
  assert [row["train/total_loss"] for row in rows] == [1.5, 5.5, 9.0]
  assert all(
    row["learning_rate"] == 0.3 and row["images_per_second"] > 0 and 0 <= row["data_wait"] <= 1
    for row in rows
  )
  assert events == [
    ("save", 3),
    ("evaluate", 6),
    ("save", 6),
    ("save", 9),
    ("evaluate", 11),
    ("save", 11),
  ]


class SizeStep(CountingStep):
  """Reports the size of the images; keeps the sizes that it was traced with."""

  def __init__(self):
    self.traced = []

  def __call__(self, batch):
    self.traced.append(batch.shape[1])
    return super().__call__(tf.cast(tf.shape(batch)[1], tf.float32))


@pytest.mark.parametrize("first_step", [0, 3, 4, 5, 6, 9])
def test_sizes_change_after_their_steps_and_are_traced_once(tmp_path, first_step):
  step, opened = SizeStep(), []

  def batches(taken, size):
    opened.append((taken, size))
    return iter(tf.data.Dataset.from_tensors(tf.zeros([2, size])).repeat())

  phases = [SizePhase(4, 2), SizePhase(4, 7), SizePhase(6, 3), SizePhase(8, 2), SizePhase(11, 5)]
  runner = StepRunner(STRATEGY, step)
  take_steps(tmp_path, batches, phases, log_steps=1, first_step=first_step, runner=runner)
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  sizes = {row["global_step"]: row["train/total_loss"] for row in rows}
  whole = [2, 2, 2, 2, 3, 3, 2, 2, 5, 5, 5]
  assert sizes == {taken + 1: whole[taken] for taken in range(first_step, 11)}
  switches = [(4, 3), (6, 2), (8, 5)]
  assert opened[0] == (first_step, whole[first_step])
  assert opened[1:] == [switch for switch in switches if switch[0] > first_step]
  traced = {number: step.traced.count(number) for number in step.traced}
  assert len(set(traced.values())) == 1 and traced.keys() == set(whole[first_step:])


def test_rows_are_tensorboard_scalars(tmp_path):
  run(tmp_path, tf.data.Dataset.range(10), last_step=4)
  [path] = tmp_path.glob("events*")
  seen = {
    value.tag
    for event in tf.compat.v1.train.summary_iterator(str(path))
    for value in event.summary.value
  }
  assert {"train/total_loss", "learning_rate", "images_per_second", "data_wait"} <= seen


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  batches = tf.data.Dataset.from_tensors(np.float32("nan")).repeat()
  with pytest.raises(
    UsageError, match="must be finite.* Received: step 7, learning rate 0.3, images of step 7$"
  ):
    run(tmp_path, batches, last_step=8)


def test_a_signal_stops_after_the_step(tmp_path):
  events = []
  with GracefulShutdown() as shutdown, pytest.raises(Preempted, match="SIGTERM") as caught:
    run(
      tmp_path,
      tf.data.Dataset.range(100),
      last_step=50,
      shutdown=shutdown,
      events=[
        (6, lambda step: os.kill(os.getpid(), signal.SIGTERM)),
        (1, lambda step: events.append(step)),
      ],
    )
  assert caught.value.signum == signal.SIGTERM
  assert events == list(range(1, 7)) and caught.value.step == 7
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_breaks_off_what_is_interruptible():
  with GracefulShutdown() as shutdown, pytest.raises(Preempted):
    with shutdown.interruptible():
      os.kill(os.getpid(), signal.SIGINT)
      pytest.fail("the signal comes at once")


def test_a_terminal_that_closes_is_a_signal_that_may_come_twice_and_beside_another():
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever these tests were started by
  with GracefulShutdown() as shutdown:
    for signum in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
      os.kill(os.getpid(), signum)
    assert shutdown.received == signal.SIGHUP
  assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_terminal_that_closes_is_no_signal_where_that_is_ignored():
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
  try:
    with GracefulShutdown() as shutdown:
      os.kill(os.getpid(), signal.SIGHUP)
      assert shutdown.received is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_metrics_travel_with_the_checkpoint(tmp_path):
  runner = StepRunner(STRATEGY, CountingStep())
  runner(iter(tf.data.Dataset.range(5)), tf.constant(4))
  path = tf.train.Checkpoint(runner=runner).save(str(tmp_path / "ckpt"))
  other = StepRunner(STRATEGY, CountingStep())
  tf.train.Checkpoint(runner=other).restore(path)
  assert other.collect()[0] == {"train/total_loss": 1.5}
  assert other.collect()[0] == {}


class WatchedStep(CountingStep):
  """Reports every second batch by itself too."""

  def metrics(self):
    return {**super().metrics(), "train/latest": LatestValue()}

  def __call__(self, batch):
    reported = super().__call__(batch)
    latest = tf.where(batch % 2 == 1, reported["train/total_loss"], float("nan"))
    return {**reported, "train/latest": latest}


def test_a_run_goes_on_with_a_value_that_is_logged_alone_and_without_it(tmp_path):
  for number, kind in enumerate((CountingStep, WatchedStep, CountingStep)):
    runner = StepRunner(STRATEGY, kind())
    checkpoint = tf.train.Checkpoint(runner=runner)
    if number:
      checkpoint.read(str(tmp_path / f"ckpt-{number}")).assert_existing_objects_matched()
    iterator = iter(tf.data.Dataset.range(5))
    runner(iterator, tf.constant(5))
    latest = {"train/latest": 3.0} if kind is WatchedStep else {}
    assert runner.collect()[0] == {"train/total_loss": 2.0, **latest}
    runner(iter(tf.data.Dataset.range(1)), tf.constant(1))
    assert runner.collect()[0] == {"train/total_loss": 0.0}
    checkpoint.write(str(tmp_path / f"ckpt-{number + 1}"))


def test_in_another_thread_a_training_notes_no_signals():
  def entered():
    with GracefulShutdown() as shutdown, shutdown.interruptible():
      return shutdown.received

  before = signal.getsignal(signal.SIGTERM)
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    assert thread.submit(entered).result() is None
  assert signal.getsignal(signal.SIGTERM) is before
