"""Linear evaluation (paper, section 2.5): classifiers on frozen embeddings."""

from collections.abc import Sequence
import functools
import math
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from conrec_tf.config import Evaluation
from conrec_tf.data.files.groups import HELD_OUT_OF, held_out_share
from conrec_tf.evaluation import few_labels, probes
from conrec_tf.evaluation.label_kinds import LabelKind, MultiLabel
from conrec_tf.evaluation.logistic_regression import LinearClassifier
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.evaluation.probes import Labelled
from conrec_tf.metrics import (
  FEW_SHOTS,
  LABEL_FRACTIONS,
  scaling_prefix,
  validation_key,
)

VALIDATION_SHARE = 1 / HELD_OUT_OF

Learnt = dict[bool, LinearClassifier]  # by whether embeddings are standardised


def linear_evaluation(
  train: Labelled,
  test: Labelled | None,
  kind: LabelKind,
  evaluation: Evaluation,
  *,
  groups: np.ndarray | None = None,
  seed: int = 0,
  learnt: Learnt | None = None,
) -> dict[str, float]:
  """Takes the quick measures, at every evaluation during a training.

  Args:
    train: what the classifier learns from.
    test: what it is measured on; unused with folds.
    groups: of the images of `train`, each in one fold or on one side, object `[N]`, or None.
    seed: fixes folds and share.
    learnt: classifiers of `train` that are there already; those that aren't are put there, but with
      folds.

  Returns:
    `{name: number}`. Accuracies are in [0, 1]; those named standardised are of embeddings
    scaled to mean 0 and variance 1, without which an untrained network, whose embeddings
    are nearly constant, stays at chance.
  """
  metrics: dict[str, float] = {}
  learnt = {} if learnt is None else learnt
  validation, parts = evaluation.select_best_on == "validation", []
  if validation:
    parts = [take(train, indices) for indices in held_out_labels(train[1], seed, groups)]
  for standardise in (False, True):
    name = scaling_prefix(standardise)
    score = functools.partial(kind.quick, standardise=standardise)
    if evaluation.cv_folds or test is None:
      scores = probes.cross_validate(score, train, evaluation.cv_folds, seed, groups)
      metrics |= _mean(scores, name)
    else:
      outputs = learn(learnt, kind, train, standardise).probabilities(test[0])
      metrics |= {name + key: value for key, value in kind.quick_of(outputs, test[1]).items()}
    if validation:
      held_out = score(*parts)
      metrics |= {validation_key(name + key): value for key, value in held_out.items()}
  return metrics


def learn(learnt: Learnt, kind: LabelKind, train: Labelled, standardise: bool) -> LinearClassifier:
  """Returns the classifier of a scaling, and puts it among those that have learnt from `train`."""
  if standardise not in learnt:
    learnt[standardise] = kind.fit(train, standardise)
  return learnt[standardise]


def take(split: Labelled, indices: np.ndarray) -> Labelled:
  """Returns some examples of a split."""
  return split[0][indices], split[1][indices]


def held_out_labels(
  labels: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> Sequence[np.ndarray]:
  """Returns the index of the labels that are learnt from, and of a fifth that is held out.

  Where counts allow each class is on both sides.

  Args:
    labels: int `[N]`, or `[N, L]` of several labels each, where the fifth is any.
    groups: object `[N]`, each on one side; see `held_out_share`. Or None.

  Raises:
    UsageError: there are too few groups.
  """
  if groups is not None:
    held = held_out_share(labels, groups, seed)
    return np.flatnonzero(~held), np.flatnonzero(held)
  stratify, size = None, math.ceil(VALIDATION_SHARE * len(labels))
  if labels.ndim == 1:
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() > 1:
      stratify, size = labels, max(size, len(counts))
  return train_test_split(
    np.arange(len(labels)), test_size=size, random_state=seed, stratify=stratify
  )


def full_evaluation(
  train: Labelled,
  test: Labelled | None,
  kind: LabelKind,
  evaluation: Evaluation,
  *,
  groups: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
  seed: int = 0,
  learnt: Learnt | None = None,
) -> dict[str, Any]:
  """Takes the measures that are taken once, at the end.

  They are neighbours, those of `LabelKind.measured`, label fractions, few shots.

  Args:
    groups: of the images of `train` and of `test`, each in one fold, and drawn for intervals.
    seed: fixes folds, subsets and resamples.
    learnt: see `linear_evaluation`.

  Returns:
    `{name: value}`; values may be lists, and intervals are `{name: [low, high]}`.
  """
  repeats, standardise = evaluation.num_repeats, evaluation.standardize_embeddings
  vote = functools.partial(
    kind.vote, neighbours=evaluation.knn_neighbours, temperature=evaluation.knn_temperature
  )
  if evaluation.cv_folds or test is None:
    scores = probes.cross_validate(vote, train, evaluation.cv_folds, seed, groups[0])
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
  metrics: dict[str, Any] = dict(vote(train, test))
  learnt = {} if learnt is None else learnt
  outputs = learn(learnt, kind, train, standardise).probabilities(test[0])
  prefix = scaling_prefix(standardise) + kind.prefix
  protocol = (evaluation.bootstrap_samples, seed, groups[1])
  metrics |= kind.measured(outputs, test[1], prefix, *protocol)
  if evaluation.label_fractions:
    metrics[LABEL_FRACTIONS] = few_labels.label_fraction_curve(
      lambda subset: kind.score(subset, test, standardise),
      train,
      evaluation.label_fractions,
      repeats,
      seed,
    )
  if evaluation.few_shots and not isinstance(kind, MultiLabel):
    metrics[FEW_SHOTS] = few_labels.few_shot_curve(
      functools.partial(kind.agreement, test[1]),
      train,
      test[0],
      evaluation.few_shots,
      repeats,
      standardise,
      seed,
    )
  return metrics


def _mean(scores: list[dict[str, float]], prefix: str) -> dict[str, float]:
  """Returns means over folds, and the standard deviation of the first measure."""
  first, *others = scores[0]
  mean, deviation = mean_and_deviation([score[first] for score in scores])
  result = {prefix + first: mean}
  result |= {prefix + name: float(np.mean([score[name] for score in scores])) for name in others}
  return result | {f"{prefix}{first}_std": deviation}
