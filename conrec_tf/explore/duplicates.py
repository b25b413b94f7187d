"""Images that are nearly the same: by their vectors, and by the hashes of their pixels."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from conrec_tf.data.duplicates import Duplicate
from conrec_tf.explore.neighbours import Neighbours

NEARNESS = 0.2  # of what is usual between an image and its nearest
MOST_PAIRS = 100_000  # of the nearest, which are told from both of their sides


class Pair(NamedTuple):
  """Two images that may be the same.

  Attributes:
    first, second: their numbers, the lower first.
    distance: between their vectors, 1 less the cosine.
    is_near: whether it is small.
    bits: in which the hashes of their pixels differ; -1 where these don't tell that they are alike.
  """

  first: int
  second: int
  distance: float
  is_near: bool
  bits: int


def nearest_distance_of_copies(distance: np.ndarray) -> float:
  """Returns up to which distance two images count as nearly the same.

  A fifth of the median distance of an image from its nearest.

  Args:
    distance: float `[N, k]` of the nearest neighbours, the nearest first.
  """
  return NEARNESS * float(np.median(distance[:, 0])) if distance.shape[1] else 0.0


def near_duplicates(
  units: np.ndarray, found: Neighbours, by_hash: Iterable[Duplicate]
) -> list[Pair]:
  """Returns pairs that are nearly the same by vectors, by hashes or both, the nearest first.

  Args:
    units: float32 `[N, F]`, of length 1.
    found: their neighbours.
    by_hash: images that look like an earlier one.
  """
  rows, columns = np.nonzero(found.distance <= nearest_distance_of_copies(found.distance))
  order = np.argsort(found.distance[rows, columns], kind="stable")[: 2 * MOST_PAIRS]
  rows, others = rows[order], found.others[rows[order], columns[order]]
  near = set(zip(np.minimum(rows, others).tolist(), np.maximum(rows, others).tolist(), strict=True))
  bits = {(each.of, each.image): each.distance for each in by_hash}
  pairs = []
  for first, second in near | bits.keys():
    distance = float(np.square(units[first] - units[second]).sum() / 2)
    pair = (first, second)
    pairs.append(Pair(first, second, distance, pair in near, bits.get(pair, -1)))
  return sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))
