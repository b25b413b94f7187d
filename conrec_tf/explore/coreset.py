"""Which images to label next: from the middle of each group, then far from all labelled ones."""

from typing import NamedTuple

import numpy as np

from conrec_tf.explore.clusters import clusters

MOST_GROUPS = 1_000
MOST_FITTED = 20_000  # vectors that the groups are fitted to


class Coreset(NamedTuple):
  """Images that are worth a label next, in order.

  Attributes:
    image: int `[k]`, their numbers.
    stands_for: int `[k]`, images of the group that it is in the middle of; 0 of one that was chosen
      because it lies far from all labelled ones.
  """

  image: np.ndarray
  stands_for: np.ndarray


def coreset(units: np.ndarray, count: int, known: np.ndarray, seed: int) -> Coreset:
  """Chooses images to label, none of them known.

  Images are put into as many groups as labels there will be, up to 1,000. Of each group without a
  label the image nearest to its middle is chosen, of the largest first, as with few labels typical
  images teach more than unusual ones (arXiv 2202.02794). What is left to choose lies farthest from
  all that is labelled; see `k_center`.

  Args:
    units: float32 `[N, F]`, of length 1.
    count: how many to choose; all that aren't known where there are fewer.
    known: int `[M]`, the images that have labels already.
    seed: fixes the groups.
  """
  count = min(count, len(units) - len(known))
  if not count:
    return Coreset(np.zeros(0, np.int64), np.zeros(0, np.int64))
  groups = clusters(units, min(count + len(known), MOST_GROUPS), seed, MOST_FITTED)
  sizes = np.bincount(groups.label)
  is_free = np.bincount(groups.label[known], minlength=len(sizes)) == 0
  middles, stands_for = groups.representative[is_free][:count], sizes[is_free][:count]
  rest = k_center(units, count - len(middles), np.concatenate([known, middles]))
  return Coreset(np.concatenate([middles, rest]), np.pad(stands_for, (0, len(rest))))


def k_center(units: np.ndarray, count: int, known: np.ndarray) -> np.ndarray:
  """Chooses images one after the other, each the farthest from all chosen and known ones.

  The greedy solution of the k-center problem (Gonzalez 1985), whose largest distance is at most
  twice the least possible; for active learning Sener and Savarese, arXiv 1708.00489.

  Args:
    units: float32 `[N, F]`, of length 1.
    count: how many, at most those that aren't known.
    known: int `[M]`, at least one.
  """
  chosen = np.empty(count, np.int64)
  cosine = np.full(len(units), -np.inf, np.float32)  # with the nearest
  if count:
    for one in known:
      np.maximum(cosine, units @ units[one], out=cosine)
  cosine[known] = np.inf
  for place in range(count):
    one = chosen[place] = int(cosine.argmin())
    np.maximum(cosine, units @ units[one], out=cosine)
    cosine[one] = np.inf
  return chosen
