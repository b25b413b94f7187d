import numpy as np
import pytest

from conrec_tf.config import Config, UsageError
from conrec_tf.data.registry import load_dataset


def test_any_tfds_name_with_image_and_label(flowers):
  source = load_dataset(Config(**{**flowers, "eval_split": "test[:5]"}))
  assert (source.channels, source.one_size) == (3, False)
  assert source.class_names == ("rose", "iris", "daisy")
  assert source.train.num_examples == 36 and source.eval.num_examples == 5
  assert len(list(source.train.records())) == 36
  record = next(iter(source.eval.records()))
  image = source.decode(record["image"])
  assert image.dtype == np.uint8 and image.shape[-1] == 3
  # Each class is bright in its own channel.
  assert np.argmax(image.numpy().mean((0, 1))) == record["label"]


def test_embedded_dataset(data_dir):
  source = load_dataset(Config(data_dir=data_dir))
  assert (source.train.num_examples, source.eval.num_examples) == (1000, 500)
  assert (source.channels, source.one_size) == (1, True)
  assert source.class_names[0] == "right_corners_right_triangle"


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(dataset="no_such_data"), r"dataset must be image_folder, .* Received: no_such_data$"),
    (dict(dataset="Not a name!"), r"dataset must be image_folder, .* Received: Not a name!$"),
    (dict(train_split="trane"), r"train_split must be made of test, train.* Received: trane$"),
    (dict(eval_split="test[:0]"), r"eval_split must hold images. Received: test\[:0\]"),
    (dict(train_split="train[200%:]"), r"train_split must .* Received: train\[200%:\]"),
  ],
)
def test_bad_names(data_dir, values, message):
  with pytest.raises(UsageError, match=message):
    load_dataset(Config(data_dir=data_dir, **values))


def test_data_that_can_be_neither_found_nor_made(tmp_path, monkeypatch):
  def fail(self, **_):
    raise OSError("no route to host\nsecond line")

  monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", fail)
  with pytest.raises(UsageError, match=r"not prepared in .*no route to host\). Received: mnist$"):
    load_dataset(Config(dataset="mnist", data_dir=str(tmp_path)))


def test_data_without_classes(flowers):
  with pytest.raises(UsageError, match="an image and a label with .* Received: tiny_regr"):
    load_dataset(Config(**{**flowers, "dataset": "tiny_regression"}))
