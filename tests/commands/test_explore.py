import csv
import pathlib
import types

import numpy as np
from PIL import Image
from pyarrow import parquet
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.commands import explore
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources import tfds_records
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.run_dir.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def options(tmp_path_factory):
  """Keyword arguments of a `Config` of a run with photos, of which number 7 is one of 2 again."""
  root, rng = tmp_path_factory.mktemp("explored"), np.random.default_rng(0)
  for index in range(16):
    folder = root / "photos" / ("odd" if index % 2 else "even")
    folder.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((30, 30)).save(folder / f"{index:02}.png")
  Image.open(root / "photos/even/02.png").save(root / "photos/odd/07.png")
  values = dict(
    mode="explore",
    dataset="image_folder",
    data_dir=str(root / "photos"),
    image_size=24,
    base_filters=2,
    unet_depth=2,
    train_split="train+test",  # holds the images of the other one too
    eval_split="test",
    model_dir=str(root / "run"),
    label_next=3,
  )
  Checkpoints(root / "run", 1, {"model": build_model(Config(**values), 3)}).save(5)
  return values


def rows(options, name):
  path = pathlib.Path(options["model_dir"], "explore/photos", f"{name}.csv")
  with path.open() as file:
    return list(csv.DictReader(file))


def test_a_folder_is_embedded_and_explored_in_one_call(options, caplog):
  with caplog.at_level("INFO", "conrec_tf"):
    explore.run(Config(**options))
  page = pathlib.Path(options["model_dir"], "explore/photos/index.html").read_text()
  assert explore.ALL_LABELLED in page and explore.ALL_LABELLED in caplog.text
  assert sorted(row["image"][-6:] for row in rows(options, "images")) == [
    f"{number:02}.png" for number in range(16)
  ]
  [pair] = [row for row in rows(options, "duplicates") if row["bits"] == "0"]
  assert {pair["image"], pair["other_image"]} == {"even/02.png", "odd/07.png"}
  assert pair["by_embedding"] == "1" and float(pair["distance"]) == 0
  assert len(rows(options, "label_next")) == 3
  table = parquet.read_table(pathlib.Path(options["model_dir"], "explore/photos/images.parquet"))
  assert table.column("image").to_pylist() == [row["image"] for row in rows(options, "images")]
  np.testing.assert_allclose(
    table.column("x"), [float(row["x"]) for row in rows(options, "images")], rtol=1e-3
  )
  assert len(table.column("embedding")[0]) == 2 * (2 + 4)
  read_by_others = [
    "filepath",
    "split",
    "class_name",
    "embedding",
    "x",
    "y",
    "cluster",
    "isolation",
  ]
  assert set(read_by_others) <= set(table.column_names)  # in docs/explore.md
  assert all(map(pathlib.Path.is_file, map(pathlib.Path, table.column("filepath").to_pylist())))
  assert len(list(pathlib.Path(options["model_dir"]).glob("explore/photos/sprites/*.jpg"))) == 1


def test_a_page_says_where_not_all_pairs_are_listed(options, monkeypatch):
  for most, is_said in ((1, True), (2, False)):  # there is one
    monkeypatch.setattr(explore, "MOST_PAIRS", most)
    explore.run(Config(**options))
    page = pathlib.Path(options["model_dir"], "explore/photos/index.html").read_text()
    assert (f"near-duplicates by embedding some {most} are listed" in page) == is_said


def test_the_nearest_of_an_image_are_printed_and_shown(options, caplog):
  photo = pathlib.Path(options["data_dir"], "odd/05.png")
  caplog.set_level("INFO", "conrec_tf")
  explore.run(Config(**options, query=str(photo)))
  told = [record.getMessage() for record in caplog.records]
  assert "0.0000  odd/05.png  odd" in told
  page = pathlib.Path(options["model_dir"], "explore/photos-query.html").read_text()
  assert "Nearest to 05.png" in page and page.count("<tr>") == 17  # a head, sixteen images


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_records_that_are_in_both_splits_are_looked_at_once(tmp_path, kind):
  """TFDS reads a sum of splits by turns, so that its records aren't in the order of the files."""
  import tfds_sets.tiny_flowers  # noqa: F401  # registers the dataset

  builder = tfds.builder("tiny_flowers", data_dir=str(tmp_path), file_format=kind)
  builder.download_and_prepare()
  values = dict(mode="explore", dataset="tiny_flowers", data_dir=str(tmp_path), image_size=24)
  whole, part = "train+validation", "validation"
  source = load_dataset(Config(**values, train_split=part, eval_split=whole))
  [(_, first), (split, index)], kept = explore.distinct(source)
  assert len(first) == 12 and kept.sum() == 36
  train = load_dataset(Config(**values, train_split="train", eval_split=part)).train
  np.testing.assert_array_equal(split.content[index], train.content)


