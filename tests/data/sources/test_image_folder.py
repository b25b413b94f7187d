"""Folders of images, as people have them."""

import io
import os
import pathlib
import shutil

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.pipeline import evaluation_batches, pretraining_batches
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.errors import UsageError


def photograph(index, size=(40, 30)):
  rng = np.random.default_rng(index)
  return Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))


def encoded(image, kind="JPEG", **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def write(root, name, content):
  path = pathlib.Path(root, name)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)


@pytest.fixture
def tree(tmp_path):
  """split/label/file: 2 splits, 2 labels, 12 and 6 images each."""
  for split, count in (("train", 12), ("test", 6)):
    for label, name in enumerate(("iris", "rose")):
      for index in range(count):
        number = 100 * label + index + 1000 * (split == "test")
        write(tmp_path / "tree", f"{split}/{name}/{number}.jpg", encoded(photograph(number)))
  return tmp_path / "tree"


def config(path, **values):
  return Config(
    **{
      **dict(
        dataset="image_folder",
        data_dir=str(path),
        image_size=24,
        base_filters=2,
        unet_depth=3,
        local_crops=0,
        train_batch_size=8,
      ),
      **values,
    }
  )


def pixels(source, split):
  return [source.decode(record["image"]).numpy() for record in split.records()]


def test_splits_and_labels(tree):
  source = load_dataset(config(tree))
  assert (source.train.num_examples, source.eval.num_examples) == (24, 12)
  assert source.class_names == ("iris", "rose") and source.channels == 3 and source.one_size
  labels = [int(record["label"]) for record in source.train.records()]
  names = [os.path.basename(record["image"].numpy()) for record in source.train.records()]
  assert names == sorted(names)
  assert all(
    label == (name[-7:-6] == b"1")
    for label, name in zip(labels, names, strict=True)
    if len(name) > 6
  )
  assert sum(labels) == 12
  half = load_dataset(config(tree, train_split="train[:50%]+test"))
  assert half.train.num_examples == 24


def test_labels_without_splits(tree, caplog):
  for number in range(5):
    write(tree, f"train/lone/{number}.png", encoded(photograph(number), "PNG"))
  write(tree, "train/single/x.PNG", encoded(photograph(77), "PNG"))
  write(tree, "train/rose/notes.txt", b"hello")
  with caplog.at_level("INFO", "conrec_tf"):
    source = load_dataset(config(tree / "train"))
  held = [int(record["label"]) for record in source.eval.records()]
  assert np.bincount(held, minlength=4).tolist() == [2, 1, 2, 0]  # a fifth; a single image stays
  assert source.train.num_examples == 30 - 5
  again = load_dataset(config(tree / "train", seed=3))
  assert [r["image"].numpy() for r in again.eval.records()] == [
    r["image"].numpy() for r in source.eval.records()
  ]
  assert "1 of 13 files in rose aren't images, e.g. notes.txt" in caplog.text
  assert "a fifth of each label is held out" in caplog.text


@pytest.mark.slow
def test_nesting_makes_no_difference_without_labels(tree, tmp_path):
  for path in tree.rglob("*.jpg"):
    write(tmp_path / "flat", path.name, path.read_bytes())
  write(tmp_path / "flat", "other.txt", b"")
  nested = load_dataset(config(tree, label_mode="none"))
  flat = load_dataset(config(tmp_path / "flat"))
  assert nested.class_names == flat.class_names == ()
  assert nested.eval.num_examples == 4
  for a, b in zip(
    pretraining_batches(config(tree, label_mode="none"), nested).take(6),
    pretraining_batches(config(tmp_path / "flat"), flat),
    strict=False,  # batches never end
  ):
    assert set(a) == {"corrupted", "target"}
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


def test_files_of_one_name_are_ordered_by_content(tmp_path):
  for root, folders in (("a", "xyz"), ("b", "zxy")):
    for number, folder in enumerate(folders):
      write(tmp_path / root, f"{folder}/same.jpg", encoded(photograph(number)))
  one, other = (
    pixels(source, source.train)
    for source in (
      load_dataset(config(tmp_path / root, label_mode="none", train_split="train+test"))
      for root in "ab"
    )
  )
  assert len(one) == 3
  for a, b in zip(one, other, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  "name, content, expected",
  [
    ("grey.png", lambda: encoded(photograph(0).convert("L"), "PNG"), "L"),
    ("alpha.png", lambda: encoded(photograph(0).convert("RGBA"), "PNG"), "RGB"),
    ("grey_alpha.png", lambda: encoded(photograph(0).convert("LA"), "PNG"), "L"),
    ("palette.png", lambda: encoded(photograph(0).quantize(16), "PNG"), "RGB"),
    ("PHOTO.BMP", lambda: encoded(photograph(0), "BMP"), "RGB"),
    ("gif.GIF", lambda: encoded(photograph(0).quantize(16), "GIF"), "RGB"),
    ("a_png.jpg", lambda: encoded(photograph(0), "PNG"), "RGB"),
  ],
)
def test_kinds_of_files(tmp_path, name, content, expected):
  write(tmp_path, name, content())
  write(tmp_path, "a.png", encoded(photograph(1), "PNG"))
  source = load_dataset(config(tmp_path, train_split="train+test", image_channels=3))
  images = dict(
    zip(
      [os.path.basename(r["image"].numpy()).decode() for r in source.train.records()],
      pixels(source, source.train),
      strict=True,
    )
  )
  with Image.open(io.BytesIO(content())) as picture:
    np.testing.assert_array_equal(images[name], picture.convert(expected).convert("RGB"))


