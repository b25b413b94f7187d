"""How far numbers of several trainings, folds or subsets spread."""

from collections.abc import Sequence

import numpy as np


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
  """Returns the mean and the standard deviation of a sample, with n - 1; that of one value is 0."""
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return float(np.mean(values)), deviation
