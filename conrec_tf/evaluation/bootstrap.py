"""Bootstrap intervals: how far measures would move on another draw of the measured images."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from conrec_tf.evaluation.measures import ranked_columns

LEVEL = 0.95
NUMBERS_AT_ONCE = 2_000_000  # of resampled weights
RANKED_NUMBERS = 200_000_000  # images times classes times resamples, for measures that sort
FEWEST_RESAMPLES = 100

Interval = tuple[float, float]


def bootstrap_intervals(
  probabilities: np.ndarray, labels: np.ndarray, resamples: int, seed: int
) -> dict[str, Interval]:
  """Returns 95 % percentile intervals of top 1 accuracy and of `class_measures`.

  Images are drawn with replacement, as many as there are. For measures that sort images there are
  fewer resamples where images and classes are many. The calibration error has none: that of
  resamples is larger by what is drawn twice.

  Args:
    probabilities: float `[N, K]`.
    labels: int `[N]`.
    resamples: how many.
    seed: fixes the draws.
  """
  count, classes = probabilities.shape
  ranked = int(np.clip(RANKED_NUMBERS // (count * classes), FEWEST_RESAMPLES, resamples))
  found = _collected(
    lambda weights: _weighted_measures(probabilities, labels, weights), count, resamples, seed
  )
  found |= _collected(
    lambda weights: _weighted_ranks(probabilities, labels, weights), count, ranked, seed
  )
  return {name: interval(values) for name, values in found.items() if np.any(~np.isnan(values))}


def kappa_interval(
  labels: np.ndarray, predicted: np.ndarray, classes: int, resamples: int, seed: int
) -> Interval:
  """Returns the 95 % percentile interval of quadratic weighted kappa; see `bootstrap_intervals`."""
  kappa = kappa_of_weights(labels, predicted, classes)
  values = _collected(lambda weights: {"kappa": kappa(weights)}, len(labels), resamples, seed)
  return interval(values["kappa"])


def kappa_of_weights(
  labels: np.ndarray, predicted: np.ndarray, classes: int
) -> Callable[[np.ndarray], np.ndarray]:
  """Returns a function of how often each image counts, `[B, N]`, to quadratic weighted kappa `[B]`.

  Where kappa isn't defined it is 0.
  """
  grades = np.arange(classes)
  penalties = ((grades[:, np.newaxis] - grades) ** 2).astype(float)
  pairs = np.eye(classes**2)[labels * classes + predicted]

  def kappa(weights: np.ndarray) -> np.ndarray:
    counts = (weights @ pairs).reshape(-1, classes, classes)
    chance = counts.sum(2)[:, :, np.newaxis] * counts.sum(1)[:, np.newaxis] / len(labels)
    expected = (chance * penalties).sum((1, 2))
    observed = (counts * penalties).sum((1, 2))
    return np.where(expected > 0, 1 - observed / np.maximum(expected, 1e-12), 0.0)

  return kappa


def multi_label_intervals(
  probabilities: np.ndarray, labels: np.ndarray, resamples: int, seed: int
) -> dict[str, Interval]:
  """Returns 95 % percentile intervals of `multi_label_measures`; see `bootstrap_intervals`."""
  count = int(np.clip(RANKED_NUMBERS // labels.size, FEWEST_RESAMPLES, resamples))
  pairs = [(probabilities[:, place], labels[:, place] == 1) for place in range(labels.shape[1])]
  right = (labels == 1) & (probabilities > 0.5)
  either = (labels == 1) + (probabilities > 0.5).astype(float)

  def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
    positive = weights @ (labels == 1)
    defined = (positive > 0) & (positive < weights.sum(axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):
      f1 = np.where(defined, np.nan_to_num(2 * (weights @ right) / (weights @ either)), np.nan)
    return _mean_ranks(pairs, weights) | {"f1": _mean_of_defined(f1.T)}

  found = _collected(measure, len(labels), count, seed)
  return {name: interval(values) for name, values in found.items() if np.any(~np.isnan(values))}


def auroc_of_weights(
  labels: np.ndarray, probabilities: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
  """Returns a function of how often each image counts, `[B, N]`, to mean area under the ROC curve.

  Args:
    labels: int `[N, L]`, 0 or 1.
    probabilities: float `[N, L]`.
  """
  pairs = [(probabilities[:, place], labels[:, place] == 1) for place in range(labels.shape[1])]
  return lambda weights: np.nan_to_num(_mean_ranks(pairs, weights)["auroc"])


def interval(values: np.ndarray) -> Interval:
  """Returns the central 95 % of resampled values; NaN, where one wasn't defined, doesn't count."""
  low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
  return float(low), float(high)


def _collected(
  measure: Callable[[np.ndarray], dict[str, np.ndarray]], count: int, resamples: int, seed: int
) -> dict[str, np.ndarray]:
  parts = [measure(weights) for weights in resampled(count, resamples, seed)]
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resampled(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
  """Yields how often each image was drawn, float `[resamples of a part, count]`."""
  rng = np.random.default_rng(seed)
  at_once = max(1, NUMBERS_AT_ONCE // count)
  for start in range(0, resamples, at_once):
    yield np.stack(
      [
        np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        for _ in range(min(at_once, resamples - start))
      ]
    )


def _weighted_measures(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns measures that follow from confusions, `[B]` of weights `[B, N]`."""
  classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
  hit = labels == predicted
  true, guessed = (_sums_by_class(weights, column, classes) for column in (labels, predicted))
  right = _sums_by_class(weights[:, hit], labels[hit], classes)
  with np.errstate(invalid="ignore"):
    recalls, f1 = right / true, 2 * right / (true + guessed)
  measures = {
    "top_1_accuracy": right.sum(axis=1) / weights.sum(axis=1),
    "balanced_accuracy": np.nanmean(recalls, axis=1),
    "macro_f1": np.nanmean(f1, axis=1),
  }
  if classes == 2:
    measures |= {"sensitivity": recalls[:, 1], "specificity": recalls[:, 0]}
  return measures


