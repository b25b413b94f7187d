import csv
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pyarrow
from pyarrow import parquet
import pytest

from conrec_tf.commands import embed as embedding
from conrec_tf.commands import evaluate
from conrec_tf.config import Config
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.distribute import shards
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.embedding import batch_size
from conrec_tf.models import build_model
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.embedding_files import read_embedded
from conrec_tf.run_dir.run_directory import RunDirectory


def config_of(root):
  return Config(
    mode="embed",
    dataset="image_folder",
    data_dir=str(root / "photos"),
    image_size=24,
    base_filters=2,
    unet_depth=2,
    train_split="train+test",
    eval_split="test",
    eval_batch_size=4,
    mixed_precision="float32",
    model_dir=str(root / "run"),
  )


def embed(config):
  directory = RunDirectory(config.run_directory)
  embedding.run(config)
  return directory.path / "embeddings/photos"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
  """A folder with a run in run/, photos/ of which numbers 3 and 4 are bad, embedded; its network.

  Both are only read.
  """
  root, rng = tmp_path_factory.mktemp("embedded"), np.random.default_rng(0)
  for index in range(20):
    folder = root / "photos" / ("odd" if index % 2 else "even")
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (26, 30, 3)).astype(np.uint8)).save(
      folder / f"{index:02}.png"
    )
  for name in ("odd/03.png", "even/04.png"):
    (root / "photos" / name).write_bytes(b"")
  config = config_of(root)
  model = build_model(config, 3)
  Checkpoints(root / "run", 1, {"model": model}).save(5)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(embedding, "IMAGES_PER_FILE", 8)
    embed(config)
  return root, model


@pytest.fixture
def photos(network, tmp_path, monkeypatch):
  """The `Config` of a copy of that folder."""
  monkeypatch.setattr(embedding, "IMAGES_PER_FILE", 8)
  shutil.copytree(network[0], tmp_path, dirs_exist_ok=True)
  return config_of(tmp_path)


def contents(folder):
  """What the files of a folder hold, wherever the images lie."""
  tables = {path.name: path for path in folder.glob("*.parquet")}
  others = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in tables}
  return others | {
    name: parquet.read_table(path).drop(["filepath"]).to_pylist() for name, path in tables.items()
  }


def test_every_good_image_has_its_row(network):
  root, model = network
  photos, folder = config_of(root), root / "run/embeddings/photos"
  files = sorted(path.name for path in folder.glob("*.npz"))
  assert files == ["eval-00000-of-00001.npz"] + [
    f"train-0000{part}-of-00003.npz" for part in range(3)
  ]
  with (folder / "index.csv").open() as file:
    rows = [row for row in csv.DictReader(file) if row["split"] == "train+test"]
  assert sorted(row["image"][-6:-4] for row in rows) == [
    f"{index:02}" for index in range(20) if index not in (3, 4)
  ]
  source = load_dataset(photos)
  [(images, labels)] = evaluation_batches(source, source.train.records(), 24, 20)
  expected = {
    name: (vector, label)
    for name, vector, label in zip(
      source.train.names, model.embed(images).numpy(), labels, strict=True
    )
  }
  for row in rows:
    with np.load(folder / row["file"]) as archive:
      vector, label = archive["embedding"][int(row["row"])], archive["label"][int(row["row"])]
    np.testing.assert_allclose(vector, expected[row["image"]][0], atol=1e-5)
    assert label == expected[row["image"]][1] == int(row["label"])
    assert row["class_name"] == row["image"].split("/")[-2]


def test_one_parquet_file_holds_everything(network):
  root, _ = network
  folder = root / "run/embeddings/photos"
  table = parquet.read_table(folder / "embeddings.parquet")
  embedded = read_embedded(folder)
  assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 2 * (2 + 4))
  assert table.column_names == ["filepath", "image", "split", "class_name", "embedding"]
  np.testing.assert_array_equal(np.array(table["embedding"].to_pylist()), embedded.vectors)
  for row, expected in zip(table.to_pylist(), embedded.rows, strict=True):
    assert {name: row[name] for name in ("image", "split", "class_name")} == {
      name: expected[name] for name in ("image", "split", "class_name")
    }
    assert row["filepath"] == str(root / "photos" / row["image"])


def test_embedding_goes_on_where_it_stopped(photos):
  folder = pathlib.Path(photos.model_dir) / "embeddings/photos"
  before = contents(folder)
  kept = folder / "train-00000-of-00003.npz"
  at = kept.stat().st_mtime_ns
  (folder / "index.csv").unlink()
  (folder / "train-00002-of-00003.npz").unlink()
  os.truncate(folder / "train-00001-of-00003.npz", 100)
  embed(photos)
  assert contents(folder) == before
  assert kept.stat().st_mtime_ns == at


def test_embeddings_of_other_images_or_networks_are_refused(photos):
  Checkpoints(photos.model_dir, 1, {"model": build_model(photos, 3)}).save(6)
  with pytest.raises(UsageError, match="Received: the network; global_step: 5 -> 6"):
    embed(photos)


def test_embeddings_of_images_that_changed_are_refused(photos, tmp_path):
  (tmp_path / "photos/odd/21.png").write_bytes((tmp_path / "photos/odd/05.png").read_bytes())
  with pytest.raises(
    UsageError, match="by the same network. Received: images or labels of the train"
  ):
    embed(photos)


def test_images_of_other_channels_than_the_network_takes_are_refused(photos, tmp_path):
  RunDirectory(photos.model_dir).write("images.json", {"channels": 4})
  evaluated = dict(mode="eval", checkpoint=photos.model_dir, model_dir=str(tmp_path / "evaluated"))
  for call, config in (
    (embed, photos),
    (evaluate.evaluate_network, dataclasses.replace(photos, **evaluated)),
  ):
    with pytest.raises(UsageError, match="images must have 4 channels.* Received: 3 in .*photos"):
      call(config)


