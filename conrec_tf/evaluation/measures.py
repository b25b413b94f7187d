"""Measures of a classifier's predictions, and their 95 % intervals.

A measure is one function of outputs, labels and how often each image counts, float `[B, N]`. It
returns numbers `[B]` by name, NaN where one isn't defined: weights of 1 give the number itself,
bootstrap resamples of the images its interval, which says how far it would move on another draw of
them. Means over classes are over those that the weighted images have, as others have no recall.

Where images belong together, as those of a patient do, groups are drawn and not images, which would
make intervals far too narrow. As there may be few groups, and percentiles of few are too narrow,
the interval then is that of Student's t, of one degree of freedom less than groups, with the
standard error over resamples. It is taken of the log odds of a number within its range, so that
that of a number near the end of its range is as skewed as it should be.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import logging

import numpy as np
from scipy import stats
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)

# From outputs [N, ...], labels [N] or [N, L], and weights [B, N] to numbers [B] by name.
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
Interval = tuple[float, float]

OF_CLASS = {"sensitivity": 1, "specificity": 0}  # whose images alone count
LOWEST = {"quadratic_weighted_kappa": -1.0}  # a number may be, where that isn't 0; the highest is 1
# Resamples have a larger calibration error, by what is drawn twice.
WITHOUT_INTERVAL = ("top_3_accuracy", "top_5_accuracy", "calibration_error")
BINS = 15  # of confidence, in the calibration error
LEVEL = 0.95
NUMBERS_AT_ONCE = 2_000_000  # of resampled weights
RANKED_NUMBERS = 200_000_000  # images times classes times resamples, for measures that sort
FEWEST_RESAMPLES = 100
SMALLEST = 1e-9  # distance of a number from the ends of its range


def accuracies(
  scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, ks: Sequence[int] = (1, 3, 5)
) -> dict[str, np.ndarray]:
  """Returns shares of labels among the k highest scores, for k below the classes'.

  Args:
    scores: float `[N, K]`.
    labels: int `[N]` in [0, K).
    weights: how often each image counts, float `[B, N]`.
    ks: 1, which is always there, and others.
  """
  classes = scores.shape[1]
  own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
  earlier = np.arange(classes) < labels[:, np.newaxis]
  rank = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
  total = weights.sum(axis=1)
  return {f"top_{k}_accuracy": weights @ (rank < k) / total for k in ks if k < classes or k == 1}


def confusion_measures(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns the mean recall of classes and their mean F1; see `accuracies`."""
  classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
  hit = labels == predicted
  true, guessed = (_sums_by_class(weights, column, classes) for column in (labels, predicted))
  right = _sums_by_class(weights[:, hit], labels[hit], classes)
  with np.errstate(invalid="ignore"):
    recalls = right / true
    f1 = np.where(true > 0, 2 * right / (true + guessed), np.nan)
  return {"balanced_accuracy": np.nanmean(recalls, axis=1), "macro_f1": np.nanmean(f1, axis=1)}


