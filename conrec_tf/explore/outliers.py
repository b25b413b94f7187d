"""Vectors that lie far from all others."""

import numpy as np

VOTERS = 10  # neighbours whose distance counts


def isolation(distance: np.ndarray) -> np.ndarray:
  """Returns how far each vector lies from others, float32 `[N]`, in units of the median of all.

  Where more than half of them have copies enough the median is 0, and distances stay as they are.

  Args:
    distance: float `[N, k]` of the nearest neighbours, the nearest first; the mean of ten counts.
  """
  mean = distance[:, :VOTERS].mean(axis=1) if distance.shape[1] else np.zeros(len(distance))
  median = np.median(mean)
  return (mean / median if median > 0 else mean).astype(np.float32)
