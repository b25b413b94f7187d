import logging
import zipfile

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError


def good(channels=3, dtype=np.uint8):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (30, 26, 26, channels)).astype(np.uint8)
  if dtype != np.uint8:
    images = (images / 255).astype(dtype)
  labels = np.arange(30) % 3
  return dict(x_train=images[:20], y_train=labels[:20], x_test=images[20:], y_test=labels[20:])


def config(path, **values):
  return Config(
    **{
      **dict(
        dataset="npz",
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


def saved(tmp_path, arrays):
  np.savez(tmp_path / "data.npz", **arrays)
  return tmp_path / "data.npz"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays(tmp_path, dtype):
  path = saved(tmp_path, good(dtype=dtype))
  source = load_dataset(config(path))
  assert (source.train.num_examples, source.eval.num_examples) == (20, 10)
  assert source.class_names == ("0", "1", "2") and source.one_size
  records = list(source.eval.records())
  assert [int(record["label"]) for record in records] == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
  np.testing.assert_array_equal(source.decode(records[0]["image"]), good()["x_test"][0])


def test_grey_without_channel_axis_and_without_labels(tmp_path):
  path = saved(tmp_path, {"x_train": good(1)["x_train"][..., 0]})
  source = load_dataset(config(path))
  assert source.class_names == () and source.channels == 1
  assert (source.train.num_examples, source.eval.num_examples) == (18, 2)
  assert load_dataset(config(path, image_channels=3)).decode(
    next(iter(source.train.records()))["image"]
  ).shape == (26, 26, 3)


def test_five_channels(tmp_path):
  values = config(saved(tmp_path, good(5)))
  batch = next(iter(pretraining_batches(values)))
  assert batch["corrupted"].shape == (8, 2, 24, 24, 5)
  assert np.min(batch["corrupted"]) >= 0 and np.max(batch["target"]) <= 1
  with pytest.raises(UsageError, match="image_channels must be 0 .* Received: 3 for 5 channels"):
    load_dataset(config(saved(tmp_path, good(5)), image_channels=3))


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(x_train=None), "must hold x_train .* Received: y_train, x_test, y_test"),
    (dict(y_test=None), "must hold y_test too"),
    (dict(y_train=None), "must hold y_train too, or --label_mode=none. Received: x_train, x_test"),
    (dict(x_train=np.zeros([20, 5])), r"x_train must be \[N, h, w\] or .* Received: \(20, 5\)"),
    (dict(x_train=np.full([20, 26, 26, 3], np.nan)), "x_train must be finite"),
    (dict(x_train=np.full([20, 26, 26, 3], 255.0)), "Received: 255.0 to 255.0"),
    (dict(x_train=np.full([20, 26, 26, 3], 1.0002)), "Received: 1.0002 to 1.0002"),
    (
      dict(x_train=np.zeros([20, 3, 26, 26])),
      r"\(20, 3, 26, 26\), which looks like \[N, C, h, w\]",
    ),
    (
      dict(x_train=np.zeros([20, 13, 26, 26], np.uint8)),
      r"\(20, 13, 26, 26\), which looks like \[N, C, h, w\]",
    ),
    (dict(x_train=np.zeros([20, 26, 26, 3], np.int32)), "Received: int32"),
    (dict(x_test=np.zeros([10, 8, 8, 3], np.uint8)), "must have one size"),
    (dict(x_test=np.zeros([10, 26, 26, 1], np.uint8)), "must have one size"),
    (dict(y_train=np.zeros(19, int)), r"y_train must be \[20\]"),
    (
      dict(y_train=np.full(20, 0.5)),
      "y_train must be whole numbers from 0, or words. Received: float64",
    ),
    (dict(y_train=np.full(20, -1)), "Received: int64 from -1"),
    (dict(x_train=np.array([{}] * 20)), "of plain arrays"),
    (
      dict(y_test=np.eye(3, dtype=int)[good()["y_test"]]),
      r"y_train, y_val and y_test must have the same labels. Received: \[\(\), \(3,\)\]",
    ),
  ],
)
def test_bad_arrays(tmp_path, change, message):
  arrays = {name: array for name, array in {**good(), **change}.items() if array is not None}
  with pytest.raises(UsageError, match=message):
    load_dataset(config(saved(tmp_path, arrays)))


def test_rounding_is_tolerated_and_darkness_is_said(tmp_path, caplog):
  arrays = good(dtype=np.float32)
  arrays["x_train"][0, 0, 0] = 1.0000002
  source = load_dataset(config(saved(tmp_path, arrays)))
  assert source.decode(next(iter(source.train.records()))["image"])[0, 0, 0] == 255
  assert "black" not in caplog.text
  arrays["x_train"] /= 255
  load_dataset(config(saved(tmp_path, arrays)))
  assert "x_train is almost black: its values go from 0.0 to 0.0039" in caplog.text


