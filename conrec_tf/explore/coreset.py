"""Which images to label next: those that leave no image far from a labelled one."""

import numpy as np


def k_center(units: np.ndarray, count: int, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Chooses images one after the other, each the farthest from all chosen and known ones.

  The greedy solution of the k-center problem (Gonzalez 1985), whose largest distance is at most
  twice the least possible; for active learning Sener and Savarese, arXiv 1708.00489. Where nothing
  is known, the first is the one nearest to the mean.

  Args:
    units: float32 `[N, F]`, of length 1.
    count: how many to choose; all that aren't known where there are fewer.
    known: int `[M]`, the images that have labels already.

  Returns:
    The chosen images in order, int `[count]`, and how far each was from all before it, 1 less the
    cosine; NaN for one without any.
  """
  chosen = np.empty(min(count, len(units) - len(known)), np.int64)
  gaps = np.full(len(chosen), np.nan)
  cosine = np.full(len(units), -2.0, np.float32)  # with the nearest; nothing is as far
  is_free = np.ones(len(units), bool)
  for one in known:
    np.maximum(cosine, units @ units[one], out=cosine)
  is_free[known] = False
  for place in range(len(chosen)):
    if place or len(known):
      one = int(np.where(is_free, cosine, np.inf).argmin())
      gaps[place] = 1 - cosine[one]
    else:
      one = int((units @ units.mean(axis=0)).argmax())
    chosen[place] = one
    is_free[one] = False
    np.maximum(cosine, units @ units[one], out=cosine)
  return chosen, gaps
