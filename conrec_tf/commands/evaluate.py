"""What each --mode does, put together from the other modules."""

import contextlib
import dataclasses
import logging

import numpy as np
import tensorflow as tf

from conrec_tf.commands.check_data import report
from conrec_tf.commands.embed import embed
from conrec_tf.commands.train import Trainer
from conrec_tf.config import UsageError
from conrec_tf.data.pipeline import steps_per_epoch
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.distribute.strategy import build_strategy, one_device, select_devices
from conrec_tf.distribute.workers import Workers
from conrec_tf.export.export import check_formats, export
from conrec_tf.run_dir.checkpoints import Checkpoints, load_network
from conrec_tf.run_dir.pretrained import resolve_checkpoint
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.preemption import GracefulShutdown, Preempted
from conrec_tf.training.task import build_task

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5


def run(config):
  """Does what `config.mode` says.

  Raises:
    UsageError: something that the user can put right.
  """
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()
  select_devices(config)
  if config.mode in ("train_then_eval", "export"):
    check_formats(config)
  if config.mode == "check_data":
    report(config, load_dataset(config))
  elif config.mode == "embed":
    embed(config, pretrained_model(config), RunDirectory(config.run_directory))
  elif config.mode == "export":
    export(config, pretrained_model(config), RunDirectory(config.run_directory))
  elif config.mode == "eval" and config.checkpoint and config.is_pretraining:
    evaluate_network(config)
  elif config.mode == "eval":
    evaluate_checkpoints(config)
  elif config.mode == "report":
    report_run(config)
  else:
    strategy = build_strategy(config)  # first of all
    workers = Workers(strategy)
    if not workers.is_chief:
      logging.getLogger("conrec_tf").setLevel(logging.WARNING)
    with workers.raise_on_lost_worker():
      if config.cv_folds and not config.is_pretraining:
        cross_validate(config, strategy, workers)
      else:
        train_and_evaluate(config, strategy, workers)


def train_and_evaluate(config, strategy, workers):
  """Trains to the last step; in mode train_then_eval also evaluates and exports.

  Args:
    config: `Config`.
    strategy: `tf.distribute.Strategy`.
    workers: its `Workers`.

  Returns:
    The last result `{name: value}`; None in mode train, and for all workers but the chief.
  """
  with workers.chief_first():
    source, eval_source, epoch, last_step = _open(config)
  with strategy.scope():
    task = build_task(config, source, eval_source, last_step)
  directory = RunDirectory(config.run_directory)
  with (
    directory.locked() if workers.is_chief else contextlib.nullcontext(),
    GracefulShutdown() as shutdown,
  ):
    if workers.is_chief:
      _start(config, directory, source, eval_source, last_step)
    trainer = Trainer(
      config, directory, task, source, eval_source, strategy, workers, epoch, last_step, shutdown
    )
    result = trainer.run() if workers.is_chief else trainer.run_non_chief()
    if shutdown.received:  # while the last files were written
      raise Preempted(shutdown.received, last_step)
    return result


def evaluate_checkpoints(config):
  """Evaluates each new checkpoint of a finished or running training until its last step.

  A network with given weights and no training (ImageNet's) is evaluated as it is.
  """
  source, eval_source, _, last_step = _open(config)
  directory = RunDirectory(config.run_directory)
  if not config.encoder_weights and not directory.read("config.json"):
    raise UsageError(
      f"model_dir must be the folder of a run, for mode=eval. Received: {directory.path}"
    )
  if config.cv_folds and not config.is_pretraining:
    raise UsageError(
      "model_dir must be the folder of one training, not of a cross-validation, "
      f"for mode=eval. Received: {directory.path}"
    )
  with one_device(config).scope():
    task = build_task(config, source, eval_source, last_step)
  results = Results(directory, task.metric, task.selection_metric)
  checkpoints = Checkpoints(directory.path, config.keep_checkpoint_max, task.networks)
  if config.encoder_weights and not tf.train.latest_checkpoint(checkpoints.folder):
    directory.start(config)
    results.save(0, task.evaluate(True))
    results.write_summary(0)
    return
  logger.info("Evaluating checkpoints of %s until step %d", directory.path, last_step)
  for prefix in tf.train.checkpoints_iterator(checkpoints.folder, SECONDS_BETWEEN_LOOKS):
    step = checkpoints.restore_networks(prefix)
    result = results.save(step, task.evaluate(step >= last_step))
    if results.is_best(step, result):
      checkpoints.save_best(step)
    results.write_summary(step)
    if step >= last_step:
      return