def test_arrays_that_bits_make_white_are_said(tmp_path, caplog):
  arrays = good(dtype=np.uint16)
  arrays["x_train"] = arrays["x_train"] // 2 + 20000
  load_dataset(config(saved(tmp_path, arrays)))
  assert "x_train is almost" not in caplog.text
  load_dataset(config(saved(tmp_path, arrays), image_bits=12))
  assert "x_train is almost white" in caplog.text
  assert "which --image_bits=12 may be too few for" in caplog.text


def test_words_are_class_names_in_natural_order(tmp_path):
  arrays = good()
  for name in ("y_train", "y_test"):
    arrays[name] = np.array(["grade 10", "grade 2", "none"])[arrays[name]]
  source = load_dataset(config(saved(tmp_path, arrays)))
  assert source.class_names == ("grade 2", "grade 10", "none")
  assert [int(record["label"]) for record in source.train.records()][:3] == [1, 0, 2]
  ordered = load_dataset(config(saved(tmp_path, arrays), label_order="none,grade 2,grade 10"))
  assert ordered.class_names == ("none", "grade 2", "grade 10")


def test_words_that_differ_in_case_alone_are_said(tmp_path, caplog):
  arrays = good()
  for name in ("y_train", "y_test"):
    arrays[name] = np.array(["cat", "Cat", "dog"])[arrays[name]]
  load_dataset(config(saved(tmp_path, arrays)))
  assert "labels differ in case or blanks alone and count as different: 'Cat' and 'cat'" in (
    caplog.text
  )


def test_an_empty_word_is_no_label(tmp_path, caplog):
  arrays = good()
  for name in ("y_train", "y_test"):
    arrays[name] = np.array(["cat", "", "nan"])[arrays[name]]
  path = saved(tmp_path, arrays)
  source = load_dataset(config(path))
  assert source.class_names == ("cat", "nan")
  assert source.train.labels().tolist()[:4] == [0, -1, 1, 0]
  assert [int(record["label"]) for record in source.train.records()][:4] == [0, -1, 1, 0]
  assert "nan counts as a label like others, with 10 images" in caplog.text
  finetuned = dict(train_mode="finetune")
  assert load_dataset(config(path, **finetuned)).train.num_examples == 13  # 7 of 20 have none
  assert load_dataset(config(path, **finetuned, mode="predict")).train.num_examples == 20


def test_medmnist_is_read_as_downloaded(tmp_path):
  arrays = good()
  names = {"x": "images", "y": "labels"}
  downloaded = {f"{key[2:]}_{names[key[0]]}": array for key, array in arrays.items()}
  downloaded |= {"val_images": arrays["x_test"][:4], "val_labels": arrays["y_test"][:4, None]}
  source = load_dataset(config(saved(tmp_path, downloaded), train_split="train+val"))
  assert (source.train.num_examples, source.eval.num_examples) == (24, 10)
  labels = [int(record["label"]) for record in source.train.records()]
  assert labels == [*arrays["y_train"], *arrays["y_test"][:4]]


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"\x93NUMPY", bytes(100)])
def test_bad_files(tmp_path, content):
  (tmp_path / "data.npz").write_bytes(content)
  with pytest.raises(UsageError, match="data_dir must be an .npz file of plain arrays"):
    load_dataset(config(tmp_path / "data.npz"))
  with pytest.raises(UsageError, match="data_dir must be an .npz file.* which doesn't exist"):
    load_dataset(config(tmp_path / "other.npz"))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_named(tmp_path, write):
  """Cut, and with one byte changed: zipfile, zlib, struct and numpy have classes of their own."""
  path = tmp_path / "data.npz"
  write(path, **good())
  data, rng, refused = path.read_bytes(), np.random.default_rng(7), 0
  for number in range(120):
    place = int(rng.integers(0, len(data)) if number % 3 else len(data) - rng.integers(1, 300))
    changed = data[:place] + bytes([data[place] ^ rng.integers(1, 256)]) + data[place + 1 :]
    path.write_bytes(changed if number % 4 else data[:place])
    try:
      load_dataset(config(path))
    except UsageError as error:
      refused += 1
      assert "\n" not in str(error)
  assert refused > 60


def test_members_that_are_no_arrays_are_left_out(tmp_path):
  path = tmp_path / "data.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x_train", b"no array")
  with pytest.raises(UsageError, match="must hold x_train .* Received: nothing"):
    load_dataset(config(path))


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">f8"])
def test_big_endian_arrays_are_read(tmp_path, rng, dtype):
  values = rng.integers(0, 65536, (10, 26, 26))
  images = (values if dtype == ">u2" else values / 65535).astype(dtype)
  labels = (np.arange(10) % 2).astype(">i4")
  arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
  source = load_dataset(config(saved(tmp_path, arrays)))
  for record, expected, label in zip(source.train.records(), values, labels, strict=True):
    np.testing.assert_array_equal(source.decode(record["image"])[..., 0], expected)
    assert int(record["label"]) == label