def test_channels(tmp_path):
  sixteen = np.arange(900, dtype=np.uint16).reshape(30, 30) * 70
  write(tmp_path, "deep.png", encoded(Image.fromarray(sixteen), "PNG"))
  write(tmp_path, "grey.jpg", encoded(photograph(0).convert("L")))
  source = load_dataset(config(tmp_path, train_split="train+test"))
  assert source.channels == 1 and not source.one_size
  (deep,) = (image for image in pixels(source, source.train) if len(image) == 30)
  np.testing.assert_array_equal(deep[:, :, 0], sixteen)
  write(tmp_path, "colour.gif", encoded(photograph(0).quantize(16), "GIF"))
  write(tmp_path, "cmyk.jpg", encoded(photograph(0).convert("CMYK")))
  assert load_dataset(config(tmp_path)).channels == 3
  grey = load_dataset(config(tmp_path, train_split="train+test", image_channels=1))
  assert {image.shape[-1] for image in pixels(grey, grey.train)} == {1}


def test_tiny_images(tmp_path):
  for index in range(9):
    write(tmp_path, f"{index}.png", encoded(photograph(index, (1 + index % 3, 2)), "PNG"))
  values = config(tmp_path, train_batch_size=2)
  source = load_dataset(values)
  batch = next(iter(pretraining_batches(values, source)))
  assert batch["target"].shape == (2, 2, 24, 24, 3)


def make_bad(root):
  """Replaces images by bad ones of eight kinds; returns their names."""
  good = encoded(photograph(5))
  png = encoded(photograph(5), "PNG")
  kinds = {
    "0.jpg": b"",
    "1.jpg": good[: len(good) // 2],
    "2.jpg": b"not an image at all",
    "3.jpg": png[:100],
    "4.jpg": bytes(500),
    "5.jpg": good[:2] + bytes(300),
    "100.jpg": encoded(photograph(1), "BMP")[:60],
    "101.jpg": b"GIF89a",
  }
  for name, content in kinds.items():
    (path,) = root.rglob(name)
    path.write_bytes(content)
  return set(kinds)


def test_bad_images_keep_position_and_count(tree):
  before = load_dataset(config(tree))
  images = pixels(before, before.train)
  names = [os.path.basename(r["image"].numpy()).decode() for r in before.train.records()]
  bad = make_bad(tree)
  source = load_dataset(config(tree))
  assert {os.path.basename(file.name) for file in source.bad} == bad
  assert all(file.why for file in source.bad)
  replaced = pixels(source, source.train)
  assert len(replaced) == len(images)
  for index in range(len(names)):
    stand_in = index
    while names[stand_in % len(names)] in bad:
      stand_in += 1
    np.testing.assert_array_equal(replaced[index], images[stand_in % len(names)])
  for batch, _ in evaluation_batches(source, source.train.records(), 24, 16):
    assert np.all(np.isfinite(batch))
  with pytest.raises(UsageError, match="at most max_undecodable=3 .*, 3 of 36. Received: 8, e.g. "):
    load_dataset(config(tree, max_undecodable="3"))
  load_dataset(config(tree, max_undecodable="3,30%"))


def test_what_stands_in_for_a_bad_image_is_of_its_slice(tree, caplog):
  names = [os.path.basename(name) for name in load_dataset(config(tree)).train.names]
  bad = names[11]  # the last one of the first half
  next(tree.rglob(bad)).write_bytes(b"nothing")
  values = config(tree, train_split="train[:12]", eval_split="train[12:]+train[11:12]")
  source = load_dataset(values)
  learnt, measured = (
    [os.path.basename(name) for name in split.names] for split in (source.train, source.eval)
  )
  assert learnt == [*names[:11], names[0]] and measured == names[12:]
  assert load_eval_dataset(values, source).train.num_examples == 11
  assert "too, e.g." not in caplog.text
  with pytest.raises(UsageError, match=r"eval_split must hold images. .*train\[11:12\], which is"):
    load_dataset(config(tree, eval_split="train[11:12]"))


def test_each_image_is_evaluated_once(tree):
  before = load_dataset(config(tree))
  assert before.without_stand_ins is before
  images = pixels(before, before.train)
  names = [os.path.basename(name) for name in before.train.names]
  bad = make_bad(tree)
  source = load_dataset(config(tree))
  evaluated = load_eval_dataset(config(tree), source)
  kept = [place for place, name in enumerate(names) if name not in bad]
  split = evaluated.train
  assert split.num_examples == len(kept) == source.train.num_examples - len(bad)
  assert [os.path.basename(name) for name in split.names] == [names[place] for place in kept]
  assert len(split.shapes) == len(kept) and split.records().cardinality() == len(kept)
  for image, place in zip(pixels(evaluated, split), kept, strict=True):
    np.testing.assert_array_equal(image, images[place])
  assert len(set(evaluated.eval.names)) == evaluated.eval.num_examples


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(data_dir=""), "data_dir must be a folder of images, .* Received: nothing"),
    (dict(data_dir="/no/such/folder"), "Received: /no/such/folder, which doesn't exist"),
    (dict(train_split="dev"), "train_split must be made of test, train, .* Received: dev"),
    (
      dict(label_mode="folders", data_dir="{}/train/iris"),
      "must hold label/file or split/label/file",
    ),
  ],
)
def test_bad_folders(tree, values, message):
  values = {name: value.format(tree) for name, value in values.items()}
  with pytest.raises(UsageError, match=message):
    load_dataset(config(tree, **values))


