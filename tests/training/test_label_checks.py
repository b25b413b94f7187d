"""What can't be learnt or measured is said before anything is trained."""

import numpy as np
import pytest
import tfds_sets.tiny_partly_labelled  # noqa: F401  # registers the dataset

from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.errors import UsageError
from conrec_tf.training.label_checks import check_labels


def checked(**values):
  config = Config(**values)
  source = load_dataset(config)
  check_labels(config, source, load_eval_dataset(config, source))


@pytest.fixture
def archive(tmp_path, rng):
  """Makes an .npz of 20 train and 10 test images in the order of their labels."""

  def make(labels, of_test):
    images = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "data.npz"
    np.savez(path, x_train=images[:20], y_train=labels, x_test=images[20:], y_test=of_test)
    return dict(dataset="npz", data_dir=str(path))

  return make


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(train_split="train[:50%]"), "two labels for linear evaluation. Received: 1 in the 10"),
    (dict(cv_folds=21), "cv_folds must be at most 20, the labelled images. Received: 21"),
    (
      dict(train_mode="finetune", train_split="train[:50%]"),
      "two labels for a supervised head. Received: 1 in the 10",
    ),
    (
      dict(train_split="train[:11]", cv_folds=11),
      "two labels for linear evaluation. Received: 1 in the 10 of .* but for fold",
    ),
  ],
)
def test_one_label_and_too_many_folds(archive, values, message):
  data = archive(np.arange(20) // 10, np.arange(10) % 2)
  checked(**data)
  with pytest.raises(UsageError, match=message):
    checked(**data, **values)


def test_a_head_that_nothing_measures(archive):
  data = archive(np.array(["cat", "dog"] * 10), np.array([""] * 10)) | dict(train_mode="finetune")
  checked(**data, mode="train")
  checked(**data, cv_fold="0/2")
  for mode in ("train_then_eval", "eval"):
    with pytest.raises(UsageError, match="eval_split must have images with .* none in test"):
      checked(**data, mode=mode)


def test_several_labels_that_are_all_alike(archive):
  data = archive(np.eye(3, dtype=int)[np.arange(20) % 3] ^ 1, np.tile([1, 0, 1], (10, 1)))
  with pytest.raises(UsageError, match="with and without some label. Received: 10 that are all"):
    checked(**data)


def test_one_image_without_labels_isnt_told_from_others(archive):
  data = archive(np.arange(20) % 2, np.arange(10) % 2) | dict(eval_split="test[:1]")
  checked(**data)
  checked(**data, label_mode="none", mode="train")
  for mode in ("train_then_eval", "eval"):
    with pytest.raises(UsageError, match="at least two images, .* without labels. Received: 1 in"):
      checked(**data, label_mode="none", mode=mode)


def test_a_head_beside_pretraining_needs_a_label_of_each_image(tmp_path):
  values = dict(dataset="tiny_partly_labelled", data_dir=str(tmp_path))
  checked(**values)
  checked(**values, train_mode="finetune")
  with pytest.raises(UsageError, match="without a label. Received: 6 of 24 in train"):
    checked(**values, lineareval_while_pretraining=True)