@pytest.mark.parametrize("side", [28, 64])
def test_volumes_are_refused_with_the_flag_that_slices_them(tmp_path, side):
  volumes, labels = np.zeros([4, side, side, side], np.uint8), np.zeros([4, 1], int)
  arrays = {f"{split}_images": volumes for split in ("train", "val", "test")}
  arrays |= {f"{split}_labels": labels for split in ("train", "val", "test")}
  with pytest.raises(
    UsageError,
    match=rf"x_train must be images, .*Received: \(4, {side}, .*x_train\[:, {side // 2}\]"
    ".*--dicom_frames=middle, .*--dicom_frames=all",
  ):
    load_dataset(config(saved(tmp_path, arrays)))


def volumes_of(count, seed):
  values = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 6), np.uint8)
  return values, np.arange(count).reshape(-1, 1) % 2


def test_slices_of_volumes_are_images_and_those_of_one_a_group(tmp_path, caplog):
  train, labels = volumes_of(10, 0)
  arrays = {"train_images": train, "train_labels": labels}
  with caplog.at_level(logging.INFO):
    source = load_dataset(
      config(saved(tmp_path, arrays), dicom_frames="all", train_split="train+test")
    )
  assert "10 volumes as 60 slices" in caplog.text
  assert source.train.num_examples == 60 and source.eval.num_examples == 12
  assert not set(source.train.groups[:48]) & set(source.eval.groups)  # before test comes train
  wholes = {bytes(part): int(label) for part, [label] in zip(train, labels, strict=True)}
  pixels = [source.decode(record["image"]).numpy() for record in source.train.records()]
  found = [int(record["label"]) for record in source.train.records()]
  for start in range(0, 60, 6):
    whole = np.stack(pixels[start : start + 6])[..., 0]
    assert set(found[start : start + 6]) == {wholes[whole.tobytes()]}
    assert len(set(source.train.groups[start : start + 6])) == 1
  assert len(set(source.train.groups)) == 10


def test_the_middle_slice_of_volumes_may_stand_for_each(tmp_path):
  (train, labels), (test, _) = volumes_of(4, 0), volumes_of(2, 1)
  arrays = {"train_images": train, "train_labels": labels}
  arrays |= {"test_images": test, "test_labels": labels[:2]}
  source = load_dataset(config(saved(tmp_path, arrays), dicom_frames="middle"))
  assert source.train.groups is None
  for record, volume in zip(source.train.records(), train, strict=True):
    np.testing.assert_array_equal(source.decode(record["image"])[..., 0], volume[3])


def test_numbered_labels_take_the_order_that_is_set(tmp_path):
  path = saved(tmp_path, good())
  plain, other = load_dataset(config(path)), load_dataset(config(path, label_order="2,0,1"))
  assert other.class_names == ("2", "0", "1")
  for split, same in ((plain.train, other.train), (plain.eval, other.eval)):
    np.testing.assert_array_equal(same.labels(), (split.labels() + 1) % 3)
  with pytest.raises(UsageError, match="label_order must name each label once: 0, 1, 2. Received"):
    load_dataset(config(path, label_order="2,0"))


@pytest.mark.parametrize("labelled", [True, False])
def test_held_out_images_are_called_by_their_rows(tmp_path, labelled):
  """Who joins predictions to the archive has nothing but that."""
  arrays = {name: array for name, array in good().items() if name in ("x_train", "y_train")}
  if not labelled:
    del arrays["y_train"]
  path = saved(tmp_path, arrays)
  source = load_dataset(config(path, train_split="all", eval_split="test"))
  assert sorted(source.train.image_names) == list(range(20))
  for split in source.splits.values():
    for row, record in zip(split.image_names, split.records(), strict=True):
      np.testing.assert_array_equal(source.decode(record["image"]), arrays["x_train"][row])
  held_out = source.eval.part(np.arange(1, 2))
  assert list(held_out.image_names) == list(source.eval.image_names[1:2])


@pytest.mark.parametrize("frames, count", [("middle", 10), ("all", 60)])
def test_slices_of_volumes_that_are_held_out_are_called_by_their_rows(tmp_path, frames, count):
  volumes, labels = volumes_of(10, 0)
  path = saved(tmp_path, {"x_train": volumes, "y_train": labels})
  source = load_dataset(config(path, dicom_frames=frames, train_split="all"))
  slices = volumes.reshape(60, 6, 6) if frames == "all" else volumes[:, 3]
  assert sorted(source.train.image_names) == list(range(count))
  for row, record in zip(source.train.image_names, source.train.records(), strict=True):
    np.testing.assert_array_equal(source.decode(record["image"])[..., 0], slices[row])