@pytest.mark.parametrize("gone", ["train-00001-of-00003.npz", ""])
def test_two_commands_do_not_mix_their_files(photos, gone):
  """As of two folders called alike: the second one removes what the first one has."""
  config, pretrained, source, model, _ = embedding.opened(photos, RunDirectory(photos.model_dir))
  folder = pathlib.Path(config.model_dir) / "embeddings/photos"
  last = folder / "train-00002-of-00003.npz"
  last.unlink()
  archives = embedding.embedded_archives(config, model, source, folder)
  next(archives)
  if gone:
    (folder / gone).unlink()
  else:
    (folder / "description.json").write_text("{}")
  with pytest.raises(UsageError, match="two commands at once.*, in which another began meanwhile"):
    list(archives)
  assert not last.exists()


def test_embeddings_of_unlabelled_images_have_no_label(photos, tmp_path):
  (tmp_path / "flat").symlink_to(tmp_path / "photos/even")
  folder = embed(Config(**{**vars(photos), "data_dir": str(tmp_path / "flat")})).with_name("flat")
  with np.load(folder / "train-00000-of-00002.npz") as archive:
    assert set(archive) == {"embedding"} and archive["embedding"].shape == (8, 2 * (2 + 4))
  with np.load(folder / "train-00001-of-00002.npz") as archive:
    assert set(archive) == {"embedding"} and archive["embedding"].shape == (1, 2 * (2 + 4))
  assert "train-00000-of-00002.npz,0,train+test,00.png,,\n" in (folder / "index.csv").read_text()


def test_batch_size_fits_memory_and_files():
  assert batch_size(Config()) == 64
  assert batch_size(Config(image_size=512, base_filters=64)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("center_crop", [True, False])
def test_an_embedding_does_not_depend_on_the_other_images(tmp_path, rng, center_crop):
  """The same photograph alone, and among others of other sizes."""
  config = Config(
    mode="embed",
    dataset="image_folder",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    train_split="train",
    eval_split="train",
    label_mode="none",
    model_dir=str(tmp_path / "run"),
  )
  Checkpoints(tmp_path / "run", 1, {"model": build_model(config, 3)}).save(5)
  RunDirectory(tmp_path / "run").write("images.json", {"channels": 3, "center_crop": center_crop})
  photograph = Image.fromarray(rng.integers(0, 256, (60, 60, 3)).astype(np.uint8))
  found = []
  for name, sizes in (("alone", []), ("among", [(40, 50), (30, 70)])):
    folder = tmp_path / name / "train"
    folder.mkdir(parents=True)
    photograph.save(folder / "a.png")
    for index, size in enumerate(sizes):
      photograph.resize(size).save(folder / f"b{index}.png")
    moved = dataclasses.replace(config, data_dir=str(tmp_path / name))
    embedding.run(moved)
    path = tmp_path / f"run/embeddings/{name}/train-00000-of-00001.npz"
    found.append(np.load(path)["embedding"][0])
  np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.slow
def test_two_workers_leave_the_files_of_one(photos, monkeypatch):
  folder = pathlib.Path(photos.model_dir) / "embeddings/photos"
  before = contents(folder)
  for path in (*folder.glob("*.npz"), folder / "index.csv", folder / "embeddings.parquet"):
    path.unlink()
  monkeypatch.setattr(shards, "SECONDS_TO_START", 0.1)
  set_worker(monkeypatch, 1)
  embedding.run(photos)
  assert {path.name for path in folder.iterdir()} == {
    "description.json",
    "train-00001-of-00003.npz",
  }
  (folder / "train-00001-of-00003.npz").rename(folder.parent / "made_by_1.npz")
  set_worker(monkeypatch, 0)
  with pytest.raises(UsageError, match="Received: worker 1 of 2 lost, 1 files missing"):
    embedding.run(photos)
  (folder.parent / "made_by_1.npz").rename(folder / "train-00001-of-00003.npz")
  embedding.run(photos)
  assert contents(folder) == before


def set_worker(monkeypatch, index):
  tasks = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}
  monkeypatch.setenv("TF_CONFIG", json.dumps(tasks))


@pytest.mark.slow
def test_a_killed_worker_is_made_up_for(photos):
  """Two processes at once; the second is killed, and the same command makes what it left."""
  folder = pathlib.Path(photos.model_dir) / "embeddings/photos"
  before = contents(folder)
  shutil.rmtree(folder)
  code = (
    "import json, sys; from conrec_tf.commands import embed; from conrec_tf.config import Config;"
    "from conrec_tf.distribute import shards; embed.IMAGES_PER_FILE = 8;"
    "shards.SECONDS_BETWEEN_BEATS, shards.SECONDS_WITHOUT_BEAT = 1, 10;"
    "embed.run(Config(**json.loads(sys.argv[1])))"
  )

  def start(index):
    tasks = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(tasks)}
    arguments = [sys.executable, "-c", code, json.dumps(photos.settings)]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)

  first, second = start(0), start(1)
  while not (folder / ".worker-1-of-2").exists():
    assert second.poll() is None
    time.sleep(0.02)
  second.kill()
  second.communicate()
  _, error = first.communicate(timeout=300)
  if not (folder / "train-00001-of-00003.npz").exists():
    assert first.returncode and "worker 1 of 2 lost" in error
  first, second = start(0), start(1)
  for process in (first, second):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
  assert contents(folder) == before
