"""Images with several labels each: in tables, archives and TFDS, up to the report."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError

NAMES = ("red", "green", "blue")


def marks_of(index):
  return [index >> place & 1 for place in range(3)]


def labels_of(split):
  return [record["label"].tolist() for record in split.records().as_numpy_iterator()]


@pytest.fixture
def table(tmp_path):
  """Options of a folder whose images are as coloured as their labels say."""
  lines = ["image,Red,green,blue,split"]
  for index in range(48):
    marks = marks_of(index % 8)
    path = tmp_path / "photos" / f"{index:02}.png"
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(index).integers(0, 60, [24, 24, 3])
    Image.fromarray((noise + 150 * np.array(marks)).astype(np.uint8)).save(path)
    lines.append(f"{index:02},{','.join(map(str, marks))},{'test' if index >= 32 else 'train'}")
  (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
  return dict(
    dataset="image_folder",
    data_dir=str(tmp_path / "photos"),
    label_table=str(tmp_path / "labels.csv"),
    label_columns="red, green,blue",
  )


def test_columns_of_a_table(table):
  source = load_dataset(Config(**table))
  assert source.multi_label and source.class_names == NAMES
  assert labels_of(source.train) == [marks_of(index % 8) for index in range(32)]
  assert labels_of(source.eval) == [marks_of(index % 8) for index in range(32, 48)]


def test_a_table_without_splits_and_with_groups(table, tmp_path, caplog):
  rows = list(csv.DictReader((tmp_path / "labels.csv").open()))
  for kind in ("plain", "group"):
    lines = ["image,red,green,blue" + ",group" * (kind == "group")]
    lines += [
      ",".join([row["image"], row["Red"], row["green"], row["blue"]])
      + f",patient {int(row['image']) // 4}" * (kind == "group")
      for row in rows
    ]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    source = load_dataset(Config(**table))
    sides = [set(split.names.tolist()) for split in (source.train, source.eval)]
    assert len(sides[0] | sides[1]) == 48 and not sides[0] & sides[1]
    if kind == "plain":
      assert len(sides[1]) == 10
    else:
      patients = [{int(name[:2]) // 4 for name in side} for side in sides]
      assert not patients[0] & patients[1] and len(patients[1]) == 3


@pytest.mark.parametrize("value", ["", "2", "-1", "yes"])
def test_a_value_that_is_neither_0_nor_1(table, tmp_path, value):
  text = (tmp_path / "labels.csv").read_text().replace("03,1,1,0", f"03,1,{value},0")
  (tmp_path / "labels.csv").write_text(text)
  message = f"label_table must say 0 or 1 of each label. Received: '{value}' for green, line 5 of"
  with pytest.raises(UsageError, match=message):
    load_dataset(Config(**table))


def test_wrong_columns(table):
  with pytest.raises(UsageError, match="must have the columns image, red, violet, perhaps split"):
    load_dataset(Config(**table | {"label_columns": "red,violet"}))
  with pytest.raises(UsageError, match="must be of a label_table, or of metadata.csv"):
    load_dataset(Config(**table | {"label_table": ""}))
  for values, message in (
    (dict(label_columns="red"), "label_columns must be at least two different columns"),
    (dict(label_columns="red,Red"), "label_columns must be at least two different columns"),
    (dict(ordinal_labels=True), "label_columns must be empty with label_order and ordinal_labels"),
  ):
    with pytest.raises(UsageError, match=message):
      Config(**table | values)


def archive(path, rng, labels, **arrays):
  images = rng.random([len(labels), 8, 8, 3])
  np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels, **arrays)
  return dict(dataset="npz", data_dir=str(path))


def test_archives(tmp_path, rng):
  labels = np.array([marks_of(index) for index in range(8)], np.uint8)
  for arrays, names in (({}, ("0", "1", "2")), ({"label_names": np.array(NAMES)}, NAMES)):
    source = load_dataset(Config(**archive(tmp_path / "data.npz", rng, labels, **arrays)))
    assert source.multi_label and source.class_names == names
    assert labels_of(source.train) == labels.tolist()
  options = archive(tmp_path / "data.npz", rng, labels, label_names=np.array(NAMES))
  source = load_dataset(Config(**options, label_order="blue,red,green"))
  assert source.class_names == ("blue", "red", "green")
  assert labels_of(source.train) == labels[:, [2, 0, 1]].tolist() == source.train.labels().tolist()
  with pytest.raises(UsageError, match="label_order must name each label once: blue, green, red."):
    load_dataset(Config(**options, label_order="red,green"))
  for wrong, message in (
    (np.eye(8, dtype=int), r"y_train must be class numbers, .* Received: \(8, 8\) with a single 1"),
    (2 * labels, "y_train must be 0 or 1, by label. Received: 2"),
    (labels[:, None], r"y_train must be \[8\], a class of each image, or \[8, L\]"),
  ):
    with pytest.raises(UsageError, match=message):
      load_dataset(Config(**archive(tmp_path / "data.npz", rng, wrong)))
  wrong = archive(tmp_path / "data.npz", rng, labels, label_names=np.array(["a", "b", "a"]))
  with pytest.raises(UsageError, match="label_names must differ. Received: a, b, a"):
    load_dataset(Config(**wrong))
  wrong = archive(tmp_path / "data.npz", rng, labels, label_names=np.array(["a", "b"]))
  with pytest.raises(UsageError, match=r"label_names must be \[3\]. Received: \(2,\)"):
    load_dataset(Config(**wrong))


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("cache", [False, True])
def test_sequences_of_labels_of_tfds(tmp_path, file_format, cache, monkeypatch):
  import tfds_sets.tiny_flowers  # noqa: F401  # registers the dataset

  monkeypatch.setattr("conrec_tf.data.sources.tfds_records.BYTES_IN_MEMORY", 0)
  tfds.builder(
    "tiny_scenes", data_dir=str(tmp_path), file_format=file_format
  ).download_and_prepare()
  source = load_dataset(Config(dataset="tiny_scenes", data_dir=str(tmp_path), cache_dataset=cache))
  assert source.multi_label and source.class_names == ("sky", "sea", "tree")
  found = [
    (int(source.decode(record["image"])[0, 0, 0]), record["label"].numpy().tolist())
    for record in source.train.records()
  ]
  assert sorted(found) == [(index, marks_of(index)) for index in range(8)]
  split = source.with_class_names(("moon", "tree", "sky", "sea")).train  # of which one isn't there
  renamed = [[0, marks[2], *marks[:2]] for _, marks in found]
  assert labels_of(split) == renamed and sorted(split.labels().tolist()) == sorted(renamed)
  values = dict(dataset="tiny_scenes", data_dir=str(tmp_path), cache_dataset=cache)
  split = load_dataset(Config(**values, label_order="tree,sky,sea")).train
  assert labels_of(split) == [[marks[2], *marks[:2]] for _, marks in found]


@pytest.mark.slow
def test_from_training_to_report(table, tmp_path, caplog):
  config = Config(
    **table,
    image_size=24,
    base_filters=2,
    unet_depth=3,
    local_crops=0,
    train_batch_size=8,
    train_steps=4,
    eval_every_epochs=0,
    select_best_on="validation",
    label_fractions="0.5,1",
    num_repeats=2,
    sweep_representations=True,
    export_format="",
    model_dir=str(tmp_path / "run"),
  )
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(config)
  folder = pathlib.Path(config.model_dir)
  result = json.loads((folder / "result.json").read_text())
  name = "eval/standardised_linear_auroc"
  assert result[name] > 0.9 and 0.5 < result["eval/knn_auroc"] <= 1
  low, high = result["eval/intervals"][name]
  assert low <= result[name] <= high
  rows = result["eval/labels"]
  assert [row["label"] for row in rows] == list(NAMES) and rows[0]["positive"] == 8
  assert np.mean([row["auroc"] for row in rows]) == pytest.approx(result[name])
  assert [row["fraction"] for row in result["eval/label_fractions"]] == [0.5, 1.0]
  assert len(result["eval/representations"]) == 18
  assert result["eval/best_selected_by"] == "eval/validation_standardised_linear_auroc"
  predictions = list(csv.DictReader((folder / "predictions_4.csv").open()))
  assert [int(row["green"]) for row in predictions] == [marks_of(i % 8)[1] for i in range(32, 48)]
  assert all(0 <= float(row["blue probability"]) <= 1 for row in predictions)
  page = (folder / "report/index.html").read_text()
  assert "Logistic regression of each label" in page
  assert f"{100 * rows[2]['auroc']:.2f}" in (folder / "report/labels.csv").read_text()
  assert "red, blue" in (folder / "projector/labels.tsv").read_text()

  # The same images, embedded and looked at; and compared with itself in another folder.
  commands.run(dataclasses.replace(config, mode="embed"))
  index = list(csv.DictReader((folder / "embeddings/photos/index.csv").open()))
  assert (index[3]["label"], index[3]["class_name"]) == ("110", "red, green")
  assert index[0]["class_name"] == "none of the labels"
  with np.load(folder / "embeddings/photos/train-00000-of-00001.npz") as arrays:
    assert arrays["label"].tolist() == [marks_of(i % 8) for i in range(32)]
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(dataclasses.replace(config, mode="check_data", model_dir=str(tmp_path / "data")))
  assert "labels     3, each of 16 images" in caplog.text


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(train_mode="finetune", select_best_on="evaluation"), "train_mode must be pretrain"),
    (dict(lineareval_while_pretraining=True), "lineareval_while_pretraining must be false"),
    (dict(few_shots="1"), "few_shots must be empty"),
  ],
)
def test_what_several_labels_are_not_for(table, tmp_path, values, message):
  config = Config(**table, **values, train_batch_size=8, model_dir=str(tmp_path / "run"))
  with pytest.raises(UsageError, match=f"{message} for images of several labels"):
    commands.run(config)
