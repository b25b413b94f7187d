"""Whether the labels of the data are those that the options need."""

from conrec_tf.config import Config, UsageError, listed
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory, other_labels

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


def check_learnt_labels(config: Config, source: DatasetSource) -> None:
  """Raises UsageError where a trained network's outputs are of other labels than the data has.

  A training that goes on checks that where it starts.

  Args:
    config: the options of the run.
    source: dataset to measure or draw the network on.
  """
  has_outputs = config.has_supervised_head or config.is_segmenting
  if config.mode not in ("eval", "report") or not has_outputs:
    return
  images = RunDirectory(config.run_directory).read(IMAGES) or {}
  labels = other_labels(images, source.class_names)
  if labels:
    raise UsageError(
      f"data_dir must have the labels that the network learnt, for mode={config.mode}: "
      f"{listed(images['class_names'])}. Received: {labels} in {config.data_dir or config.dataset}"
    )
