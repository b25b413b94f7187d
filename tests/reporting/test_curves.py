import math

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.metrics import METRICS
from conrec_tf.reporting.figures.curves import levels_of_chance, smoothed
from conrec_tf.reporting.tensorboard import _groups


@pytest.mark.parametrize("count", [1, 7, 20, 100])
def test_smoothed_values_are_means_of_a_window(rng, count):
  values = rng.normal(size=count)
  reach = max(1, count // 40)
  expected = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(count)]
  np.testing.assert_allclose(smoothed(values), expected)


def test_levels_of_chance():
  runs = [Config(train_batch_size=size) for size in (8, 8, 4)]
  accuracy, loss, total = (
    levels_of_chance(METRICS[f"train/{name}"], runs)
    for name in ("contrast_acc", "contrast_loss", "total_loss")
  )
  assert accuracy == {1 / 8, 1 / 4} and total == set()
  less = 1 if runs[0].contrastive_method == "nt_xent" else 2
  assert sorted(loss) == pytest.approx([2 * math.log(8 - less), 2 * math.log(16 - less)])


def test_groups_in_tensorboard_are_of_what_is_logged():
  groups = _groups({"train/total_loss", "train/contrast_acc", "eval/quadratic_weighted_kappa"})
  always = ["Learning rate", "Throughput", "Waiting for data"]
  assert list(groups) == ["Loss", "Contrastive", "Linear evaluation", *always]
  assert groups["Contrastive"] == {"accuracy": "train/contrast_acc"}
  assert groups["Linear evaluation"]["raw embeddings"] == (
    "eval/(untrained_)?quadratic_weighted_kappa"
  )
