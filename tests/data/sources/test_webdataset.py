"""Image files in tar archives."""

import io
import json
import tarfile

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources.webdataset import find_samples, read_label
from conrec_tf.errors import UsageError

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
  values = dict(image_size=24, unet_depth=3, local_crops=0, train_batch_size=8)
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
  assert source.bad[0].name == "train-003/9.jpg" and source.train.num_examples == 31


@pytest.mark.parametrize(
  "members, mode, message",
  [
    ([("1.png", photograph(1))], "w", "none for 1 of 41, e.g. train-009/1.png"),
    (
      [("1.png", photograph(1)), ("1.cls", b"rose")],
      "w:gz",
      "must name tar archives, not compressed",
    ),
    (
      [("1.png", photograph(1)), ("1.json", b"{")],
      "w",
      "must be text in UTF-8, or JSON .Expecting.* Received: train-009/1.json",
    ),
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


def test_a_label_is_of_the_archive_that_its_image_is_in(tmp_path):
  for folder, ending, label in (("a", "png", b"iris"), ("b", "PNG", b"rose")):
    (tmp_path / folder).mkdir()
    members = [(f"1.{ending}", photograph(1)), ("1.cls", label), ("1.txt", b"a caption")]
    shard(tmp_path / folder / "photos.tar", members)
  with pytest.raises(UsageError, match="photos/1.cls is there twice.*Received: .*b/photos.tar"):
    opened(tmp_path / "{a,b}/photos.tar")


def test_archives_that_a_pattern_names_must_be_there(shards):
  for pattern, missing in (
    ("train-{000..004}.tar", "2 are not, e.g. .*/train-003.tar"),
    ("{train,dev}-*.tar", "1 are not, e.g. .*/dev-.*tar"),
  ):
    with pytest.raises(UsageError, match=f"data_dir must name archives .* {missing}"):
      opened(shards / pattern)


def test_archives_of_a_folder_that_are_left_out_are_named(shards, caplog):
  (shards / "more").mkdir()
  others = ("more/train-003.tar", "train-004.tar.gz", "train-005.tgz", "train-006.TAR")
  for name in (*others, ".train-007.tar", "train.tar-list.txt"):
    shard(shards / name, [("1.png", photograph(1)), ("1.cls", b"rose")])
  assert opened(shards).train.num_examples == 30
  assert f"Left out: {len(others)} archives in {shards} that" in caplog.text
  assert "e.g. more/train-003.tar" in caplog.text


def test_nothing_there(tmp_path):
  for path in (tmp_path, tmp_path / "{0..3}.tar"):
    with pytest.raises(UsageError, match="data_dir must be a folder of .tar files or a pattern"):
      opened(path)
  shard(tmp_path / "0.tar", [("a.txt", b"")])
  with pytest.raises(UsageError, match="Received: 1 shards without any"):
    opened(tmp_path)


def classes(path):
  """Names of the labels of images, by the images' names."""
  source = opened(path)
  labels = [record["label"] for record in source.train.records().as_numpy_iterator()]
  return dict(zip(source.train.names, [source.class_names[label] for label in labels], strict=True))


def test_the_last_ending_says_what_a_file_is():
  names = "v1.5_0003.jpg v1.5_0003.cls v1.5_0004.JPG v1.5_0004.JSON a/v1.5_0003.png .hidden.jpg"
  found = find_samples(names.split() + ["a/v1.5_0003.cls", "0001.txt"])
  assert found.labels == {
    "v1.5_0003.jpg": ["v1.5_0003.cls"],
    "v1.5_0004.JPG": ["v1.5_0004.JSON"],
    "a/v1.5_0003.png": ["a/v1.5_0003.cls"],
  }
  assert found.others == [".hidden.jpg", "0001.txt"] and not found.further and not found.alone


def test_images_of_one_sample():
  """As WebDataset has them, whose key ends at the first dot."""
  found = find_samples(["1.left.jpg", "1.right.jpg", "1.cls", "1.json", "2.cls"])
  assert found.labels == {name: ["1.json", "1.cls"] for name in ("1.left.jpg", "1.right.jpg")}
  assert found.alone == ["2.cls"]
  found = find_samples(["1.jpg", "1.mask.png", "1.cls"])
  assert found.labels == {"1.jpg": ["1.cls"]} and found.further == ["1.mask.png"]


def test_the_longest_key_has_the_label():
  names = ["a.b.c.png", "a.b.cls", "a.cls", "x/a.b.c.cls"]
  found = find_samples(names)
  assert found.labels == {"a.b.c.png": ["a.b.cls"]} and found.alone == ["a.cls", "x/a.b.c.cls"]


def test_names_with_dots_and_endings_in_capitals(tmp_path):
  members = [(f"v{index}.{index}_{index}.PNG", photograph(index)) for index in range(10)]
  members += [(f"v{index}.{index}_{index}.CLS", LABELS[index % 2].encode()) for index in range(10)]
  shard(tmp_path / "train.tar", members)
  shard(tmp_path / "test.tar", members)
  assert classes(tmp_path) == {
    f"train/v{index}.{index}_{index}.PNG": LABELS[index % 2] for index in range(10)
  }


def test_netpbm_images_are_read(tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
  members = [(f"{index}.ppm", b"P6 3 2 255\n" + pixels.tobytes()) for index in range(4)]
  shard(tmp_path / "train.tar", members)
  shard(tmp_path / "test.tar", members)
  source = opened(tmp_path)
  record = next(iter(source.train.records()))
  np.testing.assert_array_equal(source.decode(record["image"]), pixels)


def test_what_is_left_out_is_counted_and_named(tmp_path, caplog):
  members = [("1.png", photograph(1)), ("2.png", photograph(2)), ("2.seg.png", photograph(3))]
  members += [("1.cls", b"a"), ("2.cls", b"b"), ("3.cls", b"b"), ("1.txt", b""), ("2.exr", b"")]
  shard(tmp_path / "train.tar", members)
  shard(tmp_path / "test.tar", members)
  with caplog.at_level("INFO", "conrec_tf"):
    assert opened(tmp_path).train.num_examples == 2
  for line in (
    "4 files are neither images nor labels, e.g. test/1.txt",
    "2 files are further images of samples that have one, e.g. test/2.seg.png",
    "2 files are labels without an image, e.g. test/3.cls",
  ):
    assert f"Left out: {line}" in caplog.text


@pytest.mark.parametrize(
  "name, data, label",
  [
    ("1.cls", b" rose\n", "rose"),
    ("1.CLS", b"3", "3"),
    ("1.cls", b"\xef\xbb\xbfrose\r\n", "rose"),  # as some editors write it
    ("1.cls", b"", None),
    ("1.json", b'{"label": "rose "}', "rose"),
    ("1.json", b'\xef\xbb\xbf{"label": 1}', "1"),
    ("1.json", b'{"label": 1.0}', "1"),
    ("1.json", b'{"label": 0.5}', "0.5"),
    ("1.json", b'{"label": [2, 0, 2.0]}', ("0", "2")),
    ("1.json", b'{"label": []}', ()),
    ("1.json", b'{"caption": "a rose"}', None),
    ("1.json", b'"rose"', None),
  ],
)
def test_labels_in_files(name, data, label):
  assert read_label(name, data) == label


@pytest.mark.parametrize("text", ["true", "null", '{"name": "rose"}', "[1, [2]]", "NaN", '""'])
def test_what_is_no_label_is_refused_by_name(text):
  with pytest.raises(UsageError, match=r"must be text, a number, or a list .* in train/1.json$"):
    read_label("train/1.json", f'{{"label": {text}}}'.encode())
  with pytest.raises(UsageError, match="must be text in UTF-8, or JSON .* train/1.cls$"):
    read_label("train/1.cls", b"\xe9")


def test_lists_are_several_labels_of_each_image(tmp_path):
  lists = [[2, 10], [], ["2"], [10.0]]
  for split in ("train", "test"):
    members = [(f"{index}.png", photograph(index)) for index in range(4)]
    members += [
      (f"{index}.json", json.dumps({"label": names}).encode()) for index, names in enumerate(lists)
    ]
    shard(tmp_path / f"{split}.tar", members)
  source = opened(tmp_path)
  assert source.multi_label and source.class_names == ("2", "10")
  found = [record["label"].tolist() for record in source.train.records().as_numpy_iterator()]
  assert found == [[1, 1], [0, 0], [1, 0], [0, 1]]
  shard(tmp_path / "train-1.tar", [("9.png", photograph(9)), ("9.cls", b"2")])
  with pytest.raises(UsageError, match="Received: one for train-1/9.png, a list for "):
    opened(tmp_path)


def test_an_archive_without_a_split_in_its_name_among_others_is_refused(shards):
  (shards / "test-000.tar").rename(shards / "more-000.tar")
  with pytest.raises(UsageError, match="train-000.tar with train, more-000.tar without any"):
    opened(shards)


def test_folders_within_archives_have_names_of_splits_too(tmp_path):
  members = [
    (f"{split}/{seed}.png", photograph(seed)) for seed, split in enumerate(["test", "val"])
  ]
  shard(tmp_path / "photos.tar", members)
  assert opened(tmp_path, train_split="val").train.names.tolist() == ["photos/val/1.png"]
  shard(tmp_path / "photos.tar", [*members, ("bus/a/1.png", photograph(2))])
  with pytest.raises(UsageError, match="photos.tar/test with test, photos.tar/bus/a without any"):
    opened(tmp_path)
