import math

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.reporting.figures.curves import chance_level, smoothed


@pytest.mark.parametrize("count", [1, 7, 20, 100])
def test_smoothed_values_are_means_of_a_window(rng, count):
  values = rng.normal(size=count)
  reach = max(1, count // 40)
  expected = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(count)]
  np.testing.assert_allclose(smoothed(values), expected)


def test_levels_of_chance():
  config = Config(train_batch_size=8)
  assert chance_level("train/contrast_acc", config) == 1 / 8
  expected = 2 * math.log(15 if config.contrastive_method == "nt_xent" else 14)
  assert chance_level("train/contrast_loss", config) == pytest.approx(expected)
  assert chance_level("train/total_loss", config) is None
