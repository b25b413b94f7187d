"""Descriptions of what is no run."""

import dataclasses

import pytest

from conrec_tf.config import Config, Data, Description
from conrec_tf.config.options.option import check_range
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.errors import UsageError


def test_a_description_is_of_values_that_no_run_may_have_together():
  values = dict(reconstruction_weight=0.0, adversarial_weight=0.5)
  with pytest.raises(UsageError, match="adversarial_weight must be 0"):
    Config(**values)
  assert Description(**values).adversarial_weight == 0.5
  assert Description.from_settings(values).adversarial_weight == 0.5
  with pytest.raises(UsageError, match="adversarial_weight must be at least 0"):
    Description(adversarial_weight=-1.0)


def test_an_evaluation_set_has_nothing_of_the_training_files():
  config = Config(
    dataset="image_folder",
    data_dir="photos",
    train_split="all of it",
    label_table="labels.csv",
    label_columns="a,b",
    drop_duplicates=True,
    dicom_window="40,400",
    eval_dataset="tiny_flowers",
    eval_data_dir="flowers",
    eval_train_split="one",
    eval_test_split="other",
  )
  data = config.of_eval_dataset(3)
  found = (data.dataset, data.data_dir, data.train_split, data.eval_split, data.image_channels)
  assert found == ("tiny_flowers", "flowers", "one", "other", 3)
  for name in ("label_table", "label_columns", "drop_duplicates"):
    assert getattr(data, name) == OPTIONS[name].default
  assert data.dicom_window == "40,400"  # what the network is given
  for field in dataclasses.fields(Data):
    check_range(field, getattr(data, field.name))


def test_an_evaluation_set_of_another_kind_does_not_lie_among_the_training_files():
  for dataset, eval_dataset, expected in (
    ("image_folder", "tiny_flowers", ""),  # which TFDS would prepare there
    ("image_folder", "npz", "a"),
    ("tiny_flowers", "circles_square", "a"),
    ("tiny_flowers", "image_folder", ""),
  ):
    config = Config(dataset=dataset, data_dir="a", eval_dataset=eval_dataset)
    assert config.of_eval_dataset(0).data_dir == expected


def test_an_evaluation_set_of_the_same_files_is_read_as_they_are():
  config = Config(
    dataset="image_folder",
    data_dir="photos",
    label_table="labels.csv",
    drop_duplicates=True,
    eval_dataset="image_folder",
    eval_split="c",
  )
  data = config.of_eval_dataset(0)
  assert (data.label_table, data.drop_duplicates, data.eval_split) == ("labels.csv", True, "c")