def test_arrays_that_are_in_both_splits_are_looked_at_once(tmp_path, rng):
  images = rng.integers(0, 256, (12, 24, 24, 3), np.uint8)
  np.savez(tmp_path / "data.npz", x_train=images[:8], x_test=images[8:])
  source = load_dataset(
    Config(dataset="npz", data_dir=str(tmp_path / "data.npz"), train_split="test", eval_split="all")
  )
  [_, (_, index)], _ = explore.distinct(source)
  np.testing.assert_array_equal(index, np.arange(8))


def test_records_that_stream_must_not_be_in_both_splits_in_part(flowers, monkeypatch):
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 0)
  values = {**flowers, "train_split": "validation"}
  for split, count in (("train", 36), ("validation[:50%]", 12)):
    parts, _ = explore.distinct(load_dataset(Config(**values, eval_split=split)))
    assert sum(len(index) for _, index in parts) == count
  source = load_dataset(Config(**values, eval_split="train+validation"))
  message = (
    "eval_split must lie within .* Received: .*, of whose 36 images 24 are not in validation"
  )
  with pytest.raises(UsageError, match=message):
    explore.distinct(source)


@pytest.mark.parametrize("frames", ["middle", "all"])
def test_a_query_of_several_images_is_the_middle_one(tmp_path, monkeypatch, frames):
  nibabel = pytest.importorskip("nibabel")
  shades = np.array([0, 50, 100, 255], np.uint8)
  volume = nibabel.Nifti1Image(np.broadcast_to(shades, [24, 24, 4]).copy(), np.eye(4))
  (tmp_path / "scan.nii").write_bytes(volume.to_bytes())
  monkeypatch.setattr(explore, "open_network", lambda *args: (None, None))
  monkeypatch.setattr(explore, "embed_images", lambda model, images, options: images)
  asked = Config(mode="explore", query=str(tmp_path / "scan.nii"), dicom_frames=frames)
  source = types.SimpleNamespace(channels=1, center_crop=False)
  seen, _ = explore.embedded_query(asked, asked.query, PretrainedModel("model", ""), source)
  np.testing.assert_allclose(seen, 100 / 255, atol=1e-3)


def test_a_query_that_is_no_image_is_refused(tmp_path):
  (tmp_path / "note.txt").write_text("no image")
  source = types.SimpleNamespace(channels=3, center_crop=False)
  for name in ("note.txt", "missing.jpg"):
    asked = Config(mode="explore", query=str(tmp_path / name))
    with pytest.raises(UsageError, match=f"query must be an image file.* Received: .*{name}"):
      explore.embedded_query(asked, asked.query, PretrainedModel("model", ""), source)


def test_a_query_of_other_channels_than_the_images_is_refused(tmp_path):
  Image.fromarray(np.zeros([24, 24, 3], np.uint8)).save(tmp_path / "photo.png")
  asked = Config(mode="explore", query=str(tmp_path / "photo.png"))
  source = types.SimpleNamespace(channels=4, center_crop=False)
  with pytest.raises(UsageError, match="query must have 4 channels.* Received: 3 in .*photo.png"):
    explore.embedded_query(asked, asked.query, PretrainedModel("model", ""), source)


def test_a_query_of_which_the_network_says_nothing_finite_is_refused(tmp_path, monkeypatch):
  Image.fromarray(np.zeros([24, 24, 3], np.uint8)).save(tmp_path / "photo.png")
  asked = Config(mode="explore", query=str(tmp_path / "photo.png"))
  source = types.SimpleNamespace(channels=3, center_crop=False)
  monkeypatch.setattr(explore, "open_network", lambda *args: (None, None))
  nothing = lambda *args: tf.constant([[1.0, np.nan]])
  monkeypatch.setattr(explore, "embed_images", nothing)
  with pytest.raises(UsageError, match="must give finite numbers .* e.g. photo.png"):
    explore.embedded_query(asked, asked.query, PretrainedModel("model", ""), source)


def test_of_several_processes_the_first_alone_explores(options, monkeypatch):
  monkeypatch.setattr(explore.embed, "run", lambda config: None)
  monkeypatch.setattr(explore.embed, "opened_images", None)
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
  monkeypatch.setenv("SLURM_PROCID", "1")
  explore.run(Config(**options))
