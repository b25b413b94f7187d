"""Measures of segmentation, from what is counted in each image."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np
from surface_distance import compute_robust_hausdorff, compute_surface_distances

from conrec_tf.evaluation.measures import interval, resampled
from conrec_tf.metrics import (
  CLASSES,
  DICE,
  HAUSDORFF,
  INTERVALS,
  IOU,
  ONE_SIDED_IMAGES,
  PIXEL_ACCURACY,
  PIXEL_AUROC,
)

BINS = 2**14  # of log odds, for the area under the ROC curve
LARGEST_ODDS = 88.0  # logarithm, beyond which a probability of float32 is 0
PERCENTILE = 95  # of distances between borders


@dataclasses.dataclass(frozen=True)
class ImageCounts:
  """Counts of one image, over the pixels that count.

  Attributes:
    confusion: int64 `[K, K]`, pixels by true and by predicted class.
    histogram: int64 `[2, BINS]` with two classes: pixels of either, by the log odds of the second,
      as most probabilities of a network that is sure lie too near to 0 and 1 to be told apart in
      bins of one width; else empty.
    distances: float `[K]`, 95 % Hausdorff distance of borders in pixels; the image's diagonal, the
      farthest that there is, where one of truth and prediction lacks the class, as in the BraTS
      challenges; NaN where both do, or distances weren't asked for.
  """

  confusion: np.ndarray
  histogram: np.ndarray
  distances: np.ndarray


def count_image(
  probabilities: np.ndarray, classes: np.ndarray, with_distances: bool = True
) -> ImageCounts:
  """Counts one image.

  Args:
    probabilities: float `[h, w, K]`.
    classes: int `[h, w]`; other numbers than 0 to K - 1 don't count.
    with_distances: whether distances of borders are computed too, which is slow.
  """
  outputs = probabilities.shape[-1]
  counted = classes < outputs
  predicted, true = probabilities.argmax(axis=-1), classes.astype(np.int64)
  pairs = true[counted] * outputs + predicted[counted]
  confusion = np.bincount(pairs, minlength=outputs**2).reshape(outputs, outputs)
  histogram = np.zeros([0, 0], np.int64)
  if outputs == 2:
    places = true[counted] * BINS + _bins_of_odds(probabilities[counted])
    histogram = np.bincount(places, minlength=2 * BINS).reshape(2, BINS)
  distances = np.full(outputs, np.nan)
  if with_distances:
    for label in range(outputs):
      sides = [(found == label) & counted for found in (true, predicted)]
      if all(side.any() for side in sides):
        surfaces = compute_surface_distances(*sides, spacing_mm=(1.0, 1.0))
        distances[label] = compute_robust_hausdorff(surfaces, PERCENTILE)
      elif any(side.any() for side in sides):
        distances[label] = math.hypot(*classes.shape)
  return ImageCounts(confusion, histogram, distances)


def segmentation_measures(
  images: Sequence[ImageCounts], class_names: Sequence[str], resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
  """Computes Dice, IoU, accuracy, area under the ROC curve and distances over images.

  Dice and distance of a class are means over the images that have it in truth or prediction; IoU
  and accuracy are of all pixels together. Means over classes leave the first one out, which is
  the background. Beside distances stands how many images count with their diagonal.

  Args:
    resamples: of the images, for 95 % intervals; 0: none.

  Returns:
    `{name: value}`, among them rows by class, and intervals as `{name: [low, high]}`.
  """
  confusions = np.stack([image.confusion for image in images]).astype(np.float64)
  histograms = np.stack([image.histogram for image in images]).astype(np.float64)
  distances = np.stack([image.distances for image in images])
  dice = _dice(confusions)

  def measures(weights: np.ndarray) -> dict[str, float]:
    pooled = np.tensordot(weights, confusions, 1)
    found = {
      DICE: _mean(_weighted_means(dice, weights)[1:]),
      IOU: _mean(_iou(pooled)[1:]),
      PIXEL_ACCURACY: float(np.trace(pooled) / max(pooled.sum(), 1.0)),
    }
    if histograms.size:
      found[PIXEL_AUROC] = area_under_curve(np.tensordot(weights, histograms, 1))
    return found

  everything = np.ones(len(images))
  found: dict[str, Any] = dict(measures(everything))
  by_class = {
    "dice": _weighted_means(dice, everything),
    "iou": _iou(confusions.sum(axis=0)),
    "hausdorff_95": _weighted_means(distances, everything),
  }
  found[HAUSDORFF] = _mean(by_class["hausdorff_95"][1:])
  rows = [
    {
      "class": name,
      **{
        key: None if np.isnan(values[label]) else float(values[label])
        for key, values in by_class.items()
      },
    }
    for label, name in enumerate(class_names)
  ]
  if not np.isnan(distances).all():
    has_class = (confusions.sum(axis=axis) > 0 for axis in (1, 2))
    one_sided = np.not_equal(*has_class)  # bool [N, K]: truth or prediction lacks it alone
    found[ONE_SIDED_IMAGES] = int(one_sided[:, 1:].any(axis=1).sum())
    for row, count in zip(rows, one_sided.sum(axis=0), strict=True):
      row["one_sided_images"] = int(count)
  found[CLASSES] = rows
  if resamples:
    parts = resampled(len(images), resamples, seed)
    drawn = [measures(weights) for part in parts for weights in part]
    found[INTERVALS] = {
      name: list(interval(np.array([row[name] for row in drawn])))
      for name in drawn[0]
      if not np.isnan(found[name])
    }
  return {name: value for name, value in found.items() if value == value}


def area_under_curve(histogram: np.ndarray) -> float:
  """Returns the area under the ROC curve; NaN without either class.

  The histogram `[2, bins]` is of the scores of negatives and of positives.
  """
  negatives, positives = histogram
  if not negatives.sum() or not positives.sum():
    return float("nan")
  below = np.cumsum(negatives) - negatives / 2
  return float(np.sum(positives * below) / negatives.sum() / positives.sum())


def _bins_of_odds(probabilities: np.ndarray) -> np.ndarray:
  """Returns the bin of each pixel, int64 `[n]`, by probabilities float `[n, 2]`."""
  with np.errstate(divide="ignore"):  # of 0
    first, second = np.log(probabilities.astype(np.float64)).T
  shares = (np.clip(second - first, -LARGEST_ODDS, LARGEST_ODDS) / LARGEST_ODDS + 1) / 2
  return np.minimum(shares * BINS, BINS - 1).astype(np.int64)


def _dice(confusions: np.ndarray) -> np.ndarray:
  """Returns Dice `[N, K]` of each image and class; NaN where neither side has the class."""
  both = np.diagonal(confusions, axis1=1, axis2=2)
  sizes = confusions.sum(axis=1) + confusions.sum(axis=2)
  return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), np.nan)


def _iou(confusion: np.ndarray) -> np.ndarray:
  """Returns intersection over union `[K]` of all pixels; NaN where neither side has the class."""
  both = np.diagonal(confusion)
  union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
  return np.where(union > 0, both / np.maximum(union, 1), np.nan)


def _weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the means `[K]` of `[N, K]` over the images that aren't NaN; NaN without any."""
  weights = np.where(np.isnan(values), 0.0, weights[:, np.newaxis])
  total = weights.sum(axis=0)
  sums = np.sum(np.nan_to_num(values) * weights, axis=0)
  return np.where(total > 0, sums / np.maximum(total, 1e-12), np.nan)


def _mean(values: np.ndarray) -> float:
  """Returns the mean of what isn't NaN; NaN of nothing."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if len(known) else float("nan")
