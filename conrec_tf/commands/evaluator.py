"""Evaluations in a training, and its end: results, exports, report."""

from collections.abc import Iterator
import contextlib
import logging
import time
from typing import Any

from conrec_tf.commands.export import export_network
from conrec_tf.commands.tasks import TASKS
from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import short_message
from conrec_tf.evaluation.label_free import warn_of_collapse
from conrec_tf.export.export import prune_exports
from conrec_tf.losses import loss_of_equal_projections
from conrec_tf.metrics import EVALUATION_SECONDS, GLOBAL_STEP, is_number, metric_of
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.reporting.tracking.trackers import Feed
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.environment import process_info
from conrec_tf.run_dir.metrics_log import MetricsLog
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.run_directory import METRICS_FILE, RunDirectory
from conrec_tf.training.preemption import GracefulShutdown, Preempted
from conrec_tf.training.progress import ChanceLevelNotice, hints
from conrec_tf.training.task import TrainTask

logger = logging.getLogger(__name__)


class Bystander:
  """A worker beside the chief: it takes the same steps, and leaves nothing behind."""

  def __call__(self, *args: Any) -> None:
    """Does nothing, where an `Evaluator` evaluates."""

  open = log_training = save = finish = __call__
  saving_when_stopped = contextlib.nullcontext


class Evaluator:
  """Evaluates a network in training, keeps the best one, logs, and exports and reports at the end.

  Attributes:
    step: the step of the last evaluation, or where training begins.
    save: saves a checkpoint of a step.
    log: the run's log of metrics.

  Args:
    shutdown: entered; a signal breaks off an evaluation.
    first_step, last_step: where training begins and ends.
  """

  def __init__(
    self,
    config: Config,
    task: TrainTask,
    results: Results,
    checkpoints: Checkpoints,
    shutdown: GracefulShutdown,
    first_step: int,
    last_step: int,
  ) -> None:
    self._config, self._task, self._results = config, task, results
    self._directory = directory = RunDirectory(config.run_directory)
    self._checkpoints, self._shutdown = checkpoints, shutdown
    self._first_step, self._trains = first_step, first_step < last_step
    self._final_step = max(first_step, last_step)
    self.step, self.save = first_step, checkpoints.save
    self.log = MetricsLog(directory.path, first_step)
    self._notice = ChanceLevelNotice(
      loss_of_equal_projections(
        config.contrastive_method, config.train_batch_size, config.moco_queue_length
      ),
      first_step,
      last_step,
      hints(config),
    )

  def log_training(self, row: dict[str, Any]) -> None:
    """Writes a row of metrics of training steps, and says what it shows."""
    self._write(row)
    self._notice(row)

  def _write(self, row: dict[str, Any]) -> None:
    self.log.write(row)
    for feed in self._feeds:
      feed.log(row)

  def open(self, eval_source: DatasetSource) -> None:
    """Notes what trains here, and opens trackers, and TensorBoard's images if there are any."""
    rows = self._directory.rows(METRICS_FILE, GLOBAL_STEP) if self._config.tracker else []
    settings = self._config.settings
    self._feeds = [Feed(name, self._directory, settings, rows) for name in self._config.tracker]
    if self._trains:
      self._directory.add_process(process_info(self.step))
    self._tensorboard = None
    if not self._config.report:
      return
    # Imported where there is something to draw: matplotlib takes its time.
    from conrec_tf.reporting.tensorboard import TensorBoardWriter

    inspect, self._sections = TASKS[self._config.train_mode].drawing()
    model, head = self._task.model, self._task.networks.get("head")
    self._inspector = inspect(self._config, eval_source, model, head, self._final_step)
    self._tensorboard = TensorBoardWriter(self.log, self._inspector, self._directory.path)
    if self._trains:
      with log_and_continue("Grouping TensorBoard's scalars"):
        metric = metric_of(self._task.metric).key
        self._tensorboard.start({*self._task.step.metrics(), metric})

  def __call__(self, step: int) -> None:
    """Evaluates, unless that was done, and keeps the network if it is the best so far.

    Beside the first one the untrained network is evaluated: training needn't wait for it.
    """
    self.step = step
    if step > self._first_step:  # what was measured there is of a training before this
      self._results.forget_from(step)
    full = step == self._final_step
    if step and self._task.evaluate_untrained and 0 not in self.log.evaluated:
      self._evaluate(0, full=False, trained=False)
    is_new, result = self._evaluate(step, full)
    is_kept = self._checkpoints.best_step == step <= self._first_step
    if self._results.is_best(step, result) and not is_kept:
      self._checkpoints.save_best(step)
    if is_new and self._tensorboard:
      with log_and_continue("Drawing for TensorBoard"):
        self._tensorboard.images(step)

  @contextlib.contextmanager
  def saving_when_stopped(self) -> Iterator[None]:
    """Saves what was trained when a signal comes meanwhile, and closes trackers in any case.

    Raises:
      Preempted: one came; it says at which step.
    """
    is_done = False
    try:
      yield
      is_done = True
    except Preempted as preempted:
      step = preempted.step or self.step
      if step > self._first_step:
        self._checkpoints.save(step)
      raise Preempted(preempted.signum, step) from None
    finally:
      for feed in self._feeds:
        feed.close(is_done)

  def _evaluate(self, step: int, full: bool, trained: bool = True) -> tuple[bool, dict[str, Any]]:
    """Measures, unless that was done, and logs it; returns whether it is new, and the result.

    Args:
      step: of the network; at 0 the untrained one is measured too.
      full: whether to take the measures of the end.
      trained: whether to measure the network of that step.
    """
    result = self._results.cached(step, full)
    is_new = result is None
    seconds = {}
    if result is None:
      began = time.monotonic()
      with self._shutdown.interruptible():
        metrics = self._task.evaluate(full) if trained else {}
        untrained = self._task.evaluate_untrained
        baseline = untrained() if untrained and not step else {}
      seconds[EVALUATION_SECONDS] = time.monotonic() - began
      result = self._results.save(step, metrics, full, baseline)
      warn_of_collapse(result)
    if step not in self.log.evaluated:
      numbers = {name: value for name, value in result.items() if is_number(value)}
      self._write(numbers | seconds)
    return is_new, result

  def finish(self, source: DatasetSource) -> dict[str, Any]:
    """Writes the summary, exports the network and draws the report; returns the summary."""
    config, directory = self._config, self._directory
    summary = self._results.write_summary(self._final_step)
    pretrained = resolve_checkpoint(directory.path, config.export_checkpoint)
    exports = export_network(config, pretrained, directory)
    prune_exports(directory, pretrained.step, config.keep_hub_module_max)
    if self._tensorboard:  # the run is done and saved, whatever comes of drawing it
      from conrec_tf.reporting.report import write_report

      with self._shutdown.interruptible():
        with log_and_continue("Writing embeddings and settings for TensorBoard"):
          self._tensorboard.finish(summary)
        with log_and_continue("Drawing the report, which --mode=report tries again,"):
          inspect = lambda step: self._inspector
          write_report(directory.path, config.compare_with, source, inspect, self._sections)
    for feed in self._feeds:
      feed.finish(summary, exports)
    return summary


@contextlib.contextmanager
def log_and_continue(what: str) -> Iterator[None]:
  """Logs that something failed that only shows the run and is no part of it."""
  try:
    yield
  except Exception as error:
    logger.warning("%s failed (%s)", what, short_message(error))
