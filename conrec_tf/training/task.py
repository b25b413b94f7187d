"""Trainings behind one interface: pre-training and finetuning."""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import math
import pathlib
from typing import Any

import tensorflow as tf

from conrec_tf.config import Bookkeeping, Experiment, Optimization, Training
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import (
  finetuning_batches,
  pretraining_batches,
  two_views,
  validation_batches,
  warn_of_long_images,
)
from conrec_tf.data.records import Record
from conrec_tf.data.stream import WorkerShard, steps_per_epoch
from conrec_tf.evaluation.label_free import VIEWED, validation_losses, view_measures
from conrec_tf.metrics import EVAL, EVAL_TOTAL_LOSS, RANK_ME, supervised_metric, validation_key
from conrec_tf.models import ConRec, LinearHead, build_head, build_model
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.pretrained.load import load_network
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.training.evaluations import (
  evaluate_head,
  evaluate_linearly,
  evaluate_recomputed,
  evaluate_without_labels,
  main_metric,
)
from conrec_tf.training.finetune_step import FinetuneStep
from conrec_tf.training.loop import Step
from conrec_tf.training.objectives.momentum_contrast import warn_of_long_queue
from conrec_tf.training.objectives.pretrain_loss import PretrainLoss
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

# From a worker's shard of the stream and a size in pixels to endless batches.
Batches = Callable[[WorkerShard, int], tf.data.Dataset]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalTask:
  """A network and how it is measured.

  Attributes:
    model: the network that is evaluated and exported: the one that is trained, or its average.
    networks: `{name: trackable}` of everything with weights; what the best checkpoint keeps.
    evaluate: from whether to take the slow measures too, to `{name: value}`.
    metric: the name of the number that runs are compared by.
    selection_metric: the name of the number that the best checkpoint is chosen by.
    evaluate_untrained: measures a network like it that has learnt nothing, at any time, as
      `{name: value}`; None where that says nothing.
  """

  model: ConRec
  networks: dict[str, tf.keras.Model | tf.Variable]
  evaluate: Callable[[bool], dict[str, Any]]
  metric: str
  selection_metric: str
  evaluate_untrained: Callable[[], dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainTask(EvalTask):
  """One training of a network that is measured.

  Attributes:
    optimizer: its `iterations` is the global step.
    batches: makes the endless batches, or of a worker its shard of them, of a size in pixels; from
      the folder of the run, where what they need beside the data is kept.
    only_to_resume: `{name: trackable}` of what else a training needs to go on.
  """

  optimizer: tf.keras.optimizers.Optimizer
  step: Step
  batches: Callable[[pathlib.Path], Batches]
  only_to_resume: dict[str, Any] = dataclasses.field(default_factory=dict)


def training_steps(optimization: Optimization, source: DatasetSource) -> tuple[int, int]:
  """Returns the steps of an epoch, and the step where training ends.

  Raises:
    UsageError: the batch is larger than the split.
  """
  epoch = steps_per_epoch(source.train, optimization.train_batch_size)
  return epoch, last_step_of(optimization, epoch)


def last_step_of(optimization: Optimization, epoch: int) -> int:
  """Returns the step where training ends, of epochs of so many steps."""
  return optimization.train_steps or optimization.train_epochs * epoch


def build_network(
  options: Training, channels: int, classes: int, start: PretrainedModel | None = None
) -> tuple[ConRec, LinearHead | None]:
  """Builds the network that the options describe, and its supervised head, or None.

  Args:
    classes: how many there are; 0: there is no head in any case.
    start: the network that it starts from, or None.

  Raises:
    UsageError: `start` can't be restored.
  """
  model = build_model(options, channels)
  if start and options.is_pretraining:
    warm_start(start, model, options)
  elif start:
    load_network(start, model)
  has_head = options.has_supervised_head and classes
  return model, build_head(options, model, channels, classes) if has_head else None


def pretraining_task(
  config: Experiment,
  source: DatasetSource,
  eval_source: DatasetSource,
  last_step: int,
  start: PretrainedModel | None,
  bookkeeping: Bookkeeping,
) -> TrainTask:
  """Builds a pre-training; call it within the strategy's scope.

  Args:
    eval_source: dataset of linear evaluation; without labels the eval split's losses are
      measured instead.
    start: the network that it starts from, or None.
    bookkeeping: what is logged on the way, and whether a step that isn't finite is left out.

  Raises:
    UsageError: `start` can't be restored.
  """
  model, head = build_network(config, source.channels, len(source.class_names), start)
  examples = source.train.num_examples
  warn_of_long_queue(config.moco_queue_length, examples)
  warn_of_long_images(source, config)
  optimizer = build_optimizer(config, examples, last_step, head.trainable_variables if head else ())
  step = PretrainStep(
    config,
    model,
    optimizer,
    head,
    channels=source.channels,
    last_step=last_step,
    skip_non_finite=bookkeeping.skips_non_finite,
    conflict_interval=bookkeeping.conflict_interval,
  )

  def batches(folder: pathlib.Path) -> Batches:
    return functools.partial(pretraining_batches, config, step.loss.prepared(source, folder))

  return TrainTask(
    **vars(_pretraining_measures(config, source, eval_source, step.loss)),
    only_to_resume=step.loss.only_to_resume,
    optimizer=optimizer,
    step=step,
    batches=batches,
  )


def pretraining_evaluation(
  config: Experiment, source: DatasetSource, eval_source: DatasetSource
) -> EvalTask:
  """Builds the network of a pre-training to measure it alone; see `pretraining_task`."""
  model, head = build_network(config, source.channels, len(source.class_names))
  loss = _measured_loss(config, model, head, source.channels)
  return _pretraining_measures(config, source, eval_source, loss)


def _measured_loss(
  options: Training, model: ConRec, head: LinearHead | None, channels: int
) -> PretrainLoss:
  """Returns what held-out images are measured by with a network that takes no step."""
  loss = PretrainLoss(options, model, head, channels, in_training=False)
  loss.build(tf.Variable(0, trainable=False, dtype=tf.int64), last_step=0)
  return loss


def _pretraining_measures(
  config: Experiment, source: DatasetSource, eval_source: DatasetSource, loss: PretrainLoss
) -> EvalTask:
  """Returns how the networks of a pre-training are measured."""
  evaluated, head = loss.evaluated, loss.networks.get("head")
  labelled, few = bool(eval_source.class_names), math.ceil(VIEWED / config.train_batch_size)

  def views(count: int = -1) -> Iterator[Record]:
    """Yields so many batches of the eval split in two views, or all."""
    measured, with_labels = source.without_stand_ins, config.lineareval_while_pretraining
    augment = two_views(measured, config, config.evaluation_size, config.seed, with_labels)
    size = config.train_batch_size
    return measured.batch_cache(
      (augment, size, count), lambda: validation_batches(measured, augment, size).take(count)
    )

  def measure(network: ConRec, loss_of: Callable[[], PretrainLoss], full: bool) -> dict[str, Any]:
    of_views = view_measures(network, views(few), config.ft_proj_selector)
    if not labelled:
      losses = {}
      if loss.has_validation:
        losses = validation_losses(functools.partial(loss_of().validation, network), views())
      return losses | evaluate_without_labels(config, network, eval_source) | of_views
    return evaluate_linearly(config, network, eval_source, full) | of_views

  @functools.cache
  def of_head() -> DatasetSource:
    return source.without_stand_ins.labelled

  def evaluate(full: bool) -> dict[str, Any]:
    metrics = measure(evaluated, lambda: loss, full)
    if head and of_head().eval.num_examples:  # with an eval_dataset it may have no labels
      metrics |= evaluate_head(config, evaluated, head, of_head(), full=False)
    return metrics

  def evaluate_untrained() -> dict[str, Any]:
    network = build_model(config, source.channels, with_encoder_weights=False)
    # The second network of momentum contrast and its queue learn, too: it has its own.
    loss_of = functools.partial(_measured_loss, config, network, None, source.channels)
    metrics = measure(network, loss_of, full=False)
    return metrics | evaluate_recomputed(config, network, eval_source) if labelled else metrics

  metric = EVAL_TOTAL_LOSS if loss.has_validation else RANK_ME
  metric = main_metric(config, eval_source) if labelled else metric
  selection = {"evaluation": metric, "validation": validation_key(metric)}
  return EvalTask(
    model=evaluated,
    networks=loss.networks,
    evaluate=evaluate,
    evaluate_untrained=evaluate_untrained,
    metric=metric,
    selection_metric=selection.get(config.select_best_on, EVAL + config.select_best_on),
  )


def finetuning_evaluation(
  config: Experiment,
  source: DatasetSource,
  eval_source: DatasetSource,
  start: PretrainedModel | None = None,
) -> EvalTask:
  """Builds a network with a head, which is measured on `source` itself."""
  model, head = build_network(config, source.channels, len(source.class_names), start)
  assert head
  metric = supervised_metric(config.ordinal_labels)
  return EvalTask(
    model=model,
    networks={"model": model, "head": head},
    evaluate=functools.partial(evaluate_head, config, model, head, source.without_stand_ins),
    metric=metric,
    selection_metric=metric,
  )


def supervised_task(
  config: Experiment,
  source: DatasetSource,
  eval_source: DatasetSource,
  last_step: int,
  start: PretrainedModel | None,
  bookkeeping: Bookkeeping,
  *,
  evaluation: Callable[..., EvalTask],
  step: Callable[..., Step],
  batches: Callable[..., tf.data.Dataset],
) -> TrainTask:
  """Builds the training of a network and the head on it; see `pretraining_task`.

  Args:
    evaluation: builds both and what measures them; as `finetuning_evaluation`.
    step: makes the step; as `FinetuneStep`.
    batches: makes the batches; as `finetuning_batches`.
  """
  measured = evaluation(config, source, eval_source, start)
  model, head = measured.model, measured.networks["head"]
  model.freeze(config.fine_tune_after_block)
  optimizer = build_optimizer(
    config, source.train.num_examples, last_step, head.trainable_variables
  )
  return TrainTask(
    **vars(measured),
    optimizer=optimizer,
    step=step(config, model, head, optimizer, bookkeeping.skips_non_finite),
    batches=lambda folder: functools.partial(batches, config, source),
  )


finetuning_task = functools.partial(
  supervised_task, evaluation=finetuning_evaluation, step=FinetuneStep, batches=finetuning_batches
)
