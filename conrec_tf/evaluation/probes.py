"""Classifiers on fixed embeddings: pure functions of arrays, no network, no images.

A split is a pair (embeddings float `[N, F]`, labels int `[N]`).
"""

from collections.abc import Callable, Sequence
import logging
from typing import Any, TypeVar
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conrec_tf.config import UsageError
from conrec_tf.evaluation.logistic_regression import RotatedLogisticRegression

logger = logging.getLogger(__name__)

NEIGHBOURS = 20

Labelled = tuple[np.ndarray, np.ndarray]  # embeddings float [N, F], labels int [N]
Score = TypeVar("Score")


def linear_scores(
  train: Labelled, test: Labelled, standardise: bool = False
) -> tuple[np.ndarray, np.ndarray]:
  """Returns probabilities `[N, K]` of logistic regression with the authors' objective.

  That is the one of scikit-learn's defaults, which `RotatedLogisticRegression` minimises.

  Args:
    train: what it learns from; classes that it doesn't hold get no column.
    test: what it predicts; its labels are unused.
    standardise: whether features get mean 0 and variance 1 over `train` first.

  Returns:
    Probabilities and the class of each column.

  Raises:
    UsageError: the training labels are all alike.
  """
  _check_classes(train[1])
  classifier = _fit(RotatedLogisticRegression(), *train, standardise)
  return classifier.predict_proba(test[0]), classifier.classes_


def top_k_accuracies(
  scores: np.ndarray, classes: np.ndarray, labels: np.ndarray, ks: Sequence[int] = (1, 3, 5)
) -> dict[int, float]:
  """Returns `{k: share of labels among the k highest scores}`, for k below the classes'."""
  ranked = classes[np.argsort(-scores, axis=1, kind="stable")]
  return {
    k: float(np.mean(np.any(ranked[:, :k] == labels[:, np.newaxis], axis=1)))
    for k in ks
    if k < len(classes) or k == 1
  }


def knn_accuracy(train: Labelled, test: Labelled, neighbours: int = NEIGHBOURS) -> float:
  """Returns the accuracy of the majority among the nearest neighbours by cosine."""
  classifier = KNeighborsClassifier(min(neighbours, len(train[1])), metric="cosine")
  return float(classifier.fit(*train).score(*test))


