"""Mean and deviation over trainings, folds, subsets."""

import pytest

from conrec_tf.evaluation.spread import mean_and_deviation


def test_deviation_is_that_of_a_sample():
  assert mean_and_deviation([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
  assert mean_and_deviation([4.0]) == (4.0, 0.0)
