"""Labels in `metadata.csv` and others beside the images of a folder."""

import csv
import json
import shutil
import unicodedata

import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

from conrec_tf.config import Config
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError

LABELS = ("iris", "rose")


def pictures(folder, seeds):
  folder.mkdir(parents=True, exist_ok=True)
  for seed in seeds:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{seed:02}.png")


def write(folder, kind, rows):
  """Writes a table of rows, dicts of the same keys."""
  path = folder / f"metadata.{kind}"
  if kind == "csv":
    with path.open("w", newline="") as file:
      table = csv.DictWriter(file, rows[0].keys())
      table.writeheader()
      table.writerows(rows)
  elif kind == "jsonl":
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  else:
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("caption_first", [False, True])
def test_commas_move_no_cell_of_the_first_column(tmp_path, caption_first):
  pictures(tmp_path, range(12))
  rows = [("file_name", "text"), *((f"{seed:02}.png", "a dog, asleep") for seed in range(12))]
  lines = [",".join(row[::-1] if caption_first else row) for row in rows]
  (tmp_path / "metadata.csv").write_text("\n".join(lines))
  config = Config(dataset="image_folder", data_dir=str(tmp_path))
  if caption_first:
    with pytest.raises(UsageError, match="a cell for each of 2 columns.* line 2 of"):
      load_dataset(config)
  else:
    assert load_dataset(config).class_names == ()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, kind):
  """Of labels in `Label` and `label` one would be taken, and nobody said which."""
  pictures(tmp_path / "images", range(4))
  rows = [{**row, "Label": "other"} for row in rows_of(range(4))]
  write(tmp_path, kind, rows)
  with pytest.raises(UsageError, match=r"each column once.* Received: label again in .*metadata"):
    load_dataset(Config(dataset="image_folder", data_dir=str(tmp_path)))


def rows_of(seeds, **more):
  return [
    {"file_name": f"images/{seed:02}.png", "label": LABELS[seed % 2], "age": seed} | more
    for seed in seeds
  ]


@pytest.fixture(scope="module", params=["csv", "jsonl", "parquet"])
def folder(request, tmp_path_factory):
  """Two splits, each with a table of its own."""
  path = tmp_path_factory.mktemp(request.param)
  for split, seeds in (("train", range(24)), ("test", range(24, 32))):
    pictures(path / split / "images", seeds)
    write(path / split, request.param, rows_of(seeds))
  return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
  """The same images in folders of labels."""
  path = tmp_path_factory.mktemp("plain")
  for seed in range(32):
    pictures(path / ("train" if seed < 24 else "test") / LABELS[seed % 2], [seed])
  return path


@pytest.fixture(scope="module")
def plain_batch(plain):
  return first_batch(plain)


def first_batch(path):
  values = dict(
    image_size=24, unet_depth=3, local_crops=0, train_batch_size=8, dataset="image_folder"
  )
  return next(iter(pretraining_batches(Config(data_dir=str(path), **values))))


def opened(path, **values):
  return load_dataset(Config(dataset="image_folder", data_dir=str(path), **values))


def words(source, split):
  return [source.class_names[label] for label in split.labels()]


def test_labels_and_splits_are_those_of_tables_and_folders(folder, caplog):
  caplog.set_level("INFO")
  source = opened(folder)
  assert source.class_names == LABELS
  assert words(source, source.train) == [LABELS[seed % 2] for seed in range(24)]
  assert words(source, source.eval) == [LABELS[seed % 2] for seed in range(24, 32)]
  assert "test/metadata." in caplog.text and "give labels" in caplog.text
  assert "Lost" not in caplog.text and "folders are" not in caplog.text


def test_batches_are_those_of_folders_of_labels(folder, plain, plain_batch):
  ours = first_batch(folder)
  assert ours.keys() == plain_batch.keys()
  for key, expected in plain_batch.items():
    np.testing.assert_array_equal(ours[key], expected)
  assert opened(folder).digest == opened(plain).digest


def test_what_datasets_reads_as_an_image_folder_has_the_same_labels(folder, tmp_path):
  datasets = pytest.importorskip("datasets")
  found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "hf"))
  source = opened(folder)
  assert words(source, source.train) == found["train"]["label"][:]
  assert words(source, source.eval) == found["test"]["label"][:]


