"""Classifiers on fixed embeddings: pure functions of arrays, no network, no images.

A split is a pair (embeddings float `[N, F]`, labels int `[N]`).
"""

from collections.abc import Callable
import logging
from typing import Any, TypeVar
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conrec_tf.data.files.groups import group_folds
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.logistic_regression import RotatedLogisticRegression

logger = logging.getLogger(__name__)

Labelled = tuple[np.ndarray, np.ndarray]  # embeddings float [N, F], labels int [N]
Score = TypeVar("Score")


def linear_scores(
  train: Labelled, test: Labelled, standardise: bool = False, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
  """Returns probabilities `[N, K]` of logistic regression with the authors' objective.

  That is the one of scikit-learn's defaults, which `RotatedLogisticRegression` minimises.

  Args:
    train: what it learns from; classes that it doesn't hold get no column.
    test: what it predicts; its labels are unused.
    standardise: whether features get mean 0 and variance 1 over `train` first.
    strength: scikit-learn's C, what examples count against the penalty on weights.

  Returns:
    Probabilities and the class of each column.

  Raises:
    UsageError: the training labels are all alike.
  """
  _check_classes(train[1])
  classifier = _fit(RotatedLogisticRegression(C=strength), *train, standardise)
  return classifier.predict_proba(test[0]), classifier.classes_


def knn_accuracy(
  train: Labelled, test: Labelled, neighbours: int = 20, temperature: float = 0.0
) -> float:
  """Returns the accuracy of the vote of the nearest neighbours by cosine.

  Args:
    neighbours: how many vote; all of `train` if it is smaller.
    temperature: of votes that weigh exp(cosine / temperature) (arXiv 1805.01978); 0: all votes
      weigh the same.
  """
  voters = _voters(len(train[1]), neighbours, temperature)
  return float(KNeighborsClassifier(**voters).fit(*train).score(*test))


def neighbour_shares(
  train: Labelled, embeddings: np.ndarray, neighbours: int, temperature: float
) -> np.ndarray:
  """Returns the share of votes for each of several labels, float `[N, L]`; see `knn_accuracy`."""
  voters = _voters(len(train[1]), neighbours, temperature)
  return KNeighborsRegressor(**voters).fit(*train).predict(embeddings)


def _voters(count: int, neighbours: int, temperature: float) -> dict[str, Any]:
  """Returns scikit-learn's arguments: how many of `count` vote, and with what weights."""

  def weights(distances: np.ndarray) -> np.ndarray:
    return np.exp((distances.min(axis=1, keepdims=True) - distances) / temperature)

  return {
    "n_neighbors": min(neighbours, count),
    "weights": weights if temperature else "uniform",
    "metric": "cosine",
  }


def multi_label_scores(
  train: Labelled, test: Labelled, standardise: bool = False, strength: float = 1.0
) -> np.ndarray:
  """Returns probabilities `[N, L]` of several labels, by a logistic regression for each.

  A label that all or none of the training images have gets probability 1 or 0.

  Args:
    train: what they learn from; labels are 0 or 1, `[M, L]`.
    test: what they predict; its labels are unused.
  """
  return _one_against_rest(*train, standardise, strength).predict_proba(test[0])


def cumulative_bits(grades: np.ndarray, count: int) -> np.ndarray:
  """Returns grades int `[N]` as bits `[N, count]`: grade g is g + 1 ones, then zeros."""
  return (np.arange(count) <= np.asarray(grades)[:, np.newaxis]).astype(int)


def decode_bits(probabilities: np.ndarray) -> np.ndarray:
  """Returns grades int `[N]` from probabilities `[N, count]`: those over 0.5, less 1."""
  return np.maximum((np.asarray(probabilities) > 0.5).sum(axis=1) - 1, 0)


def grade_probabilities(probabilities: np.ndarray, grades: np.ndarray) -> np.ndarray:
  """Returns the probability of a grade for each image, float `[N]`: what two bits differ by.

  Args:
    probabilities: float `[N, count]`, of cumulative bits; the first is set whatever the grade.
    grades: int `[N]`.
  """
  above = np.pad(probabilities[:, 1:], [(0, 0), (1, 1)], constant_values=[(0, 0), (1, 0)])
  rows = np.arange(len(grades))
  return np.clip(above[rows, grades] - above[rows, grades + 1], 0.0, 1.0)


def ordinal_scores(
  train: Labelled,
  test: Labelled,
  count: int,
  standardise: bool = False,
  strength: float = 1.0,
) -> np.ndarray:
  """Returns probabilities `[N, count]` of cumulative bits, by one-vs-rest logistic regression.

  As the authors: the objective and the bits are theirs, and raw embeddings.
  """
  _check_classes(train[1])
  bits = cumulative_bits(train[1], count)
  return _one_against_rest(train[0], bits, standardise, strength).predict_proba(test[0])


def cross_validate(
  score: Callable[[Labelled, Labelled], Score],
  split: Labelled,
  folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> list[Score]:
  """Returns scores over the folds of `evaluation_folds`, which are the same for every method.

  Args:
    score: function of (training split, held-out split).

  Raises:
    UsageError: there are more folds than examples, or groups.
  """
  embeddings, labels = split
  return [
    score((embeddings[~held], labels[~held]), (embeddings[held], labels[held]))
    for held in evaluation_folds(labels, folds, seed, groups)
  ]


def evaluation_folds(
  labels: np.ndarray, folds: int, seed: int, groups: np.ndarray | None = None
) -> list[np.ndarray]:
  """Returns which examples each fold holds out, bool `[N]`: plain shuffled folds, as the authors.

  Args:
    labels: int `[N]`, or `[N, L]` of several labels.
    folds: at least 2.
    groups: object `[N]`, each in one fold, or None; see `group_folds`.

  Raises:
    UsageError: there are more folds than examples, or groups.
  """
  if folds > len(labels):
    raise UsageError(
      f"cv_folds must be at most {len(labels)}, the labelled images. Received: {folds}"
    )
  classes, counts = np.unique(labels, return_counts=True)
  if labels.ndim == 1 and counts.min() < folds:
    logger.warning(
      "Class %d has %d images, fewer than the %d folds: some folds lack it",
      classes[np.argmin(counts)],
      counts.min(),
      folds,
    )
  if groups is not None:
    fold_of = group_folds(labels, groups, folds, seed)
    return [fold_of == fold for fold in range(folds)]
  everything = np.arange(len(labels))
  splits = KFold(folds, shuffle=True, random_state=seed).split(everything)
  return [np.isin(everything, held) for _, held in splits]


def _check_classes(labels: np.ndarray) -> None:
  if len(np.unique(labels)) < 2:
    raise UsageError(
      "training labels must be of at least two classes for linear evaluation. Received: 1"
    )


def _one_against_rest(
  features: np.ndarray, bits: np.ndarray, standardise: bool, strength: float
) -> Any:
  """Fits a logistic regression for each column of bits, int `[N, L]`."""
  with warnings.catch_warnings():
    # Of columns that are all alike, as the first of grades is, scikit-learn says so each time.
    warnings.filterwarnings("ignore", "Label .* is present in all training examples")
    warnings.filterwarnings("ignore", "Label not .* is present in all training examples")
    classifier = OneVsRestClassifier(RotatedLogisticRegression(C=strength))
    return _fit(classifier, features, bits, standardise)


def _fit(
  classifier: Any, features: np.ndarray, targets: np.ndarray, standardise: bool = False
) -> Any:
  """Fits a classifier, and says in one line when the solver didn't converge."""
  if standardise:
    classifier = make_pipeline(StandardScaler(), classifier)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    classifier.fit(features, targets)
  if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
    logger.warning("Linear evaluation did not converge; its score may be too low")
  return classifier
