"""Tests if two methods differ by more than noise: paired, over images and trainings."""

from collections.abc import Callable, Sequence
import dataclasses
import math

import numpy as np
from scipy import stats

from conrec_tf.evaluation.measures import (
  LEVEL,
  multi_label_measures,
  quadratic_weighted_kappa,
  resampled,
  variance_correction,
)

RESAMPLES = 2000

# From how often each image counts, float [B, N], to a measure of one training, [B]; NaN where a
# resample has none.
Measure = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Spread:
  """What makes a difference vary, as variances.

  Attributes:
    units: how many images were measured, or groups of them.
    of_units: over resamples of them.
    added: of the disagreements that are added.
    others: `(variance, its degrees of freedom)` of trainings, and of what classifiers learnt from.
  """

  units: int
  of_units: float
  added: float
  others: tuple[tuple[float, int], ...]

  def error(self, times: float = 1.0) -> tuple[float, float]:
    """Returns the standard error of the difference, and its degrees of freedom.

    Args:
      times: how many times the units there would be, as much alike.
    """
    of_units = self.of_units / times + self.added / times**2
    parts = [(of_units, self.units * times - 1), *self.others]
    variance = sum(part for part, _ in parts)
    if not variance:
      return 0.0, math.inf
    return math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)

  def half_width(self, level: float, times: float = 1.0) -> float:
    """Returns half of the width of the interval of a level; see `error`."""
    error, freedom = self.error(times)
    return float(stats.t(freedom).ppf((1 + level) / 2) * error)


@dataclasses.dataclass(frozen=True)
class Difference:
  """The difference of two methods.

  Attributes:
    value: the difference of the means over trainings.
    interval: of 95 % unless asked otherwise, (low, high), no wider than differences may be.
    p_value: of as large a difference either way, were there none.
    varies_by_training: whether how far trainings of a method differ is in interval and p value;
      with a single training of each it can't be.
    spread: what it varies by; None of a single group, of which nothing is known.
  """

  value: float
  interval: tuple[float, float]
  p_value: float
  varies_by_training: bool
  spread: Spread | None = None

  @property
  def verdict(self) -> str:
    """The verdict on the first method: ahead, behind, or within noise."""
    low, high = self.interval
    return "ahead" if low > 0 else "behind" if high < 0 else "within noise"


def compare(
  first: Sequence[np.ndarray],
  second: Sequence[np.ndarray],
  labels: np.ndarray,
  *,
  grades: int = 0,
  groups: np.ndarray | None = None,
  resamples: int = RESAMPLES,
  seed: int = 0,
  level: float = LEVEL,
  added_disagreements: float = 0.0,
) -> Difference:
  """Compares the predictions of two methods for the same images.

  Two things vary: which images were measured, and how a training went. The variance of the
  difference is the sum of both: that over bootstrap resamples of the images, the same for all
  trainings, and the variances among either method's trainings, each over their number. The interval
  is that of Student's t, with Welch's and Satterthwaite's degrees of freedom. A method with one
  training is taken to vary as much as the other. Where images belong together, as those of a
  patient do, groups are drawn and not images; of a single group nothing follows. Where each
  training has predictions of several classifiers, that learnt from the same subsets of the labels
  on either side, how far the differences of the subsets vary is a third part.

  Args:
    first: int `[N]` predictions of each training of one method, or `[R, N]` of R subsets; of
      several labels probabilities float `[N, L]` or `[R, N, L]`, which are compared by mean area
      under the ROC curve.
    second: the same of the other method.
    labels: int `[N]`, true; of several labels 0 or 1, `[N, L]`.
    grades: how many there are, for quadratic weighted kappa; 0 for accuracy.
    groups: names of what images belong together by, object `[N]`, or None.
    resamples: of the images, or groups.
    seed: fixes the resamples.
    level: of the interval.
    added_disagreements: images, or groups, that are taken to be judged differently beside those
      that are: as many would move the difference either way (Agresti and Min, 2005, take one).
      Without any, two methods that judge a few images alike would have an interval without width.
  """
  sides = [
    [[measure_of(one, labels, grades) for one in each.reshape(-1, *labels.shape)] for each in side]
    for side in (first, second)
  ]
  whole = np.ones([1, len(labels)])
  of_subsets = [
    np.array([[measure(whole)[0] for measure in training] for training in side]) for side in sides
  ]
  values = [side.mean(axis=1) for side in of_subsets]
  difference = float(values[0].mean() - values[1].mean())
  widest = 2.0 if grades else 1.0  # kappas may be 2 apart
  units = len(labels) if groups is None else len(set(groups))
  if units < 2:
    has_several = any(len(side) > 1 for side in values)
    return Difference(difference, (-widest, widest), 1.0, has_several)
  drawn = np.concatenate(
    [
      np.mean([measure(weights) for training in sides[0] for measure in training], axis=0)
      - np.mean([measure(weights) for training in sides[1] for measure in training], axis=0)
      for weights in resampled(len(labels), resamples, seed, groups)
    ]
  )
  drawn = drawn[~np.isnan(drawn)]
  of_images = float(drawn.var(ddof=1)) if len(drawn) > 1 else 0.0
  if groups is not None:
    of_images *= variance_correction(units)
  parts = _variances_of_means(*values)
  varies_by_training = bool(parts)
  parts += _variance_of_subsets(*of_subsets)
  spread = Spread(units, of_images, added_disagreements / units**2, tuple(parts))
  error, freedom = spread.error()
  if not error:
    alike = float(difference == 0)
    return Difference(difference, (difference, difference), alike, varies_by_training, spread)
  half = spread.half_width(level)
  return Difference(
    difference,
    (max(difference - half, -widest), min(difference + half, widest)),
    float(2 * stats.t(freedom).sf(abs(difference) / error)),
    varies_by_training,
    spread,
  )


def _variances_of_means(first: np.ndarray, second: np.ndarray) -> list[tuple[float, int]]:
  """Returns what trainings add to the variance of the difference: `[(variance, its freedom)]`.

  Args:
    first: float `[trainings]`, what one method's reached.
    second: the same of the other.
  """
  several = [side for side in (first, second) if len(side) > 1]
  if len(several) == 1:
    count = 1 / len(first) + 1 / len(second)
    return [(float(several[0].var(ddof=1)) * count, len(several[0]) - 1)]
  return [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in several]


def _variance_of_subsets(first: np.ndarray, second: np.ndarray) -> list[tuple[float, int]]:
  """Returns what subsets of the labels add to it: `[(variance, its freedom)]`, or nothing of one.

  Args:
    first: float `[trainings, R]`, what one method's reached of each subset.
    second: the same of the other, of the same subsets.
  """
  count = first.shape[1]
  if count == 1:
    return []
  differences = first.mean(axis=0) - second.mean(axis=0)
  return [(float(differences.var(ddof=1)) / count, count - 1)]


def measure_of(predictions: np.ndarray, labels: np.ndarray, grades: int) -> Measure:
  """Returns the measure of predictions that methods are compared by; see `compare`."""
  if labels.ndim == 2:
    return lambda weights: multi_label_measures(predictions, labels, weights)["auroc"]
  if grades:
    return lambda weights: quadratic_weighted_kappa(predictions, labels, weights, grades)
  right = (predictions == labels).astype(np.float64)
  return lambda weights: weights @ right / weights.sum(axis=1)
