import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.data import label_subsets
from conrec_tf.data.registry import load_dataset


@pytest.mark.parametrize(
  "fraction, expected",
  [
    (0.1, {0: 8, 1: 3, 2: 1}),  # 12 of 115
    (0.5, {0: 40, 1: 15, 2: 3}),  # quotas 40, 15, 2.5
    (0.01, {0: 1, 1: 1, 2: 1}),  # 1.15 labels, but every class needs one
    (1.0, {0: 80, 1: 30, 2: 5}),
  ],
)
def test_stratified_subset_keeps_class_shares(fraction, expected):
  labels = np.repeat([0, 1, 2], [80, 30, 5])
  chosen = label_subsets.stratified_subset(labels, fraction, np.random.default_rng(0))
  assert len(set(chosen)) == len(chosen)
  assert dict(enumerate(np.bincount(labels[chosen]))) == expected
  again = label_subsets.stratified_subset(labels, fraction, np.random.default_rng(0))
  np.testing.assert_array_equal(chosen, again)


def test_a_supervised_head_learns_from_the_first_subset_of_linear_evaluation(tmp_path, rng):
  labels = np.arange(40) % 4
  images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
  path = tmp_path / "data.npz"
  np.savez(path, x_train=images, y_train=labels, x_test=images[:8], y_test=labels[:8])
  options = dict(dataset="npz", data_dir=str(path), train_mode="finetune", seed=3)
  whole = load_dataset(Config(**options))
  assert whole.train.num_examples == 40
  part = load_dataset(Config(**options, train_label_fraction=0.25))
  [chosen] = label_subsets.share_subsets(labels, 0.25, 1, seed=3)
  found = [record["image"].tobytes() for record in part.train.records().as_numpy_iterator()]
  every = [record["image"].tobytes() for record in whole.train.records().as_numpy_iterator()]
  assert found == [every[index] for index in chosen] and len(found) == 10
  assert part.eval.num_examples == 8
