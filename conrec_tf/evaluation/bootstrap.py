"""Bootstrap intervals: how far measures would move on another draw of the measured images.

Where images belong together, as those of a patient do, groups are drawn and not images, which would
make intervals far too narrow. As there may be few groups, and percentiles of few are too narrow,
the interval then is that of Student's t, of one degree of freedom less than groups, with the
standard error over resamples. It is taken of the log odds of a number within its range, so that
that of a number near the end of its range is as skewed as it should be.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from conrec_tf.evaluation.measures import confusion_measures, ranked_columns

LEVEL = 0.95
NUMBERS_AT_ONCE = 2_000_000  # of resampled weights
RANKED_NUMBERS = 200_000_000  # images times classes times resamples, for measures that sort
FEWEST_RESAMPLES = 100
SMALLEST = 1e-9  # distance of a number from the ends of its range

Interval = tuple[float, float]
Measures = Callable[[np.ndarray], dict[str, np.ndarray]]  # of weights `[B, N]`, to `[B]` by name


def bootstrap_intervals(
  probabilities: np.ndarray,
  labels: np.ndarray,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Interval]:
  """Returns 95 % intervals of top 1 accuracy and of `class_measures`, percentiles of images.

  Images are drawn with replacement, as many as there are. For measures that sort images there are
  fewer resamples where images and classes are many. The calibration error has none: that of
  resamples is larger by what is drawn twice.

  Args:
    probabilities: float `[N, K]`.
    labels: int `[N]`.
    resamples: how many.
    seed: fixes the draws.
    groups: names of what is drawn in place of images, object `[N]`, or None. Of a single group
      there are no intervals.
  """
  count, classes = probabilities.shape
  ranked = int(np.clip(RANKED_NUMBERS // (count * classes), FEWEST_RESAMPLES, resamples))
  return _intervals(
    lambda weights: confusion_measures(probabilities, labels, weights),
    count,
    resamples,
    seed,
    groups,
  ) | _intervals(
    lambda weights: _weighted_ranks(probabilities, labels, weights), count, ranked, seed, groups
  )


def kappa_interval(
  labels: np.ndarray,
  predicted: np.ndarray,
  classes: int,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> Interval | None:
  """Returns the 95 % interval of quadratic weighted kappa; see `bootstrap_intervals`."""
  kappa = kappa_of_weights(labels, predicted, classes)
  found = _intervals(
    lambda weights: {"kappa": kappa(weights)}, len(labels), resamples, seed, groups, lowest=-1.0
  )
  return found.get("kappa")


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
    total = weights.sum(axis=1)[:, np.newaxis, np.newaxis]
    chance = counts.sum(2)[:, :, np.newaxis] * counts.sum(1)[:, np.newaxis] / total
    expected = (chance * penalties).sum((1, 2))
    observed = (counts * penalties).sum((1, 2))
    return np.where(expected > 0, 1 - observed / np.maximum(expected, 1e-12), 0.0)

  return kappa


def multi_label_intervals(
  probabilities: np.ndarray,
  labels: np.ndarray,
  resamples: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Interval]:
  """Returns 95 % intervals of `multi_label_measures`; see `bootstrap_intervals`."""
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

  return _intervals(measure, len(labels), count, seed, groups)


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


def _intervals(
  measure: Measures,
  count: int,
  resamples: int,
  seed: int,
  groups: np.ndarray | None,
  lowest: float = 0.0,
) -> dict[str, Interval]:
  """Returns the intervals of what `measure` gives where it is defined; it is up to 1."""
  parts = [measure(weights) for weights in resampled(count, resamples, seed, groups)]
  drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  drawn = {name: values for name, values in drawn.items() if np.any(~np.isnan(values))}
  if groups is None:
    return {name: interval(values) for name, values in drawn.items()}
  number = len(set(groups))
  if number < 2:
    return {}
  return {
    name: interval_of_groups(float(value), drawn[name], number, lowest)
    for name, (value,) in measure(np.ones([1, count])).items()
    if name in drawn
  }


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
    count: of the images.
    resamples: how many.
    seed: fixes the draws.
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