def test_other_bad_folders(tree, tmp_path):
  (tmp_path / "empty").mkdir()
  with pytest.raises(UsageError, match=r"must hold images .* with 0 other files"):
    load_dataset(config(tmp_path / "empty"))
  shutil.copytree(tree, tmp_path / "deep" / "a" / "b")
  with pytest.raises(
    UsageError, match="label_mode must be none .* auto for 36 files 4 folders deep"
  ):
    load_dataset(config(tmp_path / "deep"))
  shutil.rmtree(tree / "train" / "iris")
  with pytest.raises(UsageError, match="at least two labels.* rose alone"):
    load_dataset(config(tree / "train"))
  for path in tree.rglob("*.jpg"):
    path.write_bytes(b"x")
  with pytest.raises(UsageError, match="must hold images that can be decoded. Received: 24 bad"):
    load_dataset(config(tree))


@pytest.mark.slow
def test_in_memory_it_is_the_same(tree, flowers, caplog):
  make_bad(tree)
  with caplog.at_level("INFO", "conrec_tf"):
    for values in (dict(dataset="image_folder", data_dir=str(tree)), flowers):
      kept, read = (
        next(iter(pretraining_batches(config(tree, **{**values, "cache_dataset": on}))))
        for on in (True, False)
      )
      np.testing.assert_array_equal(kept["corrupted"], read["corrupted"])
  assert "Keeping the images in memory: 0 MB" in caplog.text


def test_a_link_in_a_circle_ends(tree):
  os.symlink(tree, tree / "train" / "rose" / "again")
  assert load_dataset(config(tree)).train.num_examples == 24


def test_a_labelled_dataset_for_evaluation(tree, flowers):
  values = config(
    tree,
    label_mode="none",
    eval_dataset="tiny_flowers",
    eval_data_dir=flowers["data_dir"],
    eval_train_split="train+validation",
  )
  source = load_dataset(values)
  eval_source = load_eval_dataset(values, source)
  assert eval_source.class_names == ("rose", "iris", "daisy")
  assert eval_source.train.num_examples == 36 and eval_source.channels == 3
  assert load_eval_dataset(config(tree), source) is source


def test_which_images_are_bad_is_in_the_digest(tree):
  before = load_dataset(config(tree))
  again = load_dataset(config(tree, max_pixels=30 * 40))
  assert again.digest == before.digest
  write(tree, "train/iris/0.jpg", encoded(photograph(0, (50, 30))))
  whole = load_dataset(config(tree))
  less = load_dataset(config(tree, max_pixels=30 * 40))
  assert len(less.bad) == 1 and not whole.bad and less.digest != whole.digest


def test_digests_are_those_of_earlier_versions(tmp_path):
  for index in range(10):
    write(tmp_path, f"{'ab'[index % 2]}/{index}.bmp", encoded(photograph(index), "BMP"))
  before = "a49ce435d8a7a8c49cfef7a29d2e6450da38c3e1547c70dafc4477be1918c1f9"
  assert load_dataset(config(tmp_path)).digest == before


@pytest.mark.parametrize("split", ["a. Training Set", "train-v1.2", "fold 1"])
def test_splits_are_called_as_their_folders(tree, split):
  (tree / "train").rename(tree / split)
  source = load_dataset(config(tree, train_split=split))
  assert source.train.num_examples == 24 and source.train.name == split
  there = ", ".join(sorted([split, "test"]))
  with pytest.raises(UsageError, match=f"must be made of {there}, .* Received: train$"):
    load_dataset(config(tree))


def test_netpbm_files_are_images(tmp_path):
  for index in range(10):
    write(tmp_path, f"{'ab'[index % 2]}/{index}.ppm", encoded(photograph(index), "PPM"))
  source = load_dataset(config(tmp_path))
  record, name = next(iter(source.train.records())), source.train.names[0]
  expected = np.asarray(photograph(int(pathlib.Path(name).stem)))
  np.testing.assert_array_equal(source.decode(record["image"]), expected)
