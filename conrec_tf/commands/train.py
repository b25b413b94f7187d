"""`--mode=train` and `--mode=train_then_eval`: one training, from data to report."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import functools
import logging
from typing import Any

import tensorflow as tf

from conrec_tf.commands.evaluate import measure_elsewhere
from conrec_tf.commands.evaluator import Bystander, Evaluator
from conrec_tf.commands.tasks import build_training, load_dataset
from conrec_tf.config import Bookkeeping, Config, Devices, Experiment, Training
from conrec_tf.config.options.table import BY_CONTENT, OPTIONS
from conrec_tf.config.options.training import SizePhase
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.stream import WorkerShard, batch_ids
from conrec_tf.data.summary import failing_images_named, warn_of_changed_images
from conrec_tf.distribute.strategy import build_strategy, is_compiled
from conrec_tf.distribute.workers import Workers
from conrec_tf.errors import UsageError
from conrec_tf.export.export import check_formats
from conrec_tf.models.precision import resolve_precision
from conrec_tf.pretrained.find import known_center_crops, starting_network
from conrec_tf.reporting.tracking.trackers import check_trackers
from conrec_tf.run_dir.checkpoints import Checkpoints, goes_on
from conrec_tf.run_dir.measurement import Measurement
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.results_place import ResultsPlace, note_data, results_place
from conrec_tf.run_dir.run_directory import (
  CHECKPOINTS,
  RunDirectory,
  prefixes,
  step_of,
)
from conrec_tf.training.loop import Event, NonFiniteStep, StepRunner, train
from conrec_tf.training.preemption import GracefulShutdown, Preempted
from conrec_tf.training.task import TrainTask, training_steps
from conrec_tf.training.update_step import first_non_finite

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Trains; in mode train_then_eval also evaluates, exports and reports."""
  strategy, workers = start_workers(config, config, config.export_format, config.tracker)
  with workers.raise_on_lost_worker():
    train_and_evaluate(config, strategy, workers)


def start_workers(
  devices: Devices, training: Training, formats: Sequence[str], trackers: Sequence[str] = ()
) -> tuple[tf.distribute.Strategy, Workers]:
  """Builds the strategy of a training; all workers but the chief log nothing but warnings.

  Args:
    formats: of the exports at its end, if it exports.
    trackers: that are told of it.

  Raises:
    UsageError: the devices or a package for the exports or a tracker aren't there.
  """
  if training.mode == "train_then_eval":
    check_formats(formats)
  check_trackers(trackers)
  strategy = build_strategy(devices, training)  # before any other operation of TensorFlow
  workers = Workers(strategy)
  if not workers.is_chief:
    logging.getLogger("conrec_tf").setLevel(logging.WARNING)
  return strategy, workers


