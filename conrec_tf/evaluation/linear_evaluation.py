"""Linear evaluation (paper, section 2.5): what frozen embeddings are worth to a classifier."""

from collections.abc import Callable, Iterable
import functools
import math
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
import tensorflow as tf

from conrec_tf.evaluation import few_labels, metric_names, probes
from conrec_tf.evaluation.final_measures import (
  all_classes,
  measures_of_grades,
  measures_of_probabilities,
)
from conrec_tf.evaluation.probes import Labelled

VALIDATION_SHARE = 0.2
READINGS = ((metric_names.EVAL, False), (metric_names.STANDARDISED, True))  # names, standardised

# From a batch to the loss and `{metric name: scalar}`.
LossFn = Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, dict[str, tf.Tensor]]]


def validation_losses(loss_fn: LossFn, batches: Iterable[dict[str, tf.Tensor]]) -> dict[str, float]:
  """Measures the pre-training losses, for data without labels.

  Args:
    loss_fn: from a batch to the loss, of a network in inference mode, and `{metric name: scalar}`.
    batches: `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.

  Returns:
    `{name: number}`, means over the batches.
  """

  @tf.function(autograph=False)
  def measure(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    total, metrics = loss_fn(batch)
    return {metric_names.EVAL_TOTAL_LOSS: total, **metrics}

  rows = [measure(batch) for batch in batches]
  return {
    name.replace("train/", metric_names.EVAL): float(np.mean([row[name] for row in rows]))
    for name in rows[0]
  }


def linear_evaluation(
  train: Labelled,
  test: Labelled | None,
  num_classes: int,
  *,
  ordinal: bool = False,
  folds: int = 0,
  validation: bool = False,
  seed: int = 0,
) -> dict[str, float]:
  """Takes the quick measures, at every evaluation during a training.

  Args:
    train: what the classifier learns from.
    test: what it is measured on; unused with folds.
    num_classes: how many there are.
    ordinal: whether classes are grades, measured by quadratic weighted kappa.
    folds: how many folds of `train` to cross-validate over; 0 measures on `test`.
    validation: whether to measure on a held-out share of `train` too.
    seed: fixes folds and share.

  Returns:
    `{name: number}`. Accuracies are in [0, 1]; those named standardised are of embeddings
    scaled to mean 0 and variance 1, without which an untrained network, whose embeddings
    are nearly constant, stays at chance.
  """
  metrics: dict[str, float] = {}
  for name, standardise in READINGS:
    score = _score(num_classes, ordinal, standardise)
    if folds or test is None:
      metrics.update(_mean(probes.cross_validate(score, train, folds, seed), name))
    else:
      metrics.update({name + key: value for key, value in score(train, test).items()})
  if validation:
    parts = [(train[0][indices], train[1][indices]) for indices in held_out_labels(train[1], seed)]
    for name, standardise in READINGS:
      scores = _score(num_classes, ordinal, standardise)(*parts)
      metrics.update({metric_names.validation(name + key): value for key, value in scores.items()})
  return metrics


def held_out_labels(labels: np.ndarray, seed: int) -> list[np.ndarray]:
  """Returns the places of the labels that are learnt from, and of a fifth that is held out.

  Where counts allow each class is on both sides.

  Args:
    labels: int `[N]`.
    seed: fixes the share.
  """
  counts = np.unique(labels, return_counts=True)[1]
  stratify, size = None, math.ceil(VALIDATION_SHARE * len(labels))
  if counts.min() > 1:
    stratify, size = labels, max(size, len(counts))
  return train_test_split(
    np.arange(len(labels)), test_size=size, random_state=seed, stratify=stratify
  )


def full_evaluation(
  train: Labelled,
  test: Labelled | None,
  num_classes: int,
  *,
  ordinal: bool = False,
  folds: int = 0,
  fractions: tuple[float, ...] = (),
  shots: tuple[int, ...] = (),
  num_repeats: int = 5,
  standardise: bool = False,
  bootstrap_samples: int = 0,
  neighbours: int = 20,
  temperature: float = 0.0,
  seed: int = 0,
) -> dict[str, Any]:
  """Takes the measures that are taken once, at the end.

  They are neighbours, `class_measures`, intervals, predictions, label fractions, few shots.

  Args:
    train: what the classifier learns from.
    test: what it is measured on; unused with folds.
    num_classes: how many there are.
    ordinal: whether classes are grades.
    folds: how many folds of `train` to cross-validate over; 0 measures on `test`.
    fractions: shares of the training labels to learn from.
    shots: images of each class to make prototypes of.
    num_repeats: random subsets of each share and number of shots.
    standardise: whether all but neighbours are of standardised embeddings.
    bootstrap_samples: resamples of the measured images for intervals; 0: none.
    neighbours, temperature: see `probes.knn_accuracy`.
    seed: fixes folds, subsets and resamples.

  Returns:
    `{name: value}`; values may be lists, and intervals are `{name: [low, high]}`.
  """
  vote = functools.partial(probes.knn_accuracy, neighbours=neighbours, temperature=temperature)
  if folds or test is None:
    scores = probes.cross_validate(vote, train, folds, seed)
    return {metric_names.KNN_ACCURACY: float(np.mean(scores))}
  metrics: dict[str, Any] = {metric_names.KNN_ACCURACY: vote(train, test)}
  prefix = metric_names.STANDARDISED if standardise else metric_names.EVAL
  if ordinal:
    grades = probes.ordinal_predictions(train, test, num_classes, standardise)
    metrics |= measures_of_grades(grades, test[1], num_classes, prefix, bootstrap_samples, seed)
  else:
    probabilities = all_classes(*probes.linear_scores(train, test, standardise), num_classes)
    metrics |= measures_of_probabilities(
      probabilities, test[1], f"{prefix}linear_", bootstrap_samples, seed
    )
  if fractions:
    score = _score(num_classes, ordinal, standardise)
    name = metric_names.main_metric(ordinal).removeprefix(metric_names.EVAL)
    metrics[metric_names.LABEL_FRACTIONS] = few_labels.label_fraction_curve(
      lambda subset: score(subset, test)[name], train, fractions, num_repeats, seed
    )
  if shots:

    def agreement(classes: np.ndarray) -> float:
      if ordinal:
        return probes.quadratic_weighted_kappa(test[1], classes, num_classes)
      return float(np.mean(classes == test[1]))

    metrics[metric_names.FEW_SHOTS] = few_labels.few_shot_curve(
      agreement, train, test[0], shots, num_repeats, standardise, seed
    )
  return metrics


def _score(
  num_classes: int, ordinal: bool, standardise: bool
) -> Callable[[Labelled, Labelled], dict[str, float]]:
  """Returns a function of (training split, measured split) to `{name: number}`."""

  def kappa(train: Labelled, test: Labelled) -> dict[str, float]:
    predictions = probes.ordinal_predictions(train, test, num_classes, standardise)
    value = probes.quadratic_weighted_kappa(test[1], predictions, num_classes)
    return {metric_names.KAPPA.removeprefix(metric_names.EVAL): value}

  def accuracies(train: Labelled, test: Labelled) -> dict[str, float]:
    scores, columns = probes.linear_scores(train, test, standardise)
    return {
      f"linear_top_{k}_accuracy": value
      for k, value in probes.top_k_accuracies(scores, columns, test[1]).items()
    }

  return kappa if ordinal else accuracies


def _mean(scores: list[dict[str, float]], prefix: str) -> dict[str, float]:
  """Returns means over folds, and the standard deviation of the first measure."""
  names = list(scores[0])
  result = {prefix + name: float(np.mean([score[name] for score in scores])) for name in names}
  result[f"{prefix}{names[0]}_std"] = float(np.std([score[names[0]] for score in scores]))
  return result