def test_without_splits_a_share_is_held_out_and_what_is_lost_is_counted(tmp_path, caplog):
  pictures(tmp_path / "images", range(22))
  write(tmp_path, "csv", rows_of([*range(20), 50, 51, 52]))
  source = opened(tmp_path)
  assert (source.train.num_examples, source.eval.num_examples) == (16, 4)
  assert "Lost: 3 images of metadata.csv" in caplog.text and "images/50.png" in caplog.text
  assert "Lost: 2 of 22 images aren't in metadata.csv" in caplog.text


def test_captions_leave_the_labels_of_folders(tmp_path, caplog):
  caplog.set_level("INFO")
  for label, seeds in zip(LABELS, (range(5), range(5, 10)), strict=True):
    pictures(tmp_path / label, seeds)
  write(tmp_path, "jsonl", [{"file_name": "iris/00.png", "text": "an iris"}])
  source = opened(tmp_path)
  assert source.class_names == LABELS
  assert "No labels: metadata.jsonl (1 tables) has no column label" in caplog.text
  assert "doesn't count" not in caplog.text
  write(tmp_path, "jsonl", [{"file_name": "iris/00.png", "group": "p1"}])  # of patients
  assert opened(tmp_path).train.groups is None
  assert "group of metadata.jsonl doesn't count, as there is no label beside it" in caplog.text
  write(tmp_path, "jsonl", [{"image": "00", "label": "other"}])
  assert opened(tmp_path).class_names == LABELS
  assert "Left out metadata.jsonl, which has no column file_name" in caplog.text


def test_folders_can_be_the_labels_nevertheless(tmp_path):
  for label, seeds in zip(LABELS, (range(5), range(5, 10)), strict=True):
    pictures(tmp_path / label, seeds)
  write(tmp_path, "csv", [{"file_name": "iris/00.png", "label": "tulip"}])
  assert opened(tmp_path, label_mode="folders").class_names == LABELS


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_is_named_in_whatever_form_of_unicode(tmp_path, kind):
  name = unicodedata.normalize("NFD", "é")  # as some file systems have it
  pictures(tmp_path, range(4))
  for path in tmp_path.iterdir():
    path.rename(path.with_name(f"{name}{path.name}"))
  write(
    tmp_path, kind, [{"file_name": f"{name}{i:02}.png", "label": LABELS[i % 2]} for i in range(4)]
  )
  source = opened(tmp_path, train_split="all", eval_split="all")
  assert sorted(words(source, source.train)) == ["iris", "iris", "rose", "rose"]


def test_columns_of_several_labels(tmp_path):
  pictures(tmp_path / "images", range(12))
  rows = [
    row | {"red": bool(seed % 2), "Big": seed % 3 // 2}
    for seed, row in enumerate(rows_of(range(12)))
  ]
  write(tmp_path, "jsonl", rows)
  source = opened(tmp_path, label_columns="red,Big", train_split="train+test")
  assert source.multi_label and source.class_names == ("red", "Big")
  assert source.train.labels().sum(axis=0).tolist() == [6, 4]
  (tmp_path / "metadata.jsonl").unlink()
  with pytest.raises(UsageError, match="label_columns must be of .*Received: red,Big"):
    opened(tmp_path, label_columns="red,Big")


@pytest.mark.parametrize(
  "text, expected",
  [
    ('{"file_name": "images/00.png", "label": ["a"]}', r"text or a number. Received: \['a'\] in"),
    ('{"file_name": "images/00.png", "label": null}', "must give each image a label. .*line 1 of"),
    ('{"file_name": "images/00.png", "label"', "tables of JSON, a line each .*metadata.jsonl"),
    ('{"file_name": "images/77.png", "label": "a"}', "metadata files must name files of data_dir"),
  ],
)
def test_tables_that_are_wrong_are_refused(tmp_path, text, expected):
  pictures(tmp_path / "images", range(2))
  (tmp_path / "metadata.jsonl").write_text(text + "\n")
  with pytest.raises(UsageError, match=expected):
    opened(tmp_path)


def test_two_tables_of_one_folder_or_some_without_labels_are_refused(folder, tmp_path):
  folder = shutil.copytree(folder, tmp_path / "set")
  (folder / "test/metadata.tsv").write_text("no table of ours\n")
  kind = next(folder.glob("train/metadata.*")).suffix[1:]
  write(folder / "test", kind, [{"file_name": "images/24.png", "text": "an iris"}])
  with pytest.raises(UsageError, match="must all have label. Received: test/metadata"):
    opened(folder)
  write(folder / "test", "csv", rows_of([24]))
  write(folder / "test", "jsonl", rows_of([24]))
  with pytest.raises(UsageError, match="one table a folder. Received: test/metadata"):
    opened(folder)
