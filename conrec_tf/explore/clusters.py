"""Groups of vectors, each with the one that stands for it."""

import math
from typing import NamedTuple
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

MOST_FITTED = 100_000  # vectors that the centres are fitted to
MOST_CLUSTERS = 50  # unless more are asked for
BLOCK = 4096  # vectors whose distances are computed at a time


class Clusters(NamedTuple):
  """Groups of vectors.

  Attributes:
    label: int32 `[N]`, the group of each vector, from 0; the largest group is the first.
    representative: int `[K]`, the vector nearest to the middle of each group.
  """

  label: np.ndarray
  representative: np.ndarray


def cluster_count(images: int, classes: int) -> int:
  """Returns how many groups to look for, where nobody says: the classes, or by the images."""
  return max(1, min(classes or round(math.sqrt(images / 2)), MOST_CLUSTERS, images))


def clusters(units: np.ndarray, count: int, seed: int, most_fitted: int = MOST_FITTED) -> Clusters:
  """Returns groups by k-means, without those that came out empty.

  Args:
    units: float32 `[N, F]`, of length 1.
    count: groups, at most as many as vectors.
    seed: fixes them.
    most_fitted: vectors that the centres are fitted to.
  """
  few = min(len(units), most_fitted)
  chosen = np.random.default_rng(seed).choice(len(units), few, replace=False)
  # By several threads sums differ in their last digits from one call to the next.
  with threadpool_limits(1), warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different vectors than groups
    fitted = KMeans(min(count, few), n_init=1, random_state=seed).fit(units[np.sort(chosen)])
    label = fitted.predict(units)
  distance = np.empty(len(units), np.float32)
  for start in range(0, len(units), BLOCK):
    rows = slice(start, start + BLOCK)
    distance[rows] = np.square(units[rows] - fitted.cluster_centers_[label[rows]]).sum(axis=1)
  sizes = np.bincount(label, minlength=len(fitted.cluster_centers_))
  by_size = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
  number = np.empty(len(sizes), np.int32)
  number[by_size] = np.arange(len(by_size))
  # Of each group the nearest is written last.
  order = np.argsort(distance, kind="stable")[::-1]
  nearest = np.empty(len(sizes), np.int64)
  nearest[label[order]] = order
  return Clusters(number[label], nearest[by_size])
