"""Every option refuses what is out of its own type, choices or range."""

import pytest

from conrec_tf.config import Config
from conrec_tf.config.options.option import explained_choices, meaning
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
  "train_split",
}
# Texts that have rules of their own, by a wrong one.
READ_TEXTS = {
  "class_weights": "0",
  "cv_fold": "5/5",
  "devices": "a",
  "dicom_window": "40",
  "export_format": "png",
  "few_shots": "0",
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


def wrong_values(field):
  """Yields values that the field's own declaration forbids."""
  rules = field.metadata
  yield OTHER_TYPE[field.type]
  if field.type is float:
    yield float("inf")
    yield True
  if rules["choices"]:
    yield "no choice" if field.type is str else max(rules["choices"]) + 1
  tiny = 1 if field.type is int else 1e-6
  for name, step in (("low", -tiny), ("high", tiny), ("above", 0), ("below", 0)):
    if rules[name] is not None:
      yield field.type(rules[name] + step)
  if field.name in READ_TEXTS:
    yield READ_TEXTS[field.name]


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
    name for name, field in OPTIONS.items() if field.type is str and not field.metadata["choices"]
  }
  assert texts == FREE_TEXTS | READ_TEXTS.keys() and not FREE_TEXTS & READ_TEXTS.keys()


def test_every_number_has_a_range():
  limits = ("choices", "low", "high", "above", "below")
  for field in OPTIONS.values():
    assert field.type in (str, bool) or any(field.metadata[name] is not None for name in limits)


def test_every_choice_is_explained():
  for field in OPTIONS.values():
    assert all(value and words for value, words in explained_choices(field)), field.name
    assert field.metadata["choices"] is None or field.default in field.metadata["choices"]


@pytest.mark.parametrize(
  "name, value, end",
  [
    ("pooling", "average", "Pooling of features to an embedding. average: by the mean."),
    ("image_channels", 0, "Channels of the images. 0: what the dataset holds."),
    ("dicom_frames", "", "are images. empty: none: files of several are refused."),
    ("temperature", 0.2, "Temperature of the contrastive loss. Paper: 0.5."),
  ],
)
def test_a_value_is_explained_where_it_is_one_of_several(name, value, end):
  assert meaning(OPTIONS[name], value).endswith(end)