def _sums_by_class(weights: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
  """Returns sums of weights `[B, N]` by class, `[B, classes]`."""
  places = np.arange(len(labels) + 1)
  one_hot = csr_matrix((np.ones(len(labels)), labels, places), (len(labels), classes))
  return (one_hot.T @ weights.T).T


def _weighted_ranks(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns area under the ROC curve and average precision, `[B]` of weights `[B, N]`."""
  columns = ranked_columns(probabilities.shape[1])
  return _mean_ranks([(probabilities[:, column], labels == column) for column in columns], weights)


def _mean_ranks(
  pairs: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns means of both over pairs of scores `[N]` and what is positive, bool `[N]`."""
  values = np.array([_ranks(scores, positive, weights) for scores, positive in pairs])
  return {
    name: _mean_of_defined(values[:, place])
    for place, name in enumerate(("auroc", "average_precision"))
  }


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
  """Returns means over the first axis of what isn't NaN; NaN where all are."""
  undefined = np.all(np.isnan(values), axis=0)
  return np.where(undefined, np.nan, np.nanmean(np.where(undefined, 0.0, values), axis=0))


def _ranks(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns both of one class, `[B]`; NaN where there are only positive or only negative images."""
  order = np.argsort(-scores, kind="stable")
  starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of images with one score
  ordered = weights[:, order]
  hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
  misses = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
  all_hits, all_misses = hits.cumsum(axis=1), misses.cumsum(axis=1)
  with np.errstate(invalid="ignore", divide="ignore"):
    auroc = (misses * (all_hits - hits / 2)).sum(axis=1) / (all_hits[:, -1] * all_misses[:, -1])
    gained = np.nan_to_num(hits * all_hits / (all_hits + all_misses)).sum(axis=1)
    precision = gained / all_hits[:, -1]
  return auroc, np.where(np.isnan(auroc), np.nan, precision)