def binary_measures(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns sensitivity, the recall of the second of two classes, and specificity; else nothing."""
  if probabilities.shape[1] != 2:
    return {}
  hit = labels == probabilities.argmax(axis=1)
  with np.errstate(invalid="ignore"):
    recalls = _sums_by_class(weights[:, hit], labels[hit], 2) / _sums_by_class(weights, labels, 2)
  return {"sensitivity": recalls[:, 1], "specificity": recalls[:, 0]}


def rank_measures(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns area under the ROC curve and average precision; see `accuracies`.

  They are those of the second of two classes, else means over one class against the rest.
  """
  classes = probabilities.shape[1]
  columns = [1] if classes == 2 else range(classes)
  rows = [_ranks(probabilities[:, column], labels == column, weights) for column in columns]
  return {
    name: _mean_of_defined(np.array(values))
    for name, values in zip(("auroc", "average_precision"), zip(*rows, strict=True), strict=True)
  }


def calibration_error(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns the expected calibration error (arXiv 1706.04599, equation 5); see `accuracies`."""
  confidence = probabilities.max(axis=1)
  surplus = confidence - (probabilities.argmax(axis=1) == labels)
  bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
  errors = np.abs(_sums_by_class(weights * surplus, bins, BINS)).sum(axis=1)
  return {"calibration_error": errors / weights.sum(axis=1)}


def quadratic_weighted_kappa(
  grades: np.ndarray, labels: np.ndarray, weights: np.ndarray, count: int
) -> np.ndarray:
  """Returns Cohen's kappa with quadratic weights, `[B]` in [-1, 1].

  It has none where all grades, true and predicted, are one: 0 of all images, NaN of a resample.

  Args:
    grades: predicted, int `[N]` in [0, count).
    labels: int `[N]`, likewise.
    count: of the grades.
  """
  penalties = ((np.arange(count)[:, np.newaxis] - np.arange(count)) ** 2).astype(float)
  pairs = _sums_by_class(weights, labels * count + grades, count**2).reshape(-1, count, count)
  total = weights.sum(axis=1)[:, np.newaxis, np.newaxis]
  chance = pairs.sum(2)[:, :, np.newaxis] * pairs.sum(1)[:, np.newaxis] / total
  expected, observed = ((each * penalties).sum((1, 2)) for each in (chance, pairs))
  of_all = np.all(weights == 1.0, axis=1)
  if np.any(of_all & (expected == 0)):
    logger.warning("Quadratic weighted kappa isn't defined when all grades are alike; taken as 0")
  undefined = np.where(of_all, 0.0, np.nan)
  return np.where(expected > 0, 1 - observed / np.maximum(expected, 1e-12), undefined)


def label_measures(
  scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns area under the ROC curve, average precision and F1 at 0.5 of each label, `[L, B]`.

  Nothing is defined of a label that all or none of the weighted images have.

  Args:
    scores: float `[N, L]`, in [0, 1].
    labels: int `[N, L]`, 0 or 1.
  """
  rows = []
  for score, has_label in zip(scores.T, labels.T == 1, strict=True):
    area, precision = _ranks(score, has_label, weights)
    predicted = score > 0.5
    right, either = weights @ (has_label & predicted), weights @ (has_label + predicted.astype(int))
    f1 = np.where(np.isnan(area), np.nan, 2 * right / np.maximum(either, 1))
    rows.append((area, precision, f1))
  names = ("auroc", "average_precision", "f1")
  return {
    name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
  }


def multi_label_measures(
  scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns means of `label_measures` over the labels where they are defined.

  Raises:
    UsageError: they are for none.
  """
  if not np.any(labels.min(axis=0) < labels.max(axis=0)):
    raise UsageError(
      "eval_split must have images with and without some label. "
      f"Received: {len(labels)} images that are all alike"
    )
  found = label_measures(scores, labels, weights)
  return {name: _mean_of_defined(values) for name, values in found.items()}


SORTING = (rank_measures, multi_label_measures)  # which take long for many images and classes


def numbers(
  measures: Iterable[Measure], outputs: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
  """Returns the numbers of measures, by name, without those that aren't defined."""
  return {
    name: float(value)
    for measure in measures
    for name, (value,) in measure(outputs, labels, np.ones([1, len(labels)])).items()
    if not np.isnan(value)
  }


def intervals(
  measures: Iterable[Measure],
  outputs: np.ndarray,
  labels: np.ndarray,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Interval]:
  """Returns 95 % intervals of measures, by name: percentiles over resamples of the images.

  Images are drawn with replacement, as many as there are. For measures that sort images there are
  fewer resamples where images and classes are many.

  Args:
    outputs: of the images, as measures take them.
    labels: likewise.
    groups: names of what is drawn in place of images, object `[N]`, or None. Of a single group
      there are no intervals. For a measure of one class the groups that have it count.
  """
  found: dict[str, Interval] = {}
  for measure in measures:
    most = resamples
    if measure in SORTING:
      most = int(np.clip(RANKED_NUMBERS // outputs.size, FEWEST_RESAMPLES, resamples))
    parts = [
      measure(outputs, labels, weights) for weights in resampled(len(labels), most, seed, groups)
    ]
    whole = {} if groups is None else numbers([measure], outputs, labels)
    for name in parts[0]:
      drawn = np.concatenate([part[name] for part in parts])
      if name in WITHOUT_INTERVAL or np.isnan(drawn).all():
        continue
      if groups is None:
        found[name] = interval(drawn)
        continue
      counted = groups[labels == OF_CLASS[name]] if name in OF_CLASS else groups
      if (number := len(set(counted))) > 1 and np.isfinite(drawn).sum() > 1:
        found[name] = interval_of_groups(whole[name], drawn, number, LOWEST.get(name, 0.0))
  return found


def interval(values: np.ndarray) -> Interval:
  """Returns the central 95 % of resampled values; NaN, where one wasn't defined, doesn't count."""
  low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
  return float(low), float(high)


def interval_of_groups(value: float, drawn: np.ndarray, number: int, lowest: float) -> Interval:
  """Returns the 95 % interval of a number by its values on resamples of groups.

  Args:
    value: the number, from `lowest` to 1.
    drawn: its values, `[B]`; NaN, where one wasn't defined, doesn't count.
    number: of the groups, at least 2.
    lowest: that it may be.
  """
  deviation = float(np.nanstd(drawn, ddof=1) * np.sqrt(variance_correction(number)))
  if not deviation:
    return value, value
  width = 1.0 - lowest
  odds = np.clip((value - lowest) / width, SMALLEST, 1 - SMALLEST)
  error = deviation / width / (odds * (1 - odds))
  reach = stats.t(number - 1).ppf((1 + LEVEL) / 2) * error
  low, high = lowest + width * expit(logit(odds) + np.array([-reach, reach]))
  return float(low), float(high)


def variance_correction(number: int) -> float:
  """Returns by what the variance over resamples of so many groups is too small."""
  return number / (number - 1)


def resampled(
  count: int, resamples: int, seed: int, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
  """Yields how often each image was drawn, float `[resamples of a part, count]`.

  Args:
    groups: names of what is drawn in place of images, object `[count]`, or None.
  """
  rng = np.random.default_rng(seed)
  at_once = max(1, NUMBERS_AT_ONCE // count)
  units, unit_of = count, None
  if groups is not None:
    names, unit_of = np.unique(groups.astype(str), return_inverse=True)
    units = len(names)
  for start in range(0, resamples, at_once):
    drawn = np.stack(
      [
        np.bincount(rng.integers(0, units, units), minlength=units).astype(np.float64)
        for _ in range(min(at_once, resamples - start))
      ]
    )
    yield drawn if unit_of is None else drawn[:, unit_of]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
  """Returns the mean and the standard deviation of a sample, with n - 1; that of one value is 0."""
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return float(np.mean(values)), deviation


def _sums_by_class(weights: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
  """Returns sums of weights `[B, N]` by class, `[B, classes]`."""
  starts = np.arange(len(labels) + 1)
  one_hot = csr_matrix((np.ones(len(labels)), labels, starts), (len(labels), classes))
  return (one_hot.T @ weights.T).T


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
  """Returns means over the first axis of what isn't NaN; NaN where all are."""
  undefined = np.all(np.isnan(values), axis=0)
  return np.where(undefined, np.nan, np.nanmean(np.where(undefined, 0.0, values), axis=0))


def _ranks(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns area under the ROC curve and average precision, `[B]` each.

  They are NaN where there are only positive or only negative images.

  Args:
    scores: float `[N]`.
    positive: bool `[N]`.
  """
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
