"""Evaluations of a network in training, as the options ask for them."""

import math
from typing import Any

import numpy as np

from conrec_tf.config import Data, Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.records import evenly_over
from conrec_tf.evaluation.embedding import (
  Embedder,
  all_representations,
  embed_split,
  images_given,
)
from conrec_tf.evaluation.label_free import label_free_measures
from conrec_tf.evaluation.label_kinds import Classes, Grades, LabelKind, MultiLabel
from conrec_tf.evaluation.linear_evaluation import (
  Learnt,
  full_evaluation,
  learn,
  linear_evaluation,
)
from conrec_tf.evaluation.probes import MOST_KNOWN, KnownImages
from conrec_tf.evaluation.representation_sweep import sweep
from conrec_tf.evaluation.supervised_evaluation import (
  classifier_of_head,
  head_kind,
  supervised_evaluation,
)
from conrec_tf.metrics import (
  CHOSEN,
  CLASSIFIER,
  EVAL,
  LABEL_FREE,
  PREDICTIONS,
  REPRESENTATIONS,
  recomputed_key,
  scaling_prefix,
)
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.models.normalization import recompute_statistics
from conrec_tf.models.pooling import AttentionPooling
from conrec_tf.run_dir.classifier_file import KeptClassifier
from conrec_tf.run_dir.predictions_file import check_label_names, multi_label_columns

RECOMPUTED_IMAGES, RECOMPUTED_BATCH = 1024, 64  # of the former all, if there are fewer


def evaluate_linearly(
  options: Experiment, model: Embedder, source: DatasetSource, full: bool
) -> dict[str, Any]:
  """Takes the quick measures of linear evaluation or, if `full`, the slow ones too.

  Returns:
    `{name: value}`; see `linear_evaluation` and `full_evaluation`. The classifier is among them.
    In a cross-validation each fold has its own; the one that is kept learns from all images, at the
    end.
  """
  splits = [source.train] if options.cv_folds else [source.train, source.eval]
  train, *rest = [embed_split(model, source, split, options) for split in splits]
  test, kind = rest[0] if rest else None, label_kind(options, source)
  groups, seed = (source.train.groups, source.eval.groups), options.seed
  at_the_end: dict[str, Any] = {}
  learnt: Learnt = {}
  if full:
    at_the_end = full_evaluation(
      train, test, kind, options, groups=groups, seed=seed, learnt=learnt
    )
    if options.sweep_representations:
      at_the_end |= _swept(options, model, source)
  metrics: dict[str, Any] = linear_evaluation(
    train, test, kind, options, groups=groups[0], seed=seed, learnt=learnt
  )
  if full and not learnt:
    for standardise in (False, True):
      learn(learnt, kind, train, standardise)
  if learnt:
    known = KnownImages.of_embeddings(train[0], source.train.image_names)
    metrics[CLASSIFIER] = KeptClassifier(
      kind.name,
      source.class_names,
      model.digest(options.ft_proj_selector),
      learnt,
      known,
      images_given(options, source),
    )
  return _with_names(metrics | label_free_measures((test or train)[0]) | at_the_end, source)


def _swept(options: Experiment, model: Embedder, source: DatasetSource) -> dict[str, Any]:
  """Evaluates all representations of a network; see `representation_sweep.sweep`."""
  kind = label_kind(options, source)
  (train, train_labels), (test, labels) = (
    all_representations(model, source, split, options) for split in (source.train, source.eval)
  )
  rows = sweep(kind.score, train, test, (train_labels, labels), options.seed, source.train.groups)
  [chosen] = [row for row in rows if row["chosen"]]
  return {REPRESENTATIONS: rows, CHOSEN + kind.metric.removeprefix(EVAL): chosen["test"]}


def label_kind(data: Data, source: DatasetSource) -> LabelKind:
  """Returns what the labels of a dataset are.

  Raises:
    UsageError: several labels an image are called as other columns of predictions are.
  """
  if source.multi_label:
    check_label_names(source.class_names)
    return MultiLabel(source.class_names)
  return (Grades if data.ordinal_labels else Classes)(len(source.class_names))


