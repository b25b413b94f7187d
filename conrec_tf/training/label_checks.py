"""Whether the labels of the data are those that the options need."""

import numpy as np

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import DatasetSource, Split

NEED_LABELS = ("label_fractions", "few_shots", "sweep_representations")


def check_labels(config: Config, source: DatasetSource, eval_source: DatasetSource) -> None:
  """Raises UsageError where labels are missing, or of another kind than the options need.

  Args:
    config: the options of the run.
    source: dataset to learn from.
    eval_source: dataset of linear evaluation.
  """
  if config.has_supervised_head and not source.class_names:
    raise UsageError(
      "dataset must have labels for finetuning and for "
      f"lineareval_while_pretraining. Received: {source.name} without"
    )
  for what, wrong in (
    ("train_mode must be pretrain", not config.is_pretraining and source.multi_label),
    (
      "lineareval_while_pretraining must be false",
      config.lineareval_while_pretraining and source.multi_label,
    ),
    ("ordinal_labels must be false", config.ordinal_labels and eval_source.multi_label),
    ("few_shots must be empty", config.few_shots and eval_source.multi_label),
  ):
    if wrong:
      raise UsageError(f"{what} for images of several labels each. Received: {eval_source.name}")
  unlabelled = config.is_pretraining and not eval_source.class_names
  for name in NEED_LABELS:
    if unlabelled and getattr(config, name):
      raise UsageError(
        f"{name} needs labels, or an eval_dataset that has them. Received: {source.name} without"
      )
  if unlabelled and config.select_best_on == "validation":
    raise UsageError(
      "select_best_on must be a measure that needs no labels, without labels. Received: validation"
    )
  if config.is_pretraining and config.mode != "train" and eval_source.class_names:
    _check_that_labels_differ(config, eval_source.without_stand_ins)


def _check_that_labels_differ(config: Config, source: DatasetSource) -> None:
  """Raises UsageError where linear evaluation would: now, and not after hours of training."""
  count = source.train.num_examples
  if config.cv_folds > count:
    raise UsageError(
      f"cv_folds must be at most {count}, the images of {source.train.name}. "
      f"Received: {config.cv_folds}"
    )
  splits = {"train_split": source.train}
  if source.multi_label:  # a label that all or none have is left out where it is measured
    splits = {} if config.cv_folds else {"eval_split": source.eval}
  elif config.ordinal_labels:
    splits = {}
  for name, split in splits.items():
    if not _labels_differ(split):
      raise UsageError(
        f"{name} must have images of at least two labels, for linear evaluation. "
        f"Received: {split.num_examples} images that are all alike in {split.name} of {source.name}"
      )


def _labels_differ(split: Split) -> bool:
  """Returns whether a split has two different labels; no more is read than that takes."""
  labels = split.records().map(lambda record: record["label"]).as_numpy_iterator()
  first = next(labels)
  return any(not np.array_equal(label, first) for label in labels)