def train_and_evaluate(
  config: Config, strategy: tf.distribute.Strategy, workers: Workers
) -> dict[str, Any] | None:
  """Trains to the last step; in mode train_then_eval also evaluates, exports and reports.

  Whatever moment the process ends at, another one goes on so that weights, metrics, results
  and the order of images are those of a run that never stopped: an evaluation comes after the
  checkpoint of its step, so that none can lose what was trained, and is made up for at the next
  start; what was written after the newest checkpoint is written again.

  Args:
    workers: the processes of the strategy; the chief alone leaves anything in `model_dir`.

  Returns:
    The summary `{name: value}`; None in mode train, and for all workers but the chief.

  Raises:
    Preempted: a signal came; what was trained is saved.
    UsageError: something that the user can put right.
  """
  directory = RunDirectory(config.run_directory)
  config = config.in_precision(_settled_precision(config.mixed_precision, directory))
  crops = known_center_crops(directory, config.eval_dataset, config.checkpoint)
  with workers.chief_first():
    source = load_dataset(config, crops.training)
    eval_source = load_eval_dataset(config, source, crops.evaluation)
  epoch, last_step = training_steps(config, source)
  workers.assert_alike(_same_for_all(config.settings, source))
  with strategy.scope():
    task = build_training(config, config, directory, source, eval_source, last_step)
  runner = StepRunner(strategy, task.step, is_compiled(config.jit_compile))
  lock = directory.locked() if workers.is_chief else contextlib.nullcontext()
  named = failing_images_named(source, eval_source)
  with lock, named, GracefulShutdown() as shutdown:
    place = ResultsPlace(directory, Measurement({}))
    if config.mode != "train":  # which has no results, whatever others measured
      place = results_place(config, directory, source, eval_source)
    if workers.is_chief:
      if place.is_own:
        _start(config, directory, source, eval_source, last_step)
      else:
        network = starting_network(config.checkpoint, config.encoder_weights)
        directory.check_training(config, network)
        _check_finished(directory, place.changed, last_step)
      if config.mode != "train":
        place.open(source, eval_source)
    checkpoints = Checkpoints(
      directory.path,
      config.keep_checkpoint_max,
      task.networks,
      config.keep_checkpoint_every_epochs * epoch,
      repairs=workers.is_chief,
      optimizer=task.optimizer,
      runner=runner,
      **task.only_to_resume,
    )
    first_step = checkpoints.restore()
    workers.assert_same_step(first_step)
    runner.waited.assign(0.0)  # that was another process's time

    results = Results(place.directory, task.metric, task.selection_metric, place.measured)
    result = None
    if workers.is_chief and not place.is_own:
      with shutdown.interruptible():
        result = measure_elsewhere(task, results, first_step)
    else:
      observer: Evaluator | Bystander = Bystander()
      if workers.is_chief:
        observer = Evaluator(config, task, results, checkpoints, shutdown, first_step, last_step)
      observer.open(eval_source)
      with observer.saving_when_stopped():
        if _is_evaluation_due(config, first_step, epoch):
          observer(first_step)
        if first_step < last_step:
          with shutdown.interruptible(), workers.chief_first():
            batches = task.batches(directory.path)
          steps = functools.partial(
            train,
            runner,
            lambda step, size: iter(batches(WorkerShard(workers.index, workers.count, step), size)),
            first_step=first_step,
            log_steps=config.log_steps,
            images_per_step=config.train_batch_size,
            learning_rate=lambda: tf.convert_to_tensor(task.optimizer.learning_rate),
            shutdown=shutdown,
            ids=lambda step: _image_ids(config, source.train, step),
            workers=workers,
          )
          phases = config.size_phases(last_step)
          with _explaining(task, steps, phases, checkpoints, config.on_nan == "explain"):
            steps(
              phases=phases,
              log=observer.log_training,
              events=_events(config, config, observer, epoch, last_step),
            )
          if workers.is_chief:
            warn_of_changed_images(source)
        else:
          logger.info("Nothing to train: step %d of %d is done", first_step, last_step)
        if config.mode == "train_then_eval":
          if first_step >= last_step:
            observer(first_step)
          result = observer.finish(source)
    if shutdown.received:  # while the last files were written
      raise Preempted(shutdown.received, last_step)
    return result


@contextlib.contextmanager
def _explaining(
  task: TrainTask,
  steps: functools.partial[None],
  phases: Sequence[SizePhase],
  checkpoints: Checkpoints,
  wanted: bool,
) -> Iterator[None]:
  """Says of a step inside that isn't finite what wasn't first, by taking the steps to it again.

  Args:
    steps: `train` but for its phases, log and events.
    wanted: else nothing is said, and nothing kept for it.

  Raises:
    UsageError: there was such a step; it doesn't say more where a signal ends the search.
  """
  if not wanted:
    yield
    return
  with checkpoints.kept_aside() as restore:
    try:
      yield
    except NonFiniteStep as trouble:
      logger.info("Taking the steps to step %d again, to find what isn't finite", trouble.step)
      restore()
      taken = trouble.step - 1
      if steps.keywords["first_step"] < taken:
        before = [phase._replace(last_step=min(phase.last_step, taken)) for phase in phases]
        try:
          steps(phases=before, log=lambda row: None, events=[])
        except Preempted:  # what is saved has come farther than these steps, and stays
          raise trouble from None
      size = next(phase.image_size for phase in phases if taken < phase.last_step)
      _, batches = steps.args
      learnt = [*task.networks.values(), task.optimizer, *task.only_to_resume.values()]
      variables = tf.nest.flatten([getattr(part, "variables", part) for part in learnt])
      found = first_non_finite(task.step, next(batches(taken, size)), variables)
      raise UsageError(f"{trouble}, not finite first: {found}") from trouble


