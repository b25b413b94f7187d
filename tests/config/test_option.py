"""Every option refuses what is out of its own type, choices or range."""

from typing import get_args

import pytest

from conrec_tf.config import Config
from conrec_tf.config.options.option import explained_choices, meaning, read, written
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.errors import UsageError

# Texts of which any may be right, as far as the option itself knows: names and paths.
FREE_TEXTS = {
  "checkpoint",
  "compare_with",
  "data_dir",
  "dataset",
  "encoder_weights",
  "eval_data_dir",
  "eval_dataset",
  "eval_split",
  "eval_test_split",
  "eval_train_split",
  "external_output",
  "image_key",
  "label_columns",
  "label_key",
  "label_order",
  "label_table",
  "mask_classes",
  "mask_key",
  "mask_table",
  "model_dir",
  "query",
  "teacher",
  "train_split",
}
# Texts that have rules of their own, by a wrong one.
READ_TEXTS = {
  "class_weights": "0",
  "cv_fold": "5/5",
  "devices": "a",
  "dicom_window": "40,0.0",
  "export_format": "png",
  "tracker": "tensorboard",
  "few_shots": "0",
  "image_size_schedule": "32:1.0",
  "label_fractions": "2",
  "max_undecodable": "many",
  "seeds": "1,1",
}
# What such a text needs to be of use at all.
BESIDE = {
  "class_weights": dict(train_mode="segment", dataset="image_folder", data_dir="photos"),
  "cv_fold": dict(train_mode="finetune"),
}
OTHER_TYPE = {str: 7, int: 1.5, float: "0.5", bool: 1}
LISTS = [name for name, field in OPTIONS.items() if get_args(field.type)]


def wrong_values(field):
  """Yields values that the field's own declaration forbids."""
  rules = field.metadata
  yield OTHER_TYPE.get(field.type, 7)
  if field.type is float:
    yield float("inf")
    yield True
  if field.name in READ_TEXTS:
    yield READ_TEXTS[field.name]
  if field.name in LISTS:
    return
  if rules["choices"]:
    yield "no choice" if field.type is str else max(rules["choices"]) + 1
  tiny = 1 if field.type is int else 1e-6
  for name, step in (("low", -tiny), ("high", tiny), ("above", 0), ("below", 0)):
    if rules[name] is not None:
      yield field.type(rules[name] + step)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_value_is_refused_by_name_with_what_was_received(name):
  for value in wrong_values(OPTIONS[name]):
    with pytest.raises(UsageError) as caught:
      Config(**BESIDE.get(name, {}), **{name: value})
    received = value if name in READ_TEXTS and type(value) is str else repr(value)
    assert str(caught.value).startswith(f"{name} must be ")
    assert str(caught.value).endswith(f". Received: {received}")


def test_every_text_has_choices_or_rules_or_is_free():
  texts = {
    name
    for name, field in OPTIONS.items()
    if name in LISTS or field.type is str and not field.metadata["choices"]
  }
  assert texts == FREE_TEXTS | READ_TEXTS.keys() and not FREE_TEXTS & READ_TEXTS.keys()


def test_every_number_has_a_range():
  limits = ("choices", "low", "high", "above", "below")
  for field in OPTIONS.values():
    assert field.type in (str, bool, tuple[str, ...]) or any(
      field.metadata[name] is not None for name in limits
    )


def test_every_choice_is_explained():
  for field in OPTIONS.values():
    assert all(value and words for value, words in explained_choices(field)), field.name
    if field.metadata["choices"]:
      defaults = field.default if field.name in LISTS else [field.default]
      assert set(defaults) <= field.metadata["choices"].keys(), field.name


@pytest.mark.parametrize(
  "name, text, items, shortest",
  [
    ("seeds", " 3,05", (3, 5), "3,5"),
    ("few_shots", "1,,2,", (1, 2), "1,2"),
    ("label_fractions", "0.25,1.0,.50", (0.25, 1, 0.5), "0.25,1,0.5"),
    ("class_weights", "1,2.5", (1, 2.5), "1,2.5"),
    ("label_order", "none, mild", ("none", "mild"), "none,mild"),
    ("image_size_schedule", "032 : 0.50, 48:.30", ("32:0.5", "48:0.3"), "32:0.5,48:0.3"),
    ("image_size_schedule", "8:0.00001,half", ("8:1e-05", "half"), "8:1e-05,half"),
    ("export_format", " ,", (), ""),
  ],
)
def test_a_list_is_read_from_text_and_written_in_one_way(name, text, items, shortest):
  assert read(OPTIONS[name], text) == items == read(OPTIONS[name], shortest)
  assert written(read(OPTIONS[name], text)) == written(list(items)) == shortest


def test_lists_are_given_as_text_list_or_tuple():
  for given in ("0,2", [0, 2], (0, 2)):
    config = Config(seeds=given)
    assert config.seeds == (0, 2) and config.settings["seeds"] == "0,2"


@pytest.mark.parametrize(
  "name, wrong, expected",
  [
    ("few_shots", "1,0", "whole numbers from 1, separated by commas"),
    ("label_fractions", "0.5,0", "numbers above 0 and up to 1, separated by commas"),
    ("label_fractions", "1.5", "numbers above 0 and up to 1, separated by commas"),
    ("class_weights", "1,inf", "numbers above 0, separated by commas"),
    ("seeds", "0,1.5", "whole numbers from 0, separated by commas"),
    ("export_format", "onnx,png", "made of saved_model, onnx, tflite"),
  ],
)
def test_each_item_of_a_list_is_in_range(name, wrong, expected):
  with pytest.raises(UsageError, match=f"^{name} must be {expected}. Received: {wrong}$"):
    Config(**BESIDE.get(name, {}), **{name: wrong})


@pytest.mark.parametrize(
  "name, value, end",
  [
    ("pooling", "average", "Pooling of features to an embedding. average: by the mean."),
    ("image_channels", 0, "Channels of the images. 0: what the dataset holds."),
    ("export_format", ("onnx",), "Empty: none. onnx: ONNX, which needs requirements-onnx.txt."),
    ("dicom_frames", "", "are images. empty: none: files of several are refused."),
    ("temperature", 0.2, "Temperature of the contrastive loss. Paper: 0.5."),
  ],
)
def test_a_value_is_explained_where_it_is_one_of_several(name, value, end):
  assert meaning(OPTIONS[name], value).endswith(end)