def stratified_subset(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
  """Returns indices of a share of the examples, each class as near to its share as counts allow.

  At least one example of each class, even if that exceeds the fraction.

  Args:
    labels: int `[N]`.
    fraction: in (0, 1].
    rng: draws the examples.
  """
  classes, counts = np.unique(labels, return_counts=True)
  quotas = fraction * counts
  takes = np.maximum(1, np.floor(quotas)).astype(int)
  # Largest remainders first, until the total is right.
  for index in np.argsort(takes - quotas, kind="stable"):
    if takes.sum() >= round(fraction * len(labels)):
      break
    takes[index] += takes[index] < counts[index]
  chosen = [
    rng.permutation(np.flatnonzero(labels == name))[:take] for name, take in zip(classes, takes)
  ]
  return np.sort(np.concatenate(chosen))


def label_fraction_curve(
  score: Callable[[Labelled], float],
  train: Labelled,
  fractions: Sequence[float],
  repetitions: int,
  seed: int,
) -> list[dict[str, Any]]:
  """Measures how a score grows with the number of labels (paper, Figure 2).

  Args:
    score: function of a training split.
    train: the whole training split.
    fractions: shares in (0, 1].
    repetitions: random subsets of each; the whole is measured once.
    seed: fixes the subsets, which so are the same for every method.

  Returns:
    A list of `{fraction, labels, repetitions, mean, std}`.
  """
  rows = []
  for fraction in fractions:
    scores = []
    for repetition in range(repetitions if fraction < 1 else 1):
      rng = np.random.default_rng([seed, repetition, round(1e6 * fraction)])
      chosen = stratified_subset(train[1], fraction, rng)
      scores.append(score((train[0][chosen], train[1][chosen])))
    if len(chosen) > round(fraction * len(train[1])):
      logger.info(
        "Label fraction %g has %d labels instead of %d, one for each class at least",
        fraction,
        len(chosen),
        round(fraction * len(train[1])),
      )
    rows.append(
      {
        "fraction": fraction,
        "labels": len(chosen),
        "repetitions": len(scores),
        "mean": float(np.mean(scores)),
        "std": float(np.std(scores)),
      }
    )
  return rows


def cumulative_bits(grades: np.ndarray, count: int) -> np.ndarray:
  """Returns grades int `[N]` as bits `[N, count]`: grade g is g + 1 ones, then zeros."""
  return (np.arange(count) <= np.asarray(grades)[:, np.newaxis]).astype(int)


def decode_bits(probabilities: np.ndarray) -> np.ndarray:
  """Returns grades int `[N]` from probabilities `[N, count]`: those over 0.5, less 1."""
  return np.maximum((np.asarray(probabilities) > 0.5).sum(axis=1) - 1, 0)


def ordinal_scores(
  train: Labelled, test: Labelled, count: int, standardise: bool = False
) -> np.ndarray:
  """Returns probabilities `[N, count]` of cumulative bits, by one-vs-rest logistic regression.

  As the authors: the objective and the bits are theirs, and raw embeddings.
  """
  _check_classes(train[1])
  with warnings.catch_warnings():
    # The first bit is always set; scikit-learn says so each time.
    warnings.filterwarnings("ignore", "Label .* is present in all training examples")
    warnings.filterwarnings("ignore", "Label not .* is present in all training examples")
    classifier = _fit(
      OneVsRestClassifier(RotatedLogisticRegression()),
      train[0],
      cumulative_bits(train[1], count),
      standardise,
    )
  return classifier.predict_proba(test[0])


def ordinal_predictions(
  train: Labelled, test: Labelled, count: int, standardise: bool = False
) -> np.ndarray:
  """Returns the grades int `[N]` that `ordinal_scores` decode to."""
  return decode_bits(ordinal_scores(train, test, count, standardise))


def quadratic_weighted_kappa(labels: np.ndarray, predictions: np.ndarray, count: int) -> float:
  """Returns Cohen's kappa with quadratic weights, in [-1, 1]; 0, with a warning, if not defined."""
  if len(np.unique(np.concatenate([labels, predictions]))) < 2:
    logger.warning("Quadratic weighted kappa isn't defined when all grades are alike; taken as 0")
    return 0.0
  return float(cohen_kappa_score(labels, predictions, labels=range(count), weights="quadratic"))


def cross_validate(
  score: Callable[[Labelled, Labelled], Score], split: Labelled, folds: int, seed: int
) -> list[Score]:
  """Returns scores over plain shuffled folds, which are the same for every method.

  Args:
    score: function of (training split, held-out split).
    split: all examples.
    folds: at least 2.
    seed: fixes the folds.

  Raises:
    UsageError: there are more folds than examples.
  """
  embeddings, labels = split
  if folds > len(labels):
    raise UsageError(
      f"cv_folds must be at most {len(labels)}, the labelled images. Received: {folds}"
    )
  classes, counts = np.unique(labels, return_counts=True)
  if counts.min() < folds:
    logger.warning(
      "Class %d has %d images, fewer than the %d folds: some folds lack it",
      classes[np.argmin(counts)],
      counts.min(),
      folds,
    )
  splits = KFold(folds, shuffle=True, random_state=seed).split(embeddings)
  return [
    score((embeddings[train], labels[train]), (embeddings[held], labels[held]))
    for train, held in splits
  ]


def _check_classes(labels: np.ndarray) -> None:
  if len(np.unique(labels)) < 2:
    raise UsageError(
      "training labels must be of at least two classes for linear evaluation. Received: 1"
    )


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
