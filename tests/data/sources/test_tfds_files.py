"""Prepared datasets of TFDS whose files aren't what they were."""

import itertools
import shutil
import struct

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.stream import training_records
from conrec_tf.data.summary import failing_images_named, summarize
from conrec_tf.errors import UsageError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """`{format: folder}` with tiny_flowers."""
  import tfds_sets.tiny_flowers  # noqa: F401  # registers the dataset

  folders = {}
  for kind in ("tfrecord", "array_record"):
    folders[kind] = tmp_path_factory.mktemp(kind)
    tfds.builder("tiny_flowers", data_dir=folders[kind], file_format=kind).download_and_prepare()
  return folders


@pytest.fixture
def copy(prepared, tmp_path):
  """Copies the dataset in a format; returns its folder and the file of the split train."""

  def copied(kind):
    shutil.copytree(prepared[kind], tmp_path / kind)
    [path] = (tmp_path / kind).rglob("*-train.*record*")
    return tmp_path / kind, path

  return copied


def opened(folder, in_memory=True, monkeypatch=None):
  if not in_memory:
    monkeypatch.setattr("conrec_tf.data.sources.tfds_records.BYTES_IN_MEMORY", 0)
  return load_dataset(
    Config(dataset="tiny_flowers", data_dir=str(folder), train_split="train+validation")
  )


def test_a_dataset_that_another_process_prepares_at_once_is_taken(prepared, tmp_path, monkeypatch):
  class_ = tfds.builder_cls("tiny_flowers")
  prepare = class_.download_and_prepare

  def overtaken(builder):
    shutil.copytree(prepared["tfrecord"], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(class_, "download_and_prepare", prepare)
    prepare(class_(data_dir=str(tmp_path / "own")))
    (tmp_path / "own" / "tiny_flowers" / "1.0.0").rename(builder.data_dir)  # which is there

  monkeypatch.setattr(class_, "download_and_prepare", overtaken)
  assert opened(tmp_path).train.num_examples == opened(prepared["tfrecord"]).train.num_examples


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def short_of_records(path):
  """Leaves 15 whole records."""
  data, end = path.read_bytes(), 0
  for _ in range(15):
    end += 16 + struct.unpack_from("<Q", data, end)[0]
  path.write_bytes(data[:end])


def change_a_byte(path):
  data = bytearray(path.read_bytes())
  data[3000] ^= 255
  path.write_bytes(data)


def remove(path):
  path.unlink()


def empty(path):
  path.write_bytes(b"")


def make_folder(path):
  path.unlink()
  path.mkdir()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
  "kind, damage, why",
  [
    ("tfrecord", cut, "50850 of at least 84366 bytes in the files of train"),
    ("tfrecord", short_of_records, r"\d+ of at least 84366 bytes in the files of train"),
    ("tfrecord", remove, "No such file"),
    ("tfrecord", empty, "empty"),
    ("tfrecord", make_folder, "a folder"),
    ("array_record", cut, "0 of 24 records"),
    ("array_record", remove, "No such file"),
    ("array_record", empty, "empty"),
  ],
)
def test_a_damaged_file_is_named_when_the_dataset_is_opened(
  copy, monkeypatch, kind, damage, why, in_memory
):
  folder, path = copy(kind)
  damage(path)
  with pytest.raises(
    UsageError, match=rf"files as they were .* Received: tiny_flowers/1.0.0 with {path} \({why}"
  ) as error:
    opened(folder, in_memory, monkeypatch)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_a_changed_byte_is_named_when_it_is_read(copy, monkeypatch, kind):
  folder, path = copy(kind)
  change_a_byte(path)
  why = {"tfrecord": "corrupted record at", "array_record": "Corrupted .* hash mismatch"}[kind]
  with pytest.raises(UsageError, match=rf"with {path} \({why}"):
    opened(folder)
  source = opened(folder, False, monkeypatch)
  with pytest.raises(UsageError, match=rf"must stay as it was .* Received: {path} \({why}"):
    with failing_images_named(source):
      list(training_records(source.train, 8, seed=0).take(32))
  with pytest.raises(UsageError, match=rf"files as they were .* Received: {path} \({why}"):
    summarize(source.train, source)  # of check_data


def test_a_stream_that_ends_early_is_no_shorter_epoch(copy, monkeypatch):
  folder, path = copy("tfrecord")
  source = opened(folder, False, monkeypatch)
  assert [int(place) for place, _ in training_records(source.train, 8, seed=0).take(40)] == list(
    range(40)
  )
  short_of_records(path)
  with pytest.raises(UsageError, match=rf"Received: {path} \(15 of 24 records\)"):
    with failing_images_named(source):
      list(training_records(source.train, 8, seed=0).take(40))


def test_parts_of_a_split_stream_whole(copy, monkeypatch):
  folder, _ = copy("tfrecord")
  monkeypatch.setattr("conrec_tf.data.sources.tfds_records.BYTES_IN_MEMORY", 0)
  source = load_dataset(
    Config(dataset="tiny_flowers", data_dir=str(folder), train_split="train[5:15]+validation[:50%]")
  )
  rows = source.train.rows.shuffled(tf.constant([0, 1], tf.int64))
  assert sorted(int(place) for place, _ in rows) == list(range(16))


@pytest.mark.parametrize(
  "name, content, why",
  [
    *(
      ("dataset_info.json", content, why)
      for content, why in (
        ("", "Expecting value"),
        ('{"name": "tiny', "Unterminated string"),
        ("[]", "without splits"),
      )
    ),
    ("dataset_info.json", None, "missing"),
  ],
)
def test_a_damaged_description_is_named(copy, name, content, why):
  folder, _ = copy("tfrecord")
  [path] = folder.rglob(name)
  if content is None:
    path.unlink()
  else:
    path.write_text(content)
  with pytest.raises(UsageError, match=rf"Received: tiny_flowers.* with {path} \({why}"):
    opened(folder)


def test_a_damaged_description_of_a_dataset_without_code_is_named(copy):
  folder, _ = copy("tfrecord")
  (folder / "tiny_flowers").rename(folder / "somebody_elses")
  for path in itertools.chain(folder.rglob("*record*"), folder.rglob("dataset_info.json")):
    if path.name.startswith("tiny_flowers"):
      path.rename(path.with_name(path.name.replace("tiny_flowers", "somebody_elses")))
    else:
      path.write_text(path.read_text().replace("tiny_flowers", "somebody_elses"))
  config = Config(dataset="somebody_elses", data_dir=str(folder))
  assert load_dataset(config).train.num_examples == 24
  [path] = folder.rglob("features.json")
  path.write_text(path.read_text()[:100])
  with pytest.raises(UsageError, match=rf"Received: somebody_elses with {path} \("):
    load_dataset(config)
