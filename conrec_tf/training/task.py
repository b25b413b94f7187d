"""What a training consists of: pre-training or finetuning, behind one interface."""

from collections.abc import Callable, Iterable
import dataclasses

import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.data.pipeline import Share, finetuning_batches, pretraining_batches
from conrec_tf.evaluation import linear_evaluation as evaluation
from conrec_tf.evaluation import metric_names
from conrec_tf.models import ConRec, build_head, build_model
from conrec_tf.run_dir.checkpoints import load_network
from conrec_tf.run_dir.pretrained import resolve_checkpoint
from conrec_tf.training.finetune_step import FinetuneStep, supervised_evaluation
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep


@dataclasses.dataclass(frozen=True)
class TrainTask:
  """One training.

  Attributes:
    model: the network.
    networks: `{name: trackable}` of everything with weights; what the best checkpoint keeps.
    optimizer: Keras optimizer.
    step: the training step.
    batches: makes the endless batches, or a `Share` of them.
    evaluate: function of `full` (whether to take the slow measures too) to `{name: value}`.
    metric: the name of the number that runs are compared by.
    selection_metric: the name of the number that the best checkpoint is chosen by.
  """

  model: ConRec
  networks: dict
  optimizer: tf.keras.optimizers.Optimizer
  step: Callable
  batches: Callable[[Share], Iterable]
  evaluate: Callable[[bool], dict]
  metric: str
  selection_metric: str


def build_task(config, source, eval_source, last_step):
  """The job that `config.train_mode` names; call it within the strategy's scope.

  Args:
    config: `Config`.
    source: `DatasetSource` to learn from.
    eval_source: `DatasetSource` of linear evaluation; without labels the eval split's losses are
      measured instead.
    last_step: where training ends.

  Raises:
    UsageError: `config.checkpoint` can't be restored, or labels are missing.
  """
  supervised = not config.is_pretraining or config.lineareval_while_pretraining
  if supervised and not source.class_names:
    raise UsageError(
      "dataset must have labels for finetuning and for "
      f"lineareval_while_pretraining. Received: {source.name} without"
    )
  if config.encoder == "densenet121" and source.channels not in (1, 3):
    raise UsageError(
      "encoder must be unet for images that are neither grey nor RGB. "
      f"Received: densenet121 for {source.channels} channels"
    )
  if config.is_pretraining:
    return _pretraining(config, source, eval_source, last_step)
  return _finetuning(config, source, last_step)


def _pretraining(config, source, eval_source, last_step):
  model = build_model(config, source.channels)
  head = None
  if config.lineareval_while_pretraining:
    head = build_head(config, model, source.channels, len(source.class_names))
  variables = head.trainable_variables if head else []
  optimizer = build_optimizer(config, source.train.num_examples, last_step, variables)
  optimizer.build(model.trainable_variables + variables)
  step = PretrainStep(config, model, optimizer, head)
  classes = len(eval_source.class_names)

  def evaluate(full):
    if not classes:
      return evaluation.validation_losses(config, model, step.compute_loss, source)
    splits = evaluation.embed_source(config, model, eval_source)
    metrics = evaluation.linear_evaluation(config, *splits, classes)
    if full:
      metrics.update(evaluation.full_evaluation(config, *splits, classes))
    if head:
      metrics.update(supervised_evaluation(config, model, head, source))
    return metrics

  metric, selection = evaluation.main_metric(config), evaluation.selection_metric(config)
  if not classes:
    metric = selection = evaluation.VALIDATION_LOSS
  return TrainTask(
    model,
    {"model": model, **({"head": head} if head else {})},
    optimizer,
    step,
    lambda share: pretraining_batches(config, source, share),
    evaluate,
    metric,
    selection,
  )


def _finetuning(config, source, last_step):
  model = build_model(config, source.channels)
  if config.checkpoint:
    load_network(resolve_checkpoint(config.checkpoint), model)
  model.freeze(config.fine_tune_after_block)
  head = build_head(config, model, source.channels, len(source.class_names))
  optimizer = build_optimizer(
    config, source.train.num_examples, last_step, head.trainable_variables
  )
  optimizer.build(model.trainable_variables + head.trainable_variables)
  metric = metric_names.LABEL_KAPPA if config.ordinal_labels else metric_names.LABEL_ACCURACY
  return TrainTask(
    model,
    {"model": model, "head": head},
    optimizer,
    FinetuneStep(config, model, head, optimizer, len(source.class_names)),
    lambda share: finetuning_batches(config, source, share),
    lambda full: supervised_evaluation(config, model, head, source),
    metric,
    metric,
  )
