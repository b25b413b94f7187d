"""Classifiers on fixed embeddings: pure functions of arrays, no network, no images.

A split is a pair (embeddings float `[N, F]`, labels int `[N]`).
"""

from collections.abc import Callable
import dataclasses
import functools
import logging
import math
from typing import Any, TypeVar
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from conrec_tf.data.files.groups import check_folds, group_folds
from conrec_tf.data.records import evenly_over
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.logistic_regression import (
  CERTAIN,
  LinearClassifier,
  RotatedLogisticRegression,
)

logger = logging.getLogger(__name__)

MOST_KNOWN = 10_000  # images; their embeddings then take some MB
SHARE_UNLIKE = 0.01  # of the images that were learnt from, which look unlike the others
IMAGES_AT_ONCE = 1024

Labelled = tuple[np.ndarray, np.ndarray]  # embeddings float [N, F], labels int [N]
Score = TypeVar("Score")


def class_classifier(
  train: Labelled, count: int, standardise: bool = False, strength: float = 1.0
) -> LinearClassifier:
  """Returns logistic regression with the authors' objective, of one class of each image.

  That is the one of scikit-learn's defaults, which `RotatedLogisticRegression` minimises.

  Args:
    train: what it learns from; classes that it doesn't hold get probability 0.
    count: how many classes there are.
    standardise: whether features get mean 0 and variance 1 over `train` first.
    strength: scikit-learn's C, what examples count against the penalty on weights.

  Raises:
    UsageError: the training labels are all alike.
  """
  _check_classes(train[1])
  scaler, features = _scaled(train[0], standardise)
  learnt = _fit(RotatedLogisticRegression(C=strength), features, train[1])
  free = learnt.classes_[-len(learnt.coef_) :]  # of two classes the first has logit 0
  weights, bias = np.zeros([features.shape[1], count]), np.full(count, -CERTAIN)
  bias[learnt.classes_] = 0.0
  weights[:, free], bias[free] = learnt.coef_.T, learnt.intercept_
  return LinearClassifier(weights, bias, *scaler, excludes=True)


def label_classifier(
  train: Labelled, standardise: bool = False, strength: float = 1.0
) -> LinearClassifier:
  """Returns a logistic regression for each of several labels; see `class_classifier`.

  A label that all or none of the training images have gets probability 1 or 0.

  Args:
    train: what they learn from; labels are 0 or 1, `[M, L]`.
  """
  scaler, features = _scaled(train[0], standardise)
  bits = np.asarray(train[1])
  weights, bias = np.zeros([features.shape[1], bits.shape[1]]), np.zeros(bits.shape[1])
  for place, column in enumerate(bits.T):
    if column.min() == column.max():
      bias[place] = CERTAIN if column[0] else -CERTAIN
      continue
    learnt = _fit(RotatedLogisticRegression(C=strength), features, column)
    weights[:, place], bias[place] = learnt.coef_[0], learnt.intercept_[0]
  return LinearClassifier(weights, bias, *scaler, excludes=False)


def grade_classifier(
  train: Labelled, count: int, standardise: bool = False, strength: float = 1.0
) -> LinearClassifier:
  """Returns one-vs-rest logistic regression of cumulative bits `[N, count]`.

  As the authors: the objective and the bits are theirs, and raw embeddings.

  Raises:
    UsageError: the training labels are all alike.
  """
  _check_classes(train[1])
  return label_classifier((train[0], cumulative_bits(train[1], count)), standardise, strength)


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


