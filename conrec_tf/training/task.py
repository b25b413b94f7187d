"""Builds trainings: pre-training and finetuning, behind one interface."""

import functools
from typing import Any

from conrec_tf.config import Config, Optimization
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import (
  finetuning_batches,
  pretraining_batches,
  validation_batches,
)
from conrec_tf.data.stream import steps_per_epoch
from conrec_tf.evaluation.label_free import validation_losses, view_measures
from conrec_tf.metrics import EVAL, EVAL_TOTAL_LOSS, supervised_metric, validation_key
from conrec_tf.models import ConRec, LinearHead, build_head, build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.evaluations import (
  evaluate_head,
  evaluate_linearly,
  evaluate_recomputed,
  evaluate_without_labels,
  main_metric,
)
from conrec_tf.training.finetune_step import FinetuneStep
from conrec_tf.training.objectives.momentum_contrast import warn_of_long_queue
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep
from conrec_tf.training.train_task import TrainTask


def training_steps(optimization: Optimization, source: DatasetSource) -> tuple[int, int]:
  """Returns the steps of an epoch, and the step where training ends.

  Raises:
    UsageError: the batch is larger than the split.
  """
  epoch = steps_per_epoch(source.train, optimization.train_batch_size)
  return epoch, optimization.train_steps or optimization.train_epochs * epoch


def build_network(config: Config, channels: int, classes: int) -> tuple[ConRec, LinearHead | None]:
  """Builds the network that `config` describes, and its supervised head, or None.

  Args:
    config: the options of the run.
    channels: of the images.
    classes: how many there are; 0: there is no head in any case.
  """
  model, head = build_model(config, channels), None
  if config.has_supervised_head and classes:
    head = build_supervised_head(config, model, channels, classes)
  return model, head


def build_supervised_head(
  config: Config, model: ConRec, channels: int, num_classes: int
) -> LinearHead:
  """Builds the supervised head that `config` describes on a network.

  Args:
    config: the options of the run.
    model: a built network.
    channels: channels of the images.
    num_classes: how many there are; grades have as many bits.
  """
  return build_head(
    model,
    channels,
    num_classes,
    image_size=config.image_size,
    layer=config.ft_proj_selector,
    zero_init=config.zero_init_logits_layer,
  )


def pretraining_task(
  config: Config, source: DatasetSource, eval_source: DatasetSource, last_step: int
) -> TrainTask:
  """Builds a pre-training; call it within the strategy's scope.

  Args:
    config: the options of the run.
    source: dataset to learn from.
    eval_source: dataset of linear evaluation; without labels the eval split's losses are
      measured instead.
    last_step: where training ends.

  Raises:
    UsageError: `config.checkpoint` can't be restored.
  """
  model, head = build_model(config, source.channels), None
  trains = config.mode in ("train", "train_then_eval")
  if trains and config.checkpoint and not RunDirectory(config.run_directory).has_checkpoints:
    warm_start(resolve_checkpoint(config.checkpoint), model, config)
  if config.lineareval_while_pretraining:
    head = build_supervised_head(config, model, source.channels, len(source.class_names))
  examples = source.train.num_examples
  warn_of_long_queue(config.moco_queue_length, examples)
  optimizer = build_optimizer(config, examples, last_step, head.trainable_variables if head else ())
  step = PretrainStep(
    config,
    model,
    optimizer,
    head,
    channels=source.channels,
    last_step=last_step,
    skip_non_finite=config.on_nan == "skip",
  )
  evaluated = step.evaluated
  labelled = bool(eval_source.class_names)

  def measure(network: ConRec, full: bool) -> dict[str, Any]:
    views = validation_batches(config, source.without_stand_ins)
    of_views = view_measures(network, views, config.ft_proj_selector)
    if not labelled:
      losses = validation_losses(functools.partial(step.validation_loss, network), views)
      return losses | evaluate_without_labels(config, network, eval_source) | of_views
    return evaluate_linearly(config, network, eval_source, full) | of_views

  def evaluate(full: bool) -> dict[str, Any]:
    metrics = measure(evaluated, full)
    if head:
      metrics |= evaluate_head(config, evaluated, head, source.without_stand_ins, full=False)
    return metrics

  def evaluate_untrained() -> dict[str, Any]:
    network = build_model(config, source.channels, with_encoder_weights=False)
    metrics = measure(network, full=False)
    return metrics | evaluate_recomputed(config, network, eval_source) if labelled else metrics

  metric = main_metric(config, eval_source) if labelled else EVAL_TOTAL_LOSS
  selection = {"evaluation": metric, "validation": validation_key(metric)}
  return TrainTask(
    model=evaluated,
    networks=step.networks,
    only_to_resume=step.only_to_resume,
    optimizer=optimizer,
    step=step,
    batches=lambda shard: pretraining_batches(config, source, shard),
    evaluate=evaluate,
    evaluate_untrained=evaluate_untrained,
    metric=metric,
    selection_metric=selection.get(config.select_best_on, EVAL + config.select_best_on),
  )


def finetuning_task(
  config: Config, source: DatasetSource, eval_source: DatasetSource, last_step: int
) -> TrainTask:
  """Builds a finetuning, which is measured on `source` itself; see `pretraining_task`."""
  model = build_model(config, source.channels)
  if config.checkpoint and not RunDirectory(config.run_directory).has_checkpoints:
    load_network(resolve_checkpoint(config.checkpoint), model)
  model.freeze(config.fine_tune_after_block)
  num_classes = len(source.class_names)
  head = build_supervised_head(config, model, source.channels, num_classes)
  head_variables = head.trainable_variables
  optimizer = build_optimizer(config, source.train.num_examples, last_step, head_variables)
  optimizer.build(model.trainable_variables + head_variables)
  metric = supervised_metric(config.ordinal_labels)
  return TrainTask(
    model=model,
    networks={"model": model, "head": head},
    only_to_resume={},
    optimizer=optimizer,
    step=FinetuneStep(
      config, model, head, optimizer, num_classes, skip_non_finite=config.on_nan == "skip"
    ),
    batches=lambda shard: finetuning_batches(
      source,
      config.train_batch_size,
      config.image_size,
      config.supervised_augmentation,
      config.seed,
      shard,
    ),
    evaluate=functools.partial(evaluate_head, config, model, head, source.without_stand_ins),
    evaluate_untrained=None,
    metric=metric,
    selection_metric=metric,
  )
