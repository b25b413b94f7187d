"""Images in Parquet files, as the library `datasets` writes them."""

from hashlib import sha256
import io
import json

import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

from conrec_tf.config import Config
from conrec_tf.data.files.scan import cache_folder
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources.parquet import image_names, split_of
from conrec_tf.errors import UsageError

CLASSES = ("tulip", "iris", "rose")  # neither in natural nor in the order of use
STORED = pa.struct({"bytes": pa.binary(), "path": pa.string()})
VALUES = dict(image_size=24, unet_depth=3, local_crops=0, train_batch_size=8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """A cache of the test's own."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def photograph(seed):
  """An encoded image, of every second seed a JPEG."""
  buffer = io.BytesIO()
  pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
  Image.fromarray(pixels).save(buffer, "JPEG" if seed % 2 else "PNG")
  return buffer.getvalue()


def name_of(seed):
  return f"{seed:03}.{'jpg' if seed % 2 else 'png'}"


def image_set(seeds, label=lambda seed: seed % 3, kind=None, named=True):
  """A `datasets.Dataset` of images."""
  datasets = pytest.importorskip("datasets")
  kind = kind or datasets.ClassLabel(names=list(CLASSES))
  columns = {
    "image": [
      {"bytes": photograph(seed), "path": name_of(seed) if named else None} for seed in seeds
    ],
    "label": [label(seed) for seed in seeds],
  }
  features = datasets.Features({"image": datasets.Image(), "label": kind})
  return datasets.Dataset.from_dict(columns, features=features)


def write_shards(found, folder, split, count):
  folder.mkdir(parents=True, exist_ok=True)
  for number in range(count):
    part = found.shard(count, number, contiguous=True)
    part.to_parquet(str(folder / f"{split}-{number:05}-of-{count:05}.parquet"))


@pytest.fixture
def shards(tmp_path):
  write_shards(image_set(range(30)), tmp_path / "set/data", "train", 3)
  write_shards(image_set(range(30, 40)), tmp_path / "set/data", "test", 1)
  return tmp_path / "set"


def write_table(path, **columns):
  path.parent.mkdir(parents=True, exist_ok=True)
  parquet.write_table(pa.table(columns), path)
  return path


def opened(path, **values):
  return load_dataset(Config(dataset="parquet", data_dir=str(path), **values))


def words(source, split):
  """`[name of the label]` of a split, in its order."""
  return [source.class_names[label] if label >= 0 else None for label in split.labels()]


def first_batches(**values):
  batches = pretraining_batches(Config(**VALUES, **values))
  return [batch for batch, _ in zip(batches, range(4), strict=False)]


def test_columns_of_images_of_one_size_are_told_apart(tmp_path, rng):
  """What is known of the images of one is nothing known of those of another."""
  columns = {"left": [], "right": []}
  for pixels in rng.integers(0, 256, (12, 24, 24, 3), np.uint8):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")  # all take as many bytes
    columns["left" if len(columns["left"]) < 6 else "right"].append(buffer.getvalue())
  parquet.write_table(pa.table({**columns, "label": ["a", "b"] * 3}), tmp_path / "train.parquet")
  values = dict(dataset="parquet", data_dir=str(tmp_path), train_split="all", eval_split="all")
  for name, images in columns.items():
    split = load_dataset(Config(**values, image_key=name)).train
    assert {bytes(row) for row in split.content} == {sha256(image).digest() for image in images}


def test_shards_hold_images_and_labels_in_the_order_of_names(shards):
  source = opened(shards)
  assert source.class_names == CLASSES and source.channels == 3
  for split, start in ((source.train, 0), (source.eval, 30)):
    expected = [CLASSES[seed % 3] for seed in range(start, start + split.num_examples)]
    assert words(source, split) == expected
    for place, record in enumerate(split.records().take(4)):
      if place % 2 == 0:
        expected = np.asarray(Image.open(io.BytesIO(photograph(start + place))))
        np.testing.assert_array_equal(source.decode(record["image"]), expected)
  assert source.train.names[11] == "data/train-00001-of-00003/011.jpg"


def test_batches_are_those_of_a_folder(shards, tmp_path):
  for seed in range(40):
    folder = tmp_path / "folder" / ("train" if seed < 30 else "test") / CLASSES[seed % 3]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name_of(seed)).write_bytes(photograph(seed))
  of_folder = first_batches(dataset="image_folder", data_dir=str(tmp_path / "folder"))
  for values in ({}, {"cache_dataset": True}):
    found = first_batches(dataset="parquet", data_dir=str(shards), **values)
    for batch, expected in zip(found, of_folder, strict=True):
      assert batch.keys() == expected.keys()
      for key in batch:
        np.testing.assert_array_equal(batch[key], expected[key])
  source = load_dataset(Config(dataset="image_folder", data_dir=str(tmp_path / "folder")))
  other = opened(shards)
  assert words(other, other.train) == words(source, source.train)


@pytest.mark.parametrize("named", [True, False])
def test_order_does_not_depend_on_the_files(tmp_path, named):
  found = image_set(range(20), named=named)
  write_shards(found, tmp_path / "three", "train", 3)
  write_shards(found, tmp_path / "one/data", "train", 1)
  backwards = found.select(range(19, -1, -1))
  write_shards(backwards, tmp_path / "backwards", "train", 4)
  contents = []
  for folder in ("three", "one", "backwards"):
    source = opened(tmp_path / folder, eval_split="train")
    contents.append((source.train.content.tobytes(), words(source, source.train), source.digest))
  assert contents[0] == contents[1] == contents[2]


def test_lists_of_classes_are_several_labels(tmp_path):
  datasets = pytest.importorskip("datasets")
  kind = datasets.List(datasets.ClassLabel(names=list(CLASSES)))
  found = image_set(range(12), lambda seed: [0, 2][: seed % 3], kind)
  write_shards(found, tmp_path, "train", 2)
  source = opened(tmp_path, eval_split="train")
  assert source.multi_label and source.class_names == CLASSES
  np.testing.assert_array_equal(source.train.labels()[:3], [[0, 0, 0], [1, 0, 0], [1, 0, 1]])


def test_files_without_the_lists_that_others_have_are_refused(tmp_path):
  """As of a test split whose labels aren't published."""
  kind = pa.list_(pa.string())
  for split, labels in (("train", [["a"], [], ["a", "b"]]), ("test", [None] * 3)):
    images = [photograph(seed) for seed in range(3)]
    write_table(tmp_path / f"{split}.parquet", image=images, label=pa.array(labels, kind))
  with pytest.raises(UsageError, match="Received: none for test/.*, a list for train/"):
    opened(tmp_path)


@pytest.mark.parametrize(
  "values, names",
  [
    (["b", "a", None, " ", "a10", "a9"] * 3, ("a", "a9", "a10", "b")),
    ([3, 1, None, -1, 10, 1] * 3, ("1", "3", "10")),
    ([3.0, 1.0, None, -1.0, 10.0, 1.0] * 3, ("1", "3", "10")),
  ],
)
def test_labels_of_text_and_numbers_with_none(tmp_path, values, names, caplog):
  images = [photograph(seed) for seed in range(18)]
  write_table(tmp_path / "a.parquet", image=images, label=values)
  source = opened(tmp_path, train_split="train+test")
  assert source.class_names == names
  assert sum(label is None for label in words(source, source.train)) == 6
  assert source.labelled.train.num_examples == 12
  assert "6 of 18 images of train+test have no label (-1)" in caplog.text


def test_classes_that_are_null_or_minus_one_are_no_label(tmp_path):
  found = image_set(range(12), lambda seed: (0, -1, None, 2)[seed % 4])
  write_shards(found, tmp_path, "train", 1)
  source = opened(tmp_path, eval_split="train")
  assert words(source, source.train) == ["tulip", None, None, "rose"] * 3


def test_the_order_of_labels_can_be_set(shards):
  source = opened(shards, label_order="rose,iris,tulip")
  assert source.class_names == ("rose", "iris", "tulip")
  assert words(source, source.train)[:3] == list(CLASSES)


def test_columns_by_kind_or_by_option(tmp_path):
  images, labels = [photograph(seed) for seed in range(12)], [0, 1, 2] * 4
  path = write_table(tmp_path / "a.parquet", img=images, fine=labels, coarse=labels)
  with pytest.raises(
    UsageError, match="label_key must name .* of img, fine, coarse. Received: label"
  ):
    opened(path)
  assert opened(path, label_key="fine").class_names == ("0", "1", "2")
  with pytest.raises(UsageError, match="image_key must name .*of img. Received: photo"):
    opened(path, image_key="photo")
  features = {
    "img": {"_type": "Image"},
    **{name: {"_type": "ClassLabel", "names": list("abc")} for name in ("fine", "coarse")},
  }
  schema = pa.schema(
    [("img", pa.binary()), ("fine", pa.int64()), ("coarse", pa.int64())],
    {"huggingface": json.dumps({"info": {"features": features}})},
  )
  table = pa.table([images, labels, labels], schema=schema)
  parquet.write_table(table, path)
  with pytest.raises(UsageError, match="label_key .* of fine, coarse. Received: label"):
    opened(path)
  assert opened(path, label_key="coarse").class_names == ("a", "b", "c")


def test_images_alone_are_unlabelled(tmp_path):
  write_table(tmp_path / "a.parquet", image=[photograph(seed) for seed in range(20)])
  source = opened(tmp_path)
  assert not source.class_names
  assert (source.train.num_examples, source.eval.num_examples) == (18, 2)


@pytest.mark.parametrize(
  "columns, expected",
  [
    ({"label": [0, 1]}, "image_key must name the column of the image, of label. Received: image"),
    ({"image": [b"", b""], "label": [[0, 0], [1, 0]]}, "each once and by name or number"),
    ({"image": [b"", b""], "label": [[1], None]}, "a list of labels, empty where it has none"),
    (
      {"image": [b"", b""], "label": [0.5, 1]},
      r"text or a whole number for a label. Received: 0.5",
    ),
    ({"image": [b"", b""], "label": [True, False]}, "text or a whole number for a label"),
    (
      {"image": pa.array([{"bytes": None, "path": "photos/1.png"}], STORED), "label": [0]},
      r"not their paths, .*Received: photos/1.png alone in row 0 of .*a.parquet",
    ),
  ],
)
def test_what_no_set_of_images_is(tmp_path, columns, expected):
  write_table(tmp_path / "a.parquet", **columns)
  with pytest.raises(UsageError, match=expected):
    opened(tmp_path)
  assert not list(tmp_path.glob("cache/conrec_tf/*.images"))


def test_views_of_bytes_and_text_are_read(tmp_path):
  images = pa.array([photograph(seed) for seed in range(12)], pa.binary_view())
  write_table(
    tmp_path / "a.parquet", image=images, label=pa.array(["a", "b"] * 6, pa.string_view())
  )
  source = opened(tmp_path, train_split="all", eval_split="all")
  assert source.class_names == ("a", "b") and not source.bad and source.train.num_examples == 12


def test_a_class_out_of_range_is_refused(tmp_path):
  found = image_set(range(6))
  path = tmp_path / "a.parquet"
  found.to_parquet(str(path))
  table = parquet.read_table(path)
  parquet.write_table(
    table.set_column(1, table.schema.field(1), pa.array([0, 1, 2, 3, 0, 1])), path
  )
  with pytest.raises(
    UsageError, match="a label from 0 to 2. Received: 3 in row 3 of label of .*a.par"
  ):
    opened(path)


def test_a_missing_image_is_a_bad_one_and_named(tmp_path):
  images = [photograph(seed) for seed in range(12)]
  images[3], images[5] = None, b"no image"
  write_table(tmp_path / "a.parquet", image=images, label=["a", "b"] * 6)
  source = opened(tmp_path)
  assert sorted(file.name for file in source.bad) == [
    "a/000003/image",
    "a/000005/image",
  ]


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_cut_file_is_named(shards, keep):
  path = shards / "data/train-00001-of-00003.parquet"
  data = path.read_bytes()
  path.write_bytes(data[: int(len(data) * keep) if keep == 0.5 else keep])
  with pytest.raises(UsageError, match="are whole .*Received: .*train-00001-of-00003.parquet$"):
    opened(shards)


def test_a_file_that_is_damaged_within_is_named(tmp_path):
  images = [photograph(seed) for seed in range(12)]
  path = write_table(tmp_path / "a.parquet", image=images, label=[0, 1] * 6)
  table = parquet.read_table(path)
  parquet.write_table(table, path, compression="zstd", write_page_checksum=True)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  with pytest.raises(UsageError, match="that are whole .*Received: .*a.parquet$"):
    opened(path)


def test_files_of_other_columns_are_refused(shards):
  write_table(shards / "data/train-more.parquet", image=[photograph(0)], label=["tulip"])
  with pytest.raises(
    UsageError, match="same columns and classes. Received: .* of tulip, iris, rose"
  ):
    opened(shards)


def test_images_of_two_files_that_have_one_name_are_refused(tmp_path):
  for file, image in (("a", "b/1.png"), ("a/b", "1.png")):
    images = pa.array([{"bytes": photograph(len(file)), "path": image}], STORED)
    write_table(tmp_path / f"{file}.parquet", image=images, label=["tulip"])
  with pytest.raises(UsageError, match="Received: a/b/1.png in .*/a.parquet and .*/a/b.parquet"):
    opened(tmp_path)


def test_what_save_to_disk_wrote_is_refused_with_the_way_out(tmp_path):
  image_set(range(6)).save_to_disk(str(tmp_path / "saved"))
  with pytest.raises(UsageError, match="to_parquet.*Received: .*saved with data-00000"):
    opened(tmp_path / "saved")


def copies():
  return sorted(cache_folder().glob("parquet-*.images"))


def test_images_are_unpacked_once(shards, caplog):
  caplog.set_level("INFO")
  opened(shards)
  assert "Unpacking 40 images of 4 Parquet files" in caplog.text
  first = {path: path.stat().st_ino for path in copies()}
  caplog.clear()
  opened(shards)
  assert "Unpacking" not in caplog.text and len(first) == 4
  assert {path: path.stat().st_ino for path in copies()} == first


def test_a_copy_of_what_has_changed_or_was_cut_is_replaced(shards):
  opened(shards)
  first = copies()
  write_shards(image_set(range(60, 70)), shards / "data", "test", 1)
  source = opened(shards)
  assert len(copies()) == 4 and len(set(copies()) - set(first)) == 1
  assert source.eval.names[0].endswith("060.png")
  cut = copies()[0]
  cut.write_bytes(cut.read_bytes()[:-5])
  assert opened(shards).train.content.tobytes() == source.train.content.tobytes()


def test_a_copy_that_is_removed_stays_readable_where_it_was_open(shards):
  source = opened(shards)
  for path in copies():
    path.unlink()
  place = next(iter(source.train.records()))["image"]
  assert source.decode(place).shape == (30, 40, 3)  # it was open already


def test_a_cache_that_cannot_be_written_is_one_line(shards, monkeypatch, tmp_path):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  with pytest.raises(
    UsageError, match="XDG_CACHE_HOME must .*room.*for .*data/test-00000-of-00001"
  ):
    opened(shards)


@pytest.mark.parametrize(
  "name, split",
  [
    ("data/train-00000-of-00003", "train"),
    ("data/unsupervised-00000-of-00003-0123abcdef", "unsupervised"),
    ("photos-validation-00000-of-00001", "validation"),
    ("test/0000", "test"),
    ("default/train/my_test_images", "test"),
    ("images", ""),
  ],
)
def test_splits_of_names(name, split):
  assert split_of(name) == split


def test_names_of_images_are_unique_and_below_their_file():
  paths = ["a/1.png", "", "2.png", "/../3.png", "2.png"]
  assert image_names("f", paths) == [
    *("f/a/1.png", "f/000001/image", "f/000002/2.png", "f/3.png", "f/000004/2.png")
  ]
