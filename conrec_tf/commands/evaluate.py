"""`--mode=eval`: the checkpoints of a finished or running training, or one network."""

from collections.abc import Callable
import functools
import logging
from typing import Any

import tensorflow as tf

from conrec_tf.commands.tasks import build_evaluation, load_dataset
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.summary import failing_images_named
from conrec_tf.distribute.strategy import one_device
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.external import open_external
from conrec_tf.pretrained.find import (
  check_read_as_learnt,
  known_center_crops,
  network_digest,
  resolve_checkpoint,
)
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.results_place import ResultsPlace, is_of_other_images, results_place
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.evaluations import evaluate_linearly, main_metric
from conrec_tf.training.label_checks import check_labels
from conrec_tf.training.task import EvalTask, last_step_of

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5
SECONDS_TO_WAIT = 10  # for a checkpoint, until it is asked whether anything trains


def run(config: Config) -> None:
  """Evaluates each new checkpoint of a training until its last step, or until nothing trains.

  A network with given weights and no training (ImageNet's) is evaluated as it is. What is measured
  otherwise than the run's own results goes into a folder of its own, and changes nothing of them.
  With `--checkpoint` that network is evaluated in place of the run's; see `evaluate_network`.

  Raises:
    UsageError: `model_dir` is not the folder of one training, holds a network that knows other
      labels, or is that of a training under way which evaluates itself.
  """
  if config.checkpoint:
    evaluate_network(config)
    return
  directory = RunDirectory(config.run_directory)
  images = directory.images
  crops = known_center_crops(directory, config.eval_dataset)
  source = load_dataset(config, crops.training)
  if images.get("channels", source.channels) != source.channels:
    raise UsageError(
      f"images must have {images['channels']} channels, as the network takes; --image_channels=1 "
      f"or 3 converts them. Received: {source.channels} in {config.data_dir or source.name}"
    )
  if config.cv_fold and is_of_other_images(directory, source):
    raise UsageError(
      "cv_fold must be empty (--cv_fold=) for other images than a run learnt from, of which "
      f"eval_split is measured then. Received: {config.cv_fold} of {config.data_dir or source.name}"
    )
  if config.has_outputs:
    source = source.with_class_names(images.get("class_names", source.class_names))
  eval_source = load_eval_dataset(config, source, crops.evaluation)
  learnt = images.get("train_images", source.train.num_examples)
  last_step = last_step_of(config, learnt // config.train_batch_size)
  if not config.encoder_weights:
    directory.check_is_run(config.mode)
  if config.is_of_several:
    raise UsageError(
      "model_dir must be the folder of one training, not of a cross-validation, "
      f"for mode=eval. Received: {directory.path}"
    )
  with one_device(config.devices).scope():
    task = build_evaluation(config, directory, source, eval_source)
  place = results_place(config, directory, source, eval_source)
  results = Results(place.directory, task.metric, task.selection_metric, place.measured)
  checkpoints = Checkpoints(directory.path, config.keep_checkpoint_max, task.networks)
  _check_not_measured(place)
  if config.encoder_weights and not tf.train.latest_checkpoint(checkpoints.folder):
    if place.is_own:
      directory.start(config)
    place.open(source, eval_source)
    results.save(0, task.evaluate(True), full=True)
    results.write_summary(0)
    return
  place.open(source, eval_source)
  logger.info("Evaluating checkpoints of %s until step %d", directory.path, last_step)
  step = -1
  for prefix in tf.train.checkpoints_iterator(
    checkpoints.folder,
    SECONDS_BETWEEN_LOOKS,
    timeout=SECONDS_TO_WAIT,
    timeout_fn=lambda: not directory.is_in_use,
  ):
    step = checkpoints.restore_networks(prefix)
    _check_not_measured(place)
    result = _evaluate(task, results, place.is_own, step, full=step >= last_step)
    _check_not_measured(place)  # one may have begun meanwhile
    if place.is_own and results.is_best(step, result):
      checkpoints.save_best(step)
    results.write_summary(step)
    if step >= last_step:
      return
  if step < 0:
    raise UsageError(
      "model_dir must hold a checkpoint, or a training must run in it, for mode=eval. "
      f"Received: {directory.path}"
    )
  logger.warning(
    "No training runs in %s: its last checkpoint is of step %d of %d",
    directory.path,
    step,
    last_step,
  )
  _evaluate(task, results, place.is_own, step, full=True)
  results.write_summary(step)


def measure_elsewhere(task: EvalTask, results: Results, step: int) -> dict[str, Any]:
  """Measures a finished training otherwise than its own results are; returns the summary.

  The task has the weights of its last step.
  """
  if results.cached(step, full=True) is None:
    _evaluate(task, results, False, step, full=True)
  return results.write_summary(step)


def _evaluate(
  task: EvalTask, results: Results, are_own: bool, step: int, full: bool
) -> dict[str, Any]:
  """Measures the network of a step, and elsewhere than with a run's own the untrained one once."""
  if step and not are_own and task.evaluate_untrained and results.cached(0) is None:
    results.save(0, {}, untrained_metrics=task.evaluate_untrained())
  return results.save(step, task.evaluate(full), full=full)


def _check_not_measured(place: ResultsPlace) -> None:
  """Checks that no training, which keeps the best network, measures itself where results go.

  Raises:
    UsageError: one does.
  """
  directory = place.directory
  stored = directory.settings if place.is_own else {}
  if stored.get("mode") == "train_then_eval" and directory.is_in_use:
    raise UsageError(
      "mode=eval must wait for the end of a training that evaluates itself (train_then_eval), or "
      f"measure other images or otherwise. Received: {directory.path}, in use"
    )


def evaluate_network(config: Config) -> None:
  """Evaluates the network of `config.checkpoint` once.

  A finetuned or segmenting one is measured by its head, unless `train_mode=pretrain` asks for
  linear evaluation.

  Raises:
    UsageError: it can't be read or doesn't fit, knows other labels, or is external and there are
      no labels.
  """
  pretrained = resolve_checkpoint(config.checkpoint)
  source = load_dataset(config, pretrained.center_crop)
  if not config.is_pretraining:
    if pretrained.train_mode != config.train_mode:
      raise UsageError(
        f"checkpoint must be of a training with train_mode={config.train_mode}, to measure that. "
        f"Received: {pretrained.path}, of {pretrained.train_mode}"
      )
    if config.has_supervised_head:
      check_read_as_learnt(config, pretrained.settings)
    source = source.with_class_names(pretrained.class_names)
  pretrained.check_channels(source.channels, config.data_dir or source.name)
  eval_source = load_eval_dataset(config, source, pretrained.center_crop)
  directory = RunDirectory(config.run_directory)
  if pretrained.kind == "external":
    evaluate, metric = _external_evaluation(config, pretrained.path, eval_source)
  else:
    plain = config.with_given_weights()
    with one_device(config.devices).scope():
      task = build_evaluation(plain, directory, source, eval_source)
    load_network(pretrained, task.model, task.networks.get("head"))
    evaluate, metric = functools.partial(task.evaluate, True), task.metric
  place = results_place(config, directory, source, eval_source, network_digest(pretrained))
  _check_not_measured(place)
  if place.is_own:
    directory.start(config)
  place.open(source, eval_source)
  results = Results(place.directory, metric, metric, place.measured)
  results.save(pretrained.step, evaluate(), full=True)
  results.write_summary(pretrained.step)


def _external_evaluation(
  options: Experiment, path: str, source: DatasetSource
) -> tuple[Callable[[], dict[str, Any]], str]:
  """Returns what evaluates somebody else's network, and the number that runs are compared by."""
  if not source.class_names:
    raise UsageError(
      f"dataset must have labels to evaluate {path}, which has no losses. "
      f"Received: {source.name} without"
    )
  check_labels(options, source, source)
  network = open_external(options, path)
  evaluate = functools.partial(evaluate_linearly, options, network, source, full=True)
  return failing_images_named(source)(evaluate), main_metric(options, source)
