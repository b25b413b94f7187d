"""What linear evaluation can't measure is refused before the first step."""

import numpy as np
import pytest

from conrec_tf.config import Config, UsageError
from conrec_tf.data.registry import load_dataset
from conrec_tf.training.label_checks import check_labels


def check(tmp_path, train_labels, eval_labels=(0, 1), **values):
  images = np.zeros([max(len(train_labels), len(eval_labels)), 24, 24, 1], np.uint8)
  np.savez(
    tmp_path / "data.npz",
    x_train=images[: len(train_labels)],
    y_train=np.array(train_labels),
    x_test=images[: len(eval_labels)],
    y_test=np.array(eval_labels),
  )
  config = Config(
    dataset="npz",
    data_dir=str(tmp_path / "data.npz"),
    image_size=24,
    unet_depth=2,
    train_batch_size=2,
    **values,
  )
  source = load_dataset(config)
  check_labels(config, source, source)


def test_more_folds_than_images_are_refused(tmp_path):
  check(tmp_path, [0, 1, 0], cv_folds=3)
  with pytest.raises(UsageError, match="cv_folds must be at most 3, .* Received: 4$"):
    check(tmp_path, [0, 1, 0], cv_folds=4)
  check(tmp_path, [0, 1, 0], cv_folds=4, mode="train")  # nothing is evaluated


def test_labels_that_are_all_alike_are_refused(tmp_path):
  check(tmp_path, [1, 1, 0])
  with pytest.raises(UsageError, match="train_split must .* Received: 3 images .* in train of"):
    check(tmp_path, [1, 1, 1])
  check(tmp_path, [1, 1, 1], mode="train")
  check(tmp_path, [1, 1, 1], ordinal_labels=True)


def test_several_labels_that_are_all_alike_are_refused_where_they_are_measured(tmp_path):
  check(tmp_path, [[1, 0], [1, 0]], [[1, 0], [0, 0]])
  with pytest.raises(UsageError, match="eval_split must .* Received: 2 images .* in test of"):
    check(tmp_path, [[1, 1], [0, 1]], [[1, 0], [1, 0]])
