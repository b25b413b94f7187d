import dataclasses

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tfds_sets.tiny_floats  # noqa: F401  # registers the dataset

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.records import Streamed
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.data.summary import scan_split
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import CenterCrops, known_center_crops, resolve_checkpoint
from conrec_tf.run_dir.run_directory import RunDirectory


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
    (
      dict(dataset="no_such_data"),
      r"dataset must be image_folder, npz, webdataset, parquet or .* Received: no_such_data$",
    ),
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


def test_images_of_floats_are_shares_of_white(tmp_path):
  values = dict(dataset="tiny_floats", data_dir=str(tmp_path), label_mode="none")
  source = load_dataset(Config(**values))
  [pixels, *_] = [source.decode(record["image"]) for record in source.train.records()]
  expected = 65535 * np.linspace(0, 1, 24 * 24).reshape(24, 24, 1)
  assert pixels.dtype == np.uint16 and np.abs(pixels.numpy() - expected).max() <= 1
  _, bad = scan_split(source, source.eval, "")  # of 0 to 255, which were white
  assert bad == dict.fromkeys(range(4), "floats outside of 0 to 1")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_features_of_other_names(tmp_path, flowers, monkeypatch, file_format, in_memory):
  if not in_memory:
    monkeypatch.setattr("conrec_tf.data.sources.tfds_records.BYTES_IN_MEMORY", 0)
  path = str(tmp_path)
  builder = tfds.builder("tiny_named", data_dir=path, file_format=file_format)
  builder.download_and_prepare()
  values = dict(dataset="tiny_named", data_dir=path)
  source = load_dataset(Config(**values, image_key="photo", label_key="breed"))
  assert source.class_names == ("a", "b", "c")
  parts = [source.train.records()]
  if isinstance(source.train.rows, Streamed):
    parts.append(source.train.rows.shuffled(tf.constant([0, 1], tf.int64)).map(lambda _, row: row))
  for records in parts:
    rows = list(records)
    assert len(rows) == 6 and set(rows[0]) == {"image", "label"}
    for row in rows:
      assert int(source.decode(row["image"])[0, 0, 0]) % 3 == int(row["label"])
  message = "without image image; for --image_key there is photo"
  with pytest.raises(UsageError, match=message):
    load_dataset(Config(**values, label_key="breed"))
  with pytest.raises(
    UsageError, match="without label label; for --label_key there is species, breed"
  ):
    load_dataset(Config(**values, image_key="photo"))


def test_the_learnt_and_the_labelled_data_have_splits_of_their_own(flowers, tmp_path, rng):
  """A folder of which a tenth is held out as test, beside a dataset with a validation split."""
  for index in range(12):
    folder = tmp_path / ("test" if index % 3 == 0 else "train")
    folder.mkdir(exist_ok=True)
    image = rng.integers(0, 256, (30, 30, 3)).astype(np.uint8)
    Image.fromarray(image).save(folder / f"{index}.png")
  config = Config(
    dataset="image_folder",
    data_dir=str(tmp_path),
    label_mode="none",
    eval_split="test",
    eval_dataset="tiny_flowers",
    eval_data_dir=flowers["data_dir"],
    eval_test_split="validation",
  )
  source = load_dataset(config)
  labelled = load_eval_dataset(config, source)
  assert (source.eval.name, source.eval.num_examples) == ("test", 1)
  assert labelled.eval.name == "validation" and labelled.class_names == ("rose", "iris", "daisy")


@pytest.mark.parametrize(
  "eval_crop, known, expected, size, is_said",
  [
    ("auto", None, True, 40, False),  # sizes differ
    ("auto", False, False, 40, True),
    ("auto", False, False, 24, False),  # where nothing is cropped
    ("none", True, False, 40, False),
    ("center", False, True, 40, False),
  ],
)
def test_the_crop_of_evaluation_is_the_networks(
  flowers, caplog, eval_crop, known, expected, size, is_said
):
  config = Config(**{**flowers, "eval_crop": eval_crop, "image_size": size})
  with caplog.at_level("INFO", "conrec_tf"):
    source = load_dataset(config, known)
  assert source.center_crop == expected and not source.one_size
  assert ("as the network was evaluated before" in caplog.text) == is_said


@pytest.fixture
def of_one_size(tmp_path, rng):
  """An archive of labelled images of one size."""
  images, labels = rng.integers(0, 256, (30, 48, 48, 3), np.uint8), np.arange(30) % 3
  path = tmp_path / "one_size.npz"
  np.savez(path, x_train=images[:20], y_train=labels[:20], x_test=images[20:], y_test=labels[20:])
  return dict(dataset="npz", data_dir=str(path))


@pytest.mark.parametrize("sizes_of_training", ["alike", "different"])
def test_each_dataset_keeps_the_crop_that_it_was_evaluated_with(
  of_one_size, flowers, tmp_path, sizes_of_training
):
  """The data that is learnt from, and another one of linear evaluation."""
  others = {name: flowers[name] for name in ("dataset", "data_dir")}
  learnt, labelled = [of_one_size, others][:: 1 if sizes_of_training == "alike" else -1]
  config = Config(
    **learnt,
    eval_dataset=labelled["dataset"],
    eval_data_dir=labelled["data_dir"],
    image_size=40,
    unet_depth=2,
    base_filters=2,
    train_batch_size=4,
    train_steps=1,
    reconstruction_weight=0.0,  # the quickest to build
    corruption="none",
    use_blur=False,
    color_jitter_strength=0.0,
    mode="train",
    export_format="",
    report=False,
    model_dir=str(tmp_path / "run"),
  )
  source = load_dataset(config)
  eval_source = load_eval_dataset(config, source)
  assert source.center_crop != eval_source.center_crop
  commands.run(config)
  crops = known_center_crops(RunDirectory(config.model_dir), config.eval_dataset)
  assert crops == CenterCrops(source.center_crop, eval_source.center_crop)
  again = load_dataset(config, crops.training)
  assert again.center_crop == source.center_crop
  assert load_eval_dataset(config, again, crops.evaluation).center_crop == eval_source.center_crop
  # Exports and embeddings are taken as linear evaluation is.
  assert resolve_checkpoint(config.model_dir).center_crop == eval_source.center_crop


