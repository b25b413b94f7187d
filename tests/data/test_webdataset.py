"""Image files in tar archives."""

import io
import json
import tarfile

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config, UsageError
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset

LABELS = ("iris", "rose")


def photograph(seed):
  buffer = io.BytesIO()
  pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
  Image.fromarray(pixels).save(buffer, "PNG")
  return buffer.getvalue()


def shard(path, members, mode="w"):
  with tarfile.open(path, mode) as archive:
    for name, data in members:
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def shards(tmp_path):
  """Three shards for training and one for tests; in one, labels come before images, in JSON."""
  for number, name in enumerate(("train-000", "train-001", "train-002", "test-000")):
    members = []
    for index in range(10):
      key, label = f"{number}{index:03}", LABELS[index % 2]
      image = (f"{key}.png", photograph(10 * number + index))
      if number == 1:
        members += [(f"{key}.json", json.dumps({"label": label}).encode()), image]
      else:
        members += [image, (f"{key}.cls", f"{label}\n".encode()), (f"{key}.txt", b"a caption")]
    shard(tmp_path / f"{name}.tar", members)
  return tmp_path


def opened(path, **values):
  return load_dataset(Config(dataset="webdataset", data_dir=str(path), **values))


@pytest.mark.parametrize("pattern", ["", "{train-{000..002},test-000}.tar", "*.tar"])
def test_shards_hold_what_a_folder_would(shards, tmp_path, pattern):
  source = opened(shards / pattern if pattern else shards)
  assert source.class_names == LABELS and source.channels == 3
  assert (source.train.num_examples, source.eval.num_examples) == (30, 10)
  for split, start in ((source.train, 0), (source.eval, 30)):
    for place, record in enumerate(split.records()):
      expected = np.asarray(Image.open(io.BytesIO(photograph(start + place))))
      np.testing.assert_array_equal(source.decode(record["image"]), expected)
      assert record["label"] == place % 2


@pytest.mark.slow
def test_training_sees_the_same_as_from_a_folder(shards, tmp_path):
  for number in range(4):
    for index in range(10):
      split = "test" if number == 3 else "train"
      folder = tmp_path / "folder" / split / LABELS[index % 2]
      folder.mkdir(parents=True, exist_ok=True)
      (folder / f"{number}{index:03}.png").write_bytes(photograph(10 * number + index))
  values = dict(image_size=24, unet_depth=3, train_batch_size=8)
  batches = [
    next(iter(pretraining_batches(config)))
    for config in (
      Config(dataset="webdataset", data_dir=str(shards), **values),
      Config(dataset="image_folder", data_dir=str(tmp_path / "folder"), **values),
      Config(dataset="webdataset", data_dir=str(shards), cache_dataset=True, **values),
    )
  ]
  for name in ("corrupted", "target"):
    for other in batches[1:]:
      np.testing.assert_array_equal(batches[0][name], other[name])


def test_without_names_of_splits_a_share_is_held_out(shards):
  for number, path in enumerate(sorted(shards.glob("*.tar"))):
    path.rename(shards / f"photos-{number}.tar")
  source = opened(shards)
  assert (source.train.num_examples, source.eval.num_examples) == (32, 8)
  source = opened(shards, label_mode="none")
  assert (source.train.num_examples, source.eval.num_examples) == (36, 4)
  assert source.class_names == ()


def test_a_bad_image_is_named(shards):
  shard(shards / "train-003.tar", [("9.jpg", b""), ("9.cls", b"rose"), ("._9.jpg", b"")])
  source = opened(shards)
  assert source.bad[0].startswith("train-003/9.jpg: ") and source.train.num_examples == 31


@pytest.mark.parametrize(
  "members, mode, message",
  [
    ([("1.png", photograph(1))], "w", "none for 1 of 41, e.g. train-009/1.png"),
    (
      [("1.png", photograph(1)), ("1.cls", b"rose")],
      "w:gz",
      "must name tar archives, not compressed",
    ),
    ([("1.json", b"{")], "w", "must name tar archives"),
  ],
)
def test_what_is_refused(shards, members, mode, message):
  shard(shards / "train-009.tar", members, mode)
  with pytest.raises(UsageError, match=message):
    opened(shards)


def test_folders_within_archives_may_have_dots(shards):
  (shards / "train-000.tar").unlink()
  members = [(f"./v1.0/{index}.png", photograph(index)) for index in range(10)]
  members += [(f"./v1.0/{index}.cls", LABELS[index % 2].encode()) for index in range(10)]
  shard(shards / "train-000.tar", members)
  assert opened(shards).train.num_examples == 30


def test_archives_of_one_name_in_two_folders_are_refused(shards):
  (shards / "a").mkdir()
  (shards / "a/train-000.tar").write_bytes((shards / "train-000.tar").read_bytes())
  with pytest.raises(UsageError, match="train-000/0000.png is there twice.*Received: .*train-000"):
    opened(shards / "{train-000,a/train-000}.tar")


def test_nothing_there(tmp_path):
  for path in (tmp_path, tmp_path / "{0..3}.tar"):
    with pytest.raises(UsageError, match="data_dir must be a folder of .tar files or a pattern"):
      opened(path)
  shard(tmp_path / "0.tar", [("a.txt", b"")])
  with pytest.raises(UsageError, match="Received: 1 shards without any"):
    opened(tmp_path)


def test_an_archive_without_a_split_in_its_name_among_others_is_refused(shards):
  (shards / "test-000.tar").rename(shards / "more-000.tar")
  with pytest.raises(UsageError, match="train-000.tar with train, more-000.tar without any"):
    opened(shards)