def evaluate_network(config):
  """Evaluates the network of `config.checkpoint` once."""
  source = load_dataset(config)
  eval_source, pretrained = load_eval_dataset(config, source), resolve_checkpoint(config.checkpoint)
  plain = dataclasses.replace(config, lineareval_while_pretraining=False, encoder_weights="")
  with one_device(config).scope():
    task = build_task(plain, source, eval_source, last_step=1)
  load_network(pretrained, task.model)
  directory = RunDirectory(config.run_directory)
  directory.start(config)
  results = Results(directory, task.metric, task.selection_metric, trained_at_0=True)
  results.save(pretrained.step, task.evaluate(True))
  results.write_summary(pretrained.step)


def pretrained_model(config):
  """The network of mode=embed and mode=export: `checkpoint`, or the one in model_dir."""
  if config.checkpoint:
    return resolve_checkpoint(config.checkpoint, config.export_checkpoint)
  return resolve_checkpoint(
    config.run_directory, config.export_checkpoint, "model_dir or checkpoint"
  )


def report_run(config):
  """Draws what the run in model_dir learned, anew."""
  from conrec_tf.reporting.report import write_report  # matplotlib takes its time

  if not RunDirectory(config.run_directory).read("config.json"):
    raise UsageError(
      f"model_dir must be the folder of a run, for mode=report. Received: {config.run_directory}"
    )
  source, eval_source, _, _ = _open(config)
  write_report(config, source, eval_source)


def cross_validate(config, strategy, workers):
  """Finetunes once for each fold of `train_split` and repetition; reports mean and deviation.

  Folds are consecutive shares of the split, which TFDS shuffled when it was prepared, and so
  the same for every method.
  """
  if "[" in config.train_split or "+" in config.train_split:
    raise UsageError(
      "train_split must be a plain name such as train for finetuning with cv_folds. "
      f"Received: {config.train_split}"
    )
  directory, metric, scores = RunDirectory(config.run_directory), None, []
  if workers.is_chief:
    directory.start(config)
  borders = [round(100 * fold / config.cv_folds) for fold in range(config.cv_folds + 1)]
  for repetition in range(config.num_repeats):
    for fold, (start, stop) in enumerate(zip(borders, borders[1:])):
      name = config.train_split
      rest = "+".join(
        part
        for part, length in ((f"{name}[:{start}%]", start), (f"{name}[{stop}%:]", 100 - stop))
        if length
      )
      part = dataclasses.replace(
        config,
        cv_folds=0,
        seed=config.seed + repetition,
        train_split=rest,
        eval_split=f"{name}[{start}%:{stop}%]",
        model_dir=str(directory.path / f"repetition_{repetition}_fold_{fold}"),
      )
      logger.info(
        "Repetition %d of %d, fold %d of %d",
        repetition + 1,
        config.num_repeats,
        fold + 1,
        config.cv_folds,
      )
      result = train_and_evaluate(part, strategy, workers)
      if result:
        metric = "quadratic_weighted_kappa" if config.ordinal_labels else "top_1_accuracy"
        scores.append(result[f"eval/label_{metric}"])
  if scores:
    result = {
      f"eval/label_{metric}": float(np.mean(scores)),
      f"eval/label_{metric}_std": float(np.std(scores)),
      "trainings": len(scores),
    }
    directory.write("result.json", result)
    logger.info(
      "%s over %d trainings: %.2f%%, standard deviation %.2f%%",
      metric.replace("_", " "),
      len(scores),
      100 * np.mean(scores),
      100 * np.std(scores),
    )


def _start(config, directory, source, eval_source, last_step):
  """Makes a `model_dir` that of this run, and tells what will be done."""
  directory.start(config)
  directory.write_lines("bad_images.txt", source.bad)
  directory.write_lines("class_names.txt", eval_source.class_names)
  directory.write(
    "images.json",
    {
      "channels": source.channels,
      "one_size": eval_source.one_size,
      "class_names": source.class_names or eval_source.class_names,
    },
  )
  logger.info(
    "Run %s: %s on %s, %d training images, %d steps",
    directory.path,
    config.method,
    source.name,
    source.train.num_examples,
    last_step,
  )
  if source.channels not in (1, 3):
    logger.info(
      "Images have %d channels: views differ in crop, flip, brightness and contrast",
      source.channels,
    )


def _open(config):
  """The source, the one for linear evaluation, the steps of an epoch and the last step."""
  source = load_dataset(config)
  epoch = steps_per_epoch(source.train, config.train_batch_size)
  return (
    source,
    load_eval_dataset(config, source),
    epoch,
    config.train_steps or config.train_epochs * epoch,
  )