def main_metric(options: Experiment, source: DatasetSource) -> str:
  """Returns the name of the number of linear evaluation that runs are compared by."""
  reading = scaling_prefix(options.standardize_embeddings)
  return label_kind(options, source).metric.replace(EVAL, reading)


def _with_names(metrics: dict[str, Any], source: DatasetSource) -> dict[str, Any]:
  """Adds the names of images, groups and classes to the predictions, where there are any."""
  if PREDICTIONS not in metrics:
    return metrics
  columns, classes = metrics[PREDICTIONS], source.class_names
  named: dict[str, Any] = {"image": source.eval.image_names}
  if source.eval.groups is not None:
    named["group"] = source.eval.groups
  if source.multi_label:
    named |= multi_label_columns(columns["labels"], columns["probabilities"], classes)
  else:
    texts = np.array(classes, object)
    named |= {
      **columns,
      "class_name": texts[columns["label"]],
      "predicted_class_name": texts[columns["prediction"]],
    }
  return {**metrics, PREDICTIONS: named}


def evaluate_without_labels(
  options: Experiment, model: Embedder, source: DatasetSource
) -> dict[str, float]:
  """Measures the embeddings of the eval split; see `label_free_measures`."""
  return label_free_measures(embed_split(model, source, source.eval, options)[0])


def evaluate_recomputed(
  options: Experiment, model: ConRec, source: DatasetSource
) -> dict[str, Any]:
  """Evaluates an untrained network after its batch norm has seen clean training images.

  Args:
    model: see `recompute_normalization`.

  Returns:
    `{name: number}`, the quick measures under `recomputed` names.
  """
  recompute_normalization(options, model, source)
  metrics = evaluate_linearly(options, model, source, full=False)
  left_out = {*LABEL_FREE, CLASSIFIER}
  return {recomputed_key(name): value for name, value in metrics.items() if name not in left_out}


def recompute_normalization(options: Experiment, model: ConRec, source: DatasetSource) -> None:
  """Gives the batch norm of an untrained network the statistics of clean training images.

  Without that they are those that it was built with, and its embeddings nearly alike. Images are
  taken evenly from the split, and each batch has some from all of it.

  Args:
    model: the untrained network; its statistics are changed, and its dropout.
  """
  if isinstance(model.pooling, AttentionPooling):
    model.pooling.dropout = 0.0
  places = evenly_over(source.train.num_examples, RECOMPUTED_IMAGES)
  records = source.train.rows.at(places).shuffle(len(places), seed=0)
  batches = math.ceil(len(places) / RECOMPUTED_BATCH)
  batch_size = math.ceil(len(places) / batches)  # or the last might have one image
  recompute_statistics(
    model,
    lambda images: model.representation(images, training=True, layer=options.ft_proj_selector),
    (
      images
      for images, _ in evaluation_batches(source, records, options.evaluation_size, batch_size)
    ),
  )


def evaluate_head(
  options: Experiment, model: ConRec, head: LinearHead, source: DatasetSource, full: bool
) -> dict[str, Any]:
  """Takes the quick measures of a supervised head or, if `full`, those of the end too.

  At the end the head is kept as a classifier, with images that it learnt from.
  """
  metrics = supervised_evaluation(model, head, source, options, full)
  if full:
    some = source.train.part(evenly_over(source.train.num_examples, MOST_KNOWN))
    embeddings, _ = embed_split(model, source, some, options)
    metrics[CLASSIFIER] = KeptClassifier(
      head_kind(len(source.class_names), options.ordinal_labels).name,
      source.class_names,
      model.digest(options.ft_proj_selector),
      {False: classifier_of_head(head, options.ordinal_labels)},
      KnownImages.of_embeddings(embeddings, some.image_names),
      images_given(options, source),
    )
  return _with_names(metrics, source)
