"""All that is said of one set of predictions: measures, their intervals, and each image's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conrec_tf.evaluation import probes
from conrec_tf.evaluation.bootstrap import (
  bootstrap_intervals,
  kappa_interval,
  multi_label_intervals,
)
from conrec_tf.evaluation.measures import class_measures, label_measures
from conrec_tf.metrics import EVAL, INTERVALS, KAPPA, LABELS, PREDICTIONS


def measures_of_probabilities(
  probabilities: np.ndarray,
  labels: np.ndarray,
  prefix: str,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns `class_measures`, their intervals and the predictions, by name.

  Args:
    probabilities: float `[N, K]`.
    labels: int `[N]` in [0, K).
    prefix: what names of measures begin with.
    resamples: of the images, for intervals; 0: none.
    seed: fixes the resamples.
    groups: of the images, drawn in their place, object `[N]`, or None.
  """
  predicted = probabilities.argmax(axis=1)
  measures: dict[str, Any] = {
    prefix + name: value for name, value in class_measures(probabilities, labels).items()
  }
  if resamples:
    drawn = bootstrap_intervals(probabilities, labels, resamples, seed, groups)
    measures[INTERVALS] = {prefix + name: ends for name, ends in drawn.items()}
  measures[PREDICTIONS] = {
    "label": labels,
    "prediction": predicted,
    "probability": probabilities.max(axis=1),
    "true_class_probability": probabilities[np.arange(len(labels)), labels],
  }
  return measures


def measures_of_grades(
  bits: np.ndarray,
  labels: np.ndarray,
  count: int,
  prefix: str,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns the interval of quadratic weighted kappa and the predictions, by name.

  Args:
    bits: float `[N, count]`, probabilities of cumulative bits.
    labels: int `[N]` in [0, count).
    count: of the grades.
    prefix: what the name of kappa begins with.
    resamples, seed, groups: see `measures_of_probabilities`.
  """
  measures: dict[str, Any] = {}
  grades = probes.decode_bits(bits)
  if resamples:
    name = KAPPA.replace(EVAL, prefix)
    ends = kappa_interval(labels, grades, count, resamples, seed, groups)
    measures[INTERVALS] = {name: ends} if ends else {}
  measures[PREDICTIONS] = {
    "label": labels,
    "prediction": grades,
    "probability": probes.grade_probabilities(bits, grades),
    "true_class_probability": probes.grade_probabilities(bits, labels),
  }
  return measures


def measures_of_labels(
  probabilities: np.ndarray,
  labels: np.ndarray,
  names: Sequence[str],
  prefix: str,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns the measures of each of several labels, intervals of their means, and the predictions.

  Args:
    probabilities: float `[N, L]`.
    labels: int `[N, L]`, 0 or 1.
    names: of the labels.
    prefix: what names of measures begin with.
    resamples, seed, groups: see `measures_of_probabilities`.
  """
  measures: dict[str, Any] = {
    LABELS: [
      {
        "label": name,
        "positive": int(labels[:, place].sum()),
        **label_measures(probabilities[:, place], labels[:, place]),
      }
      for place, name in enumerate(names)
    ]
  }
  if resamples:
    drawn = multi_label_intervals(probabilities, labels, resamples, seed, groups)
    measures[INTERVALS] = {prefix + name: ends for name, ends in drawn.items()}
  return measures | {PREDICTIONS: {"labels": labels, "probabilities": probabilities}}


def all_classes(scores: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
  """Returns probabilities float `[N, count]`, 0 of classes that have no column in scores."""
  probabilities = np.zeros([len(scores), count])
  probabilities[:, classes] = scores
  return probabilities