@pytest.mark.parametrize(
  "images, eval_dataset, expected",
  [
    ({}, "", (None, None)),
    ({"center_crop": True}, "", (True, True)),
    ({"center_crop": True}, "cifar10", (None, True)),  # the evaluation's; the other by its data
    ({"center_crop": True, "train_center_crop": False}, "cifar10", (False, True)),
    ({"center_crop": True, "train_center_crop": False}, "", (False, True)),
  ],
)
def test_the_crops_of_runs_of_all_versions(tmp_path, images, eval_dataset, expected):
  directory = RunDirectory(tmp_path)
  directory.write("images.json", images)
  assert known_center_crops(directory, eval_dataset) == expected


def folder_of(path, names, rng):
  """A folder of images by name; returns its path."""
  for name in names:
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8)).save(path / name)
  return path


def test_what_is_said_of_the_training_files_is_not_said_of_the_evaluation_set(
  flowers, tmp_path, rng
):
  photos = folder_of(tmp_path / "photos", [f"{index}.png" for index in range(12)], rng)
  table = tmp_path / "labels.csv"
  table.write_text("image,label\n" + "".join(f"{index},{index % 2}\n" for index in range(12)))
  folder = dict(dataset="image_folder", data_dir=str(photos), label_table=str(table))
  config = Config(
    **folder,
    drop_duplicates=True,
    label_order="1,0",
    eval_dataset="tiny_flowers",
    eval_data_dir=flowers["data_dir"],
  )
  labelled = load_eval_dataset(config, load_dataset(config))
  assert labelled.class_names == ("rose", "iris", "daisy")
  others = [
    f"{split}/{label}/{index}.png"
    for split in ("train", "test")
    for label in "xyz"
    for index in range(2)
  ]
  config = Config(
    **folder,
    label_order="1,0",
    eval_dataset="image_folder",
    eval_data_dir=str(folder_of(tmp_path / "others", others, rng)),
  )
  source = load_dataset(config)
  labelled = load_eval_dataset(config, source)
  assert source.class_names == ("1", "0") and labelled.class_names == ("x", "y", "z")


def test_an_order_of_grades_counts_for_an_evaluation_set_that_has_them(tmp_path, rng, caplog):
  grades = [
    f"{split}/{grade}/{index}.png"
    for split in ("train", "test")
    for grade in ("mild", "none", "severe")
    for index in range(2)
  ]
  config = Config(
    dataset="image_folder",
    data_dir=str(folder_of(tmp_path / "photos", [f"{index}.png" for index in range(12)], rng)),
    label_mode="none",
    ordinal_labels=True,
    label_order="none,mild,severe",
    eval_dataset="image_folder",
    eval_data_dir=str(folder_of(tmp_path / "graded", grades, rng)),
  )
  source = load_eval_dataset(config, load_dataset(config))
  assert source.class_names == ("none", "mild", "severe")
  assert "doesn't count" not in caplog.text
  mistyped = dataclasses.replace(config, label_order="none,mild,severest", ordinal_labels=False)
  source = load_eval_dataset(mistyped, load_dataset(mistyped))
  assert source.class_names == ("mild", "none", "severe")
  assert "label_order=none,mild,severest doesn't count" in caplog.text


def test_an_evaluation_set_has_its_own_names_of_features(tmp_path, flowers):
  path = str(tmp_path)
  tfds.builder("tiny_named", data_dir=path).download_and_prepare()
  keys = dict(image_key="photo", label_key="breed", dataset="tiny_named", data_dir=path)
  config = Config(**keys, eval_dataset="tiny_flowers", eval_data_dir=flowers["data_dir"])
  source = load_dataset(Config(**keys, image_channels=3, eval_split="train"))
  assert load_eval_dataset(config, source).class_names == ("rose", "iris", "daisy")


def test_what_is_wrong_with_an_evaluation_set_is_said_of_it(flowers):
  config = Config(
    **{**flowers, "eval_split": "test"},
    eval_dataset="tiny_flowers",
    eval_train_split="trane",
  )
  message = "^Of eval_dataset=tiny_flowers: train_split must be made of .* Received: trane$"
  with pytest.raises(UsageError, match=message):
    load_eval_dataset(config, load_dataset(config))


def test_labels_of_tfds_take_the_order_that_is_set(flowers):
  order = ("daisy", "rose", "iris")
  plain = load_dataset(Config(**flowers))
  source = load_dataset(Config(**flowers, label_order=",".join(order)))
  assert source.class_names == order
  expected = (plain.train.labels() + 1) % 3
  np.testing.assert_array_equal(source.train.labels(), expected)
  found = [record["label"] for record in source.train.records().as_numpy_iterator()]
  np.testing.assert_array_equal(found, expected)
  message = "label_order must name each label once: daisy, iris, rose. Received: rose,lily"
  with pytest.raises(UsageError, match=message):
    load_dataset(Config(**flowers, label_order="rose,lily"))
