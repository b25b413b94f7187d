"""A run: restore, train, evaluate, save, export; and stop so that it can go on."""

import contextlib
import logging
import time
import types

import numpy as np
import tensorflow as tf

from conrec_tf.config import short_message
from conrec_tf.data.pipeline import Share, batch_ids
from conrec_tf.evaluation import metric_names
from conrec_tf.export.export import export, prune_exports
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.environment import process_info
from conrec_tf.run_dir.pretrained import resolve_checkpoint
from conrec_tf.run_dir.results import Results
from conrec_tf.training.loop import MetricsLog, StepRunner, train
from conrec_tf.training.preemption import Preempted

logger = logging.getLogger(__name__)


class Trainer:
  """One job in its `model_dir`, from the newest checkpoint on.

  Whatever moment the process ends at, another one goes on so that weights, metrics, results
  and the order of images are those of a run that never stopped: an evaluation comes before
  the checkpoint of its step, and what was written after the newest checkpoint is written again.

  Args:
    config: `Config`.
    directory: `RunDirectory`, locked and started.
    task: `TrainTask`.
    source, eval_source: `DatasetSource` to learn from and for linear evaluation.
    strategy: `tf.distribute.Strategy`.
    workers: its `Workers`; the chief alone leaves anything in `model_dir`.
    epoch, last_step: steps of an epoch, and where training ends.
    shutdown: entered `GracefulShutdown`.
  """

  def __init__(
    self,
    config,
    directory,
    task,
    source,
    eval_source,
    strategy,
    workers,
    epoch,
    last_step,
    shutdown,
  ):
    self._config, self._directory, self._task = config, directory, task
    self._source, self._eval_source, self._shutdown = source, eval_source, shutdown
    self._last_step, self._epoch, self._workers = last_step, epoch, workers
    self._runner = StepRunner(strategy, task.step, config.jit_compile)
    self._checkpoints = Checkpoints(
      directory.path,
      config.keep_checkpoint_max,
      task.networks,
      config.keep_checkpoint_every_epochs * epoch,
      optimizer=task.optimizer,
      runner=self._runner,
    )
    self._first_step, self._iterator = self._restore()
    self._step = self._first_step
    self._runner.waited.assign(0.0)  # that was another process's time
    self._final = max(self._first_step, last_step)
    self._results = Results(directory, task.metric, task.selection_metric)

  def run(self):
    """Trains to the last step; in mode train_then_eval also evaluates and exports.

    Returns:
      The last result `{name: value}`, or None in mode train.

    Raises:
      Preempted: a signal came; what was trained is saved.
      UsageError: something that the user can put right.
    """
    self._log = MetricsLog(self._directory.path, self._first_step)
    self._board = self._build_board() if self._config.report else None
    if self._first_step < self._last_step:
      self._directory.add_row("processes.jsonl", process_info(self._first_step))
      if self._board:
        with log_and_continue("Grouping TensorBoard's scalars"):
          self._board.start()
    try:
      if self._config.mode == "train":
        self._train(self._log, self._events())
        return None
      if self._is_due(self._config.eval_every_epochs * self._epoch):
        self._evaluate(self._first_step)
      self._train(self._log, self._events())
      if self._first_step >= self._last_step:
        self._evaluate(self._final)
      return self._export()
    except Preempted as preempted:
      step = preempted.step or self._step
      if step > self._first_step:
        self._checkpoints.save(step)
      raise Preempted(preempted.signum, step) from None

  def run_non_chief(self):
    """Trains as a worker that isn't the chief, which leaves nothing behind.

    Raises:
      Preempted: a signal came to any of the workers.
      UsageError: as of `run`.
    """
    silent = types.SimpleNamespace(write=lambda row: None)
    self._train(silent, [(interval, lambda step: None) for interval, _ in self._events()])

  def _restore(self):
    """Restores the newest checkpoint; returns its step, and an iterator over what comes then."""
    workers, checkpoints = self._workers, self._checkpoints
    if workers.count > 1:
      # One checkpoint serves all, but each has batches of its own, which follow from the step.
      step = checkpoints.restore()
      workers.assert_same_step(step)
      return step, iter(self._task.batches(Share(workers.index, workers.count, step)))
    iterator = iter(self._task.batches(Share()))
    checkpoints.track(iterator)
    step = checkpoints.restore()
    if step and not checkpoints.held_iterator:  # it is of several workers
      iterator = iter(self._task.batches(Share(first_step=step)))
      checkpoints.track(iterator)
    return step, iterator

  def _events(self):
    """Pairs of (steps between, function of the step)."""
    config = self._config
    saving = (
      config.checkpoint_steps or config.checkpoint_epochs * self._epoch,
      self._checkpoints.save,
    )
    if config.mode == "train":
      return [saving]
    return [(config.eval_every_epochs * self._epoch or self._last_step, self._evaluate), saving]

  def _train(self, log, events):
    config = self._config
    if self._first_step >= self._last_step:
      logger.info("Nothing to train: step %d of %d is done", self._first_step, self._last_step)
      return
    train(
      self._runner,
      self._iterator,
      first_step=self._first_step,
      last_step=self._last_step,
      log_steps=config.log_steps,
      images_per_step=config.train_batch_size,
      learning_rate=lambda: tf.convert_to_tensor(self._task.optimizer.learning_rate),
      log=log,
      events=events,
      shutdown=self._shutdown,
      ids=self._ids,
      workers=self._workers,
    )

  def _is_due(self, interval):
    """Whether the network that training starts from is to be evaluated."""
    if not self._first_step:
      return self._config.is_pretraining
    return interval and self._first_step % interval == 0

  def _evaluate(self, step):
    """Evaluates, unless that was done, and keeps the network if it is the best so far."""
    self._step = step
    result = self._results.cached(step)
    measures = result is None
    seconds = {}
    if measures:
      began = time.monotonic()
      with self._shutdown.interruptible():
        metrics = self._task.evaluate(step == self._final)
      seconds[metric_names.EVALUATION_SECONDS] = time.monotonic() - began
      result = self._results.save(step, metrics)
    if step and self._results.is_best(step, result) and self._checkpoints.best_step != step:
      self._checkpoints.save_best(step)
    if step not in self._log.evaluated:
      self._log.write(
        {name: value for name, value in result.items() if np.isscalar(value)} | seconds
      )
    if measures and self._board:
      with log_and_continue("Drawing for TensorBoard"):
        self._board.images(step)

  def _export(self):
    self._results.write_summary(self._final)
    pretrained = resolve_checkpoint(
      self._directory.path, self._config.export_checkpoint, "model_dir"
    )
    export(self._config, pretrained, self._directory)
    prune_exports(self._directory, pretrained.step, self._config.keep_hub_module_max)
    if self._board:
      self._report()
    return self._results.cached(self._final)

  def _build_board(self):
    # Imported where there is something to draw: matplotlib takes its time.
    from conrec_tf.reporting.inference import ModelInspector
    from conrec_tf.reporting.tensorboard import TensorBoardWriter

    network = ModelInspector(
      self._config,
      self._eval_source,
      self._task.model,
      self._task.networks.get("head"),
      self._final,
    )
    return TensorBoardWriter(self._log.board, network, self._directory.path)

  def _report(self):
    """Draws what was learned; the run is done and saved, whatever comes of it."""
    from conrec_tf.reporting.report import write_report

    with self._shutdown.interruptible():
      with log_and_continue("Writing embeddings and settings for TensorBoard"):
        self._board.finish(self._directory.read("result.json"))
      with log_and_continue("Drawing the report, which --mode=report tries again,"):
        write_report(self._config, self._source, self._eval_source)

  def _ids(self, step):
    numbers = batch_ids(self._config, self._source, step)
    return f"{', '.join(map(str, numbers))} of {self._source.train.name}"


@contextlib.contextmanager
def log_and_continue(what):
  """What is inside shows the run and is no part of it: that it fails is told, no more."""
  try:
    yield
  except Exception as error:
    logger.warning("%s failed (%s)", what, short_message(error))