@dataclasses.dataclass(frozen=True, eq=False)
class KnownImages:
  """Images that a classifier learnt from, to tell how far others lie from them.

  A distance is the root mean square over features of differences in deviations.

  Attributes:
    vectors: their standardised embeddings, float16 `[M, F]`.
    names: `[M]`, texts; places in the split where images have no names.
    mean, deviation: float `[F]`, what embeddings are standardised by.
  """

  vectors: np.ndarray
  names: np.ndarray
  mean: np.ndarray
  deviation: np.ndarray

  @classmethod
  def of_embeddings(cls, embeddings: np.ndarray, names: np.ndarray) -> "KnownImages":
    """Keeps at most `MOST_KNOWN` images, evenly over embeddings float `[N, F]` and their names."""
    (mean, deviation), scaled = _scaled(embeddings, standardise=True)
    kept = evenly_over(len(embeddings), MOST_KNOWN)
    texts = np.array([str(name) for name in names[kept]])
    return cls(scaled[kept].astype(np.float16), texts, mean, deviation)

  @classmethod
  def none(cls, mean: np.ndarray, deviation: np.ndarray) -> "KnownImages":
    """Returns no images; all that is known is what embeddings are standardised by."""
    return cls(np.empty([0, len(mean)], np.float16), np.empty(0, "<U1"), mean, deviation)

  def nearest(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance of embeddings float `[N, F]` to the nearest image, and which it is.

    These are float32 and int, `[N]`.

    Raises:
      ValueError: there is none.
    """
    scaled = (embeddings - self.mean) / self.deviation
    return self._nearest(scaled.astype(np.float32), leave_out=False)

  @functools.cached_property
  def limit(self) -> float:
    """The distance beyond which an image looks like none of these.

    It is the 99th percentile of the distances of these images to the nearest other one.
    """
    if len(self.vectors) < 2:
      return math.inf
    distances, _ = self._nearest(self.vectors.astype(np.float32), leave_out=True)
    return float(np.percentile(distances, 100 * (1 - SHARE_UNLIKE)))

  def _nearest(self, asked: np.ndarray, leave_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns `nearest` of standardised embeddings; or leaves out, of these, the image itself."""
    known = self.vectors.astype(np.float32)
    squares, width = np.sum(known**2, axis=1), known.shape[1]
    distances, places = np.empty(len(asked), np.float32), np.empty(len(asked), int)
    for start in range(0, len(asked), IMAGES_AT_ONCE):
      part = asked[start : start + IMAGES_AT_ONCE]
      scores = squares - 2.0 * (part @ known.T)
      if leave_out:
        rows = np.arange(len(part))
        scores[rows, start + rows] = np.inf
      nearest = scores.argmin(axis=1)
      # Exactly: of an image that is known itself the difference of large numbers isn't 0.
      differences = part - known[nearest]
      distances[start : start + len(part)] = np.sqrt(np.sum(differences**2, axis=1) / width)
      places[start : start + len(part)] = nearest
    return distances, places


def _voters(count: int, neighbours: int, temperature: float) -> dict[str, Any]:
  """Returns scikit-learn's arguments: how many of `count` vote, and with what weights."""

  def weights(distances: np.ndarray) -> np.ndarray:
    return np.exp((distances.min(axis=1, keepdims=True) - distances) / temperature)

  return {
    "n_neighbors": min(neighbours, count),
    "weights": weights if temperature else "uniform",
    "metric": "cosine",
  }


def cumulative_bits(grades: np.ndarray, count: int) -> np.ndarray:
  """Returns grades int `[N]` as bits `[N, count]`: grade g is g + 1 ones, then zeros."""
  return (np.arange(count) <= np.asarray(grades)[:, np.newaxis]).astype(int)


def decode_bits(probabilities: np.ndarray) -> np.ndarray:
  """Returns grades int `[N]` from probabilities `[N, count]`: those over 0.5, less 1."""
  return np.maximum((np.asarray(probabilities) > 0.5).sum(axis=1) - 1, 0)


def grade_probabilities(probabilities: np.ndarray, grades: np.ndarray) -> np.ndarray:
  """Returns the probability of a grade for each image, float `[N]`: what two bits differ by.

  Bits are learnt one by one, so that a higher one may be the likelier; they are put in order, which
  leaves the grade as it is, and the probabilities of all grades a sum of 1 (rearrangement,
  Chernozhukov et al. 2010).

  Args:
    probabilities: float `[N, count]`, of cumulative bits; the first is set whatever the grade.
    grades: int `[N]`.
  """
  falling = -np.sort(-probabilities[:, 1:], axis=1)
  above = np.pad(falling, [(0, 0), (1, 1)], constant_values=[(0, 0), (1, 0)])
  rows = np.arange(len(grades))
  return above[rows, grades] - above[rows, grades + 1]


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
  labels: np.ndarray, folds: int, seed: int, groups: np.ndarray | None
) -> list[np.ndarray]:
  """Returns which examples each fold holds out, bool `[N]`: plain shuffled folds, as the authors.

  Args:
    labels: int `[N]`, or `[N, L]` of several labels.
    folds: at least 2.
    groups: object `[N]`, each in one fold, or None; see `group_folds`.

  Raises:
    UsageError: there are more folds than examples, or groups.
  """
  check_folds(folds, len(labels), "the labelled images")
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


def _scaled(
  features: np.ndarray, standardise: bool
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
  """Returns what features are standardised by, mean and deviation, and these features."""
  width = features.shape[1]
  if not standardise:
    return (np.zeros(width), np.ones(width)), features
  scaler = StandardScaler().fit(features)
  return (scaler.mean_, scaler.scale_), scaler.transform(features)


def _fit(
  classifier: RotatedLogisticRegression, features: np.ndarray, targets: np.ndarray
) -> RotatedLogisticRegression:
  """Fits a classifier, and says in one line when the solver didn't converge."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    classifier.fit(features, targets)
  if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
    logger.warning("Linear evaluation did not converge; its score may be too low")
  return classifier