def _settled_precision(mixed_precision: str, directory: RunDirectory) -> str:
  """Returns what `mixed_precision=auto` is: for good, whatever machine goes on."""
  if mixed_precision != "auto":
    return mixed_precision
  here = resolve_precision("auto")
  precision = directory.settings.get("mixed_precision", here)
  precision = here if precision == "auto" else precision  # nothing was trained yet
  logger.info(
    "Computing in %s%s",
    precision,
    "" if precision == here else f", as the run began; mixed_precision=auto is {here} here",
  )
  return precision


def _same_for_all(settings: dict[str, Any], source: DatasetSource) -> dict[str, Any]:
  """Returns what all workers must have alike: options but for paths, and the images."""
  of_machine = {name for name, it in OPTIONS.items() if it.metadata["path"]} | {*BY_CONTENT}
  options = {name: value for name, value in settings.items() if name not in of_machine}
  return {**options, "images in train_split": source.digest}


def _start(
  config: Config,
  directory: RunDirectory,
  source: DatasetSource,
  eval_source: DatasetSource,
  last_step: int,
) -> None:
  """Makes a `model_dir` that of this run, and logs what will be done."""
  network = starting_network(config.checkpoint, config.encoder_weights)
  trained = max(map(step_of, prefixes(directory.path / CHECKPOINTS)), default=0)
  if trained > last_step and not config.depends_on_length:  # of an earlier command that asked more
    config = dataclasses.replace(config, train_steps=trained)
  directory.start(config, source.digest, source.class_names, network)
  if goes_on(directory):  # what it began from may have gone on learning since
    network = directory.images.get("network", "")
  note_data(directory, source, eval_source, network)
  logger.info(
    "Run %s: %s on %s, %d training %s, %d steps",
    directory.path,
    config.method,
    source.name,
    source.train.num_examples,
    "crops" if config.is_segmenting else "images",
    last_step,
  )
  if source.channels not in (1, 3):
    logger.info(
      "Images have %d channels: views differ in crop, flip, brightness and contrast",
      source.channels,
    )


def _check_finished(directory: RunDirectory, changed: Sequence[str], last_step: int) -> None:
  """Raises UsageError where a run that isn't done would go on with other evaluations."""
  newest = prefixes(directory.path / CHECKPOINTS)[-1:]
  if not newest or step_of(newest[0]) < last_step:
    raise UsageError(
      "model_dir must be new, or what is measured that of the run in it; --mode=eval measures "
      f"otherwise, in a folder of its own. Received: {'; '.join(changed)} for {directory.path}"
    )


def _events(
  options: Experiment,
  bookkeeping: Bookkeeping,
  observer: Evaluator | Bystander,
  epoch: int,
  last_step: int,
) -> list[Event]:
  """Returns what happens between steps, in its order: checkpoints, and after them evaluations."""
  interval = bookkeeping.checkpoint_steps or bookkeeping.checkpoint_epochs * epoch
  events = [Event(interval, observer.save)]
  if bookkeeping.keep_checkpoint_every_epochs:  # whatever other steps are saved
    events.append(Event(bookkeeping.keep_checkpoint_every_epochs * epoch, observer.save))
  if options.mode == "train_then_eval":
    interval = options.eval_every_epochs * epoch or last_step
    events += [Event(interval, observer.save), Event(interval, observer)]
  return events


def _is_evaluation_due(options: Experiment, first_step: int, epoch: int) -> bool:
  """Returns whether the network that training starts from is to be evaluated."""
  if options.mode != "train_then_eval":
    return False
  if not first_step:
    return options.is_pretraining and options.starts_trained
  interval = options.eval_every_epochs * epoch
  return bool(interval) and first_step % interval == 0


def _image_ids(options: Training, split: Split, step: int) -> str:
  """Names the images of a training step, for messages."""
  numbers = batch_ids(split, options.train_batch_size, options.seed, step)
  return f"{', '.join(map(str, numbers))} of {split.name}"
