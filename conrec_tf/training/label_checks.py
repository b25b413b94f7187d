"""Checks that the labels of the data are those that the options need, before a training."""

from collections.abc import Iterator, Sequence

import numpy as np

from conrec_tf.config import Experiment, Objective, Training
from conrec_tf.config.migrations import current_settings
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError, listed
from conrec_tf.evaluation.linear_evaluation import held_out_labels
from conrec_tf.evaluation.probes import evaluation_folds
from conrec_tf.pretrained.find import check_read_as_learnt
from conrec_tf.run_dir.run_directory import RunDirectory, other_labels

NEED_LABELS = ("label_fractions", "few_shots", "sweep_representations", "cv_folds")


def check_labels(options: Experiment, source: DatasetSource, eval_source: DatasetSource) -> None:
  """Raises UsageError where labels are missing, of another kind than the options need, or alike."""
  if options.has_supervised_head and not source.class_names:
    raise UsageError(
      "dataset must have labels for finetuning and for "
      f"lineareval_while_pretraining. Received: {source.name} without"
    )
  for what, wrong in (
    ("train_mode must be pretrain", not options.is_pretraining and source.multi_label),
    (
      "lineareval_while_pretraining must be false",
      options.lineareval_while_pretraining and source.multi_label,
    ),
    ("ordinal_labels must be false", options.ordinal_labels and eval_source.multi_label),
    ("few_shots must be empty", options.few_shots and eval_source.multi_label),
  ):
    if wrong:
      raise UsageError(f"{what} for images of several labels each. Received: {eval_source.name}")
  if options.encoder == "densenet121" and source.channels not in (1, 3):
    raise UsageError(
      "encoder must be another one for images that are neither grey nor RGB. "
      f"Received: densenet121 for {source.channels} channels"
    )
  unlabelled = options.is_pretraining and not eval_source.class_names
  for name in NEED_LABELS:
    if unlabelled and getattr(options, name):
      raise UsageError(
        f"{name} needs labels, or an eval_dataset that has them. Received: {source.name} without"
      )
  if unlabelled and options.select_best_on == "validation":
    raise UsageError(
      "select_best_on must be a measure that needs no labels, without labels. Received: validation"
    )
  measures = options.mode in ("train_then_eval", "eval")
  if unlabelled and measures and eval_source.eval.num_examples < 2:
    raise UsageError(
      "eval_split must have at least two images, which are told from one another, without labels. "
      f"Received: 1 in {eval_source.eval.name}"
    )
  if not options.learns_or_measures:
    return
  if options.has_supervised_head and options.trains:
    _check_head(options, source)
  if options.is_finetuning and options.mode != "train" and not source.eval.num_examples:
    raise UsageError(
      "eval_split must have images with labels, which a supervised head is measured on. "
      f"Received: none in {source.eval.name}"
    )
  if options.is_pretraining and options.mode != "train" and eval_source.class_names:
    for what, learnt, measured in _classifiers(options, eval_source):
      _check_classifier(what, learnt, measured)


def _check_head(objective: Objective, source: DatasetSource) -> None:
  """Raises UsageError where a supervised head can't learn the labels of a dataset."""
  labels = source.train.labels() if source.train.labels else np.zeros(0, int)
  without = int((labels < 0).sum())
  if objective.lineareval_while_pretraining and without:
    raise UsageError(
      "lineareval_while_pretraining must be false for images without a label. "
      f"Received: {without} of {len(labels)} in {source.train.name}"
    )
  if len(np.unique(labels)) < 2:
    raise UsageError(
      "train_split must have images of at least two labels for a supervised head. "
      f"Received: {len(np.unique(labels))} in the {len(labels)} labelled ones of "
      f"{source.train.name}"
    )


def _classifiers(
  options: Experiment, source: DatasetSource
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """Yields what each classifier of linear evaluation learns: (in words, labels, measured ones)."""
  train, test = source.train, source.eval
  if train.labels is None or test.labels is None:
    return
  labels = train.labels()
  yield train.name, labels, labels if options.cv_folds else test.labels()
  if options.cv_folds:
    folds = evaluation_folds(labels, options.cv_folds, options.seed, train.groups)
    for number, held in enumerate(folds):
      yield f"{train.name} but for fold {number}", labels[~held], labels[held]
  holds_out = options.sweep_representations or options.mode == "verdict"
  if options.select_best_on == "validation" or holds_out:
    learnt, held_out = (
      labels[part] for part in held_out_labels(labels, options.seed, train.groups)
    )
    yield f"{train.name} but for the validation share", learnt, held_out


def _check_classifier(what: str, learnt: np.ndarray, measured: np.ndarray) -> None:
  """Raises UsageError where a classifier can't be learnt or measured.

  Args:
    what: it learns from, in words.
    learnt, measured: labels, int `[N]`, or 0 and 1 of several labels, `[N, L]`.
  """
  if not len(learnt) or not len(measured):
    raise UsageError(
      "train_split and eval_split must have images with labels. "
      f"Received: {len(learnt)} to learn from, {len(measured)} to measure"
    )
  if learnt.ndim == 1 and len(np.unique(learnt)) < 2:
    raise UsageError(
      "train_split must have images of at least two labels for linear evaluation. "
      f"Received: 1 in the {len(learnt)} of {what}"
    )
  if measured.ndim == 2 and not np.any(measured.min(axis=0) < measured.max(axis=0)):
    raise UsageError(
      "the measured images must be with and without some label. "
      f"Received: {len(measured)} that are all alike, for a classifier of {what}"
    )


def check_learnt_labels(
  options: Training, directory: RunDirectory, class_names: Sequence[str]
) -> None:
  """Raises UsageError where a trained network's outputs are of other labels than the data has.

  So it does where they are read otherwise than they were learnt; see `check_read_as_learnt`.

  A training that goes on checks that where it starts.

  Args:
    class_names: of the data to measure or draw the network on.
  """
  if options.has_supervised_head and directory.has_checkpoints:
    check_read_as_learnt(options, current_settings(directory.settings))
  if options.mode not in ("eval", "report") or not options.has_outputs:
    return
  images = directory.images
  labels = other_labels(images, class_names)
  if labels:
    where = options.data_dir or options.dataset
    raise UsageError(
      f"data_dir must have the labels that the network learnt, for mode={options.mode}: "
      f"{listed(images['class_names'])}. Received: {labels} in {where}"
    )
