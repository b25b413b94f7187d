"""Masks: values and colours to classes, and what is wrong with them."""

import os
import pathlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.segmentation import masks
from conrec_tf.segmentation.batches import segmentation_batches, whole_images
from conrec_tf.segmentation.folder import decode_mask, open_images_to_segment
from conrec_tf.segmentation.mask_classes import read_mask_classes
from conrec_tf.segmentation.task import load_masked_dataset


@pytest.fixture
def folder(tmp_path, rng):
  """Six images of one size in two splits, with masks of 0, 128 and 255."""
  for split, count in (("train", 4), ("test", 2)):
    for number in range(count):
      size = (30, 40)
      image = rng.integers(0, 256, (*size, 3), np.uint8)
      mask = rng.choice(np.array([0, 128, 255], np.uint8), size)
      for kind, pixels, ending in (("images", image, "jpg"), ("masks", mask, "png")):
        path = tmp_path / split / kind / f"{number}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
  return tmp_path


def config_of(folder, **values):
  return Config(
    train_mode="segment", dataset="image_folder", data_dir=str(folder), image_size=24, **values
  )


def test_each_value_is_a_class(folder):
  source = load_masked_dataset(config_of(folder))
  assert source.class_names == ("0", "128", "255")
  assert source.train.num_examples == 4 * 64 and source.eval.num_examples == 2
  for (image, classes), name in zip(
    whole_images(source, source.eval), source.eval.names, strict=True
  ):
    stored = np.asarray(
      Image.open(folder / str(name).replace("images", "masks")[:-3].__add__("png"))
    )
    assert image.shape == (30, 40, 3) and 0 <= image.min() and image.max() <= 1
    np.testing.assert_array_equal(classes, np.searchsorted([0, 128, 255], stored))


def test_a_value_may_not_count(folder):
  source = load_masked_dataset(config_of(folder, ignored_mask_value=128))
  assert source.class_names == ("0", "255")
  _, classes = next(whole_images(source, source.eval))
  assert set(np.unique(classes)) == {0, 1, masks.IGNORED}


def test_a_table_names_values_and_joins_them(folder):
  table = folder / "classes.csv"
  table.write_text("value,name\n0,ground\n255,vessel\n128,vessel\n")
  source = load_masked_dataset(config_of(folder, mask_classes=str(table)))
  assert source.class_names == ("ground", "vessel")
  _, classes = next(whole_images(source, source.eval))
  assert set(np.unique(classes)) == {0, 1}


def test_a_class_that_the_evaluation_masks_lack_is_said(folder, caplog):
  for path in folder.glob("test/masks/*.png"):
    Image.fromarray(np.zeros([30, 40], np.uint8)).save(path)
  load_masked_dataset(config_of(folder))
  assert "No pixel of the evaluation masks is of 128, 255: Dice is 0 where" in caplog.text
  assert "training masks" not in caplog.text


def test_colours_need_a_table(folder):
  colours = np.array([[0, 0, 0], [255, 0, 16]], np.uint8)
  for path in folder.glob("*/masks/*.png"):
    values = np.asarray(Image.open(path)) > 0
    Image.fromarray(colours[values.astype(int)]).save(path)
  with pytest.raises(
    UsageError, match="mask_classes must say which colour .* Received: test/masks"
  ):
    load_masked_dataset(config_of(folder))
  table = folder / "classes.csv"
  table.write_text("value,name\n#000000,ground\n#FF0010,vessel\n")
  source = load_masked_dataset(config_of(folder, mask_classes=str(table)))
  assert source.class_names == ("ground", "vessel")
  table.write_text("value,name\n#000000,ground\n#FF0030,vessel\n")
  with pytest.raises(UsageError, match=r"Received: #ff0010 in test/masks/0.png"):
    load_masked_dataset(config_of(folder, mask_classes=str(table)))
  table.write_text("value,name\n0,ground\n1,vessel\n")
  with pytest.raises(UsageError, match="mask_classes must say which colour"):
    load_masked_dataset(config_of(folder, mask_classes=str(table)))


def test_palettes_are_their_indices(folder):
  for path in folder.glob("*/masks/*.png"):
    values = (np.asarray(Image.open(path)) // 127).astype(np.uint8)
    image = Image.fromarray(values, "P")
    image.putpalette([0, 0, 0, 9, 9, 9, 7, 7, 7])
    image.save(path)
  assert load_masked_dataset(config_of(folder)).class_names == ("0", "1", "2")


def test_fields_say_what_counts(folder):
  for path in folder.glob("*/images/*.jpg"):
    field = np.zeros([30, 40], np.uint8)
    field[:, :10] = 255
    place = path.parents[1] / "fields" / f"{path.stem}.png"
    place.parent.mkdir(exist_ok=True)
    Image.fromarray(field).save(place)
  source = load_masked_dataset(config_of(folder))
  _, classes = next(whole_images(source, source.eval))
  assert np.all(classes[:, 10:] == masks.IGNORED) and np.all(classes[:, :10] < 3)


def with_fields(folder, field, ending, **options):
  """Writes a field, an image, beside each image of a folder."""
  for path in folder.glob("*/images/*.jpg"):
    place = path.parents[1] / "fields" / f"{path.stem}.{ending}"
    place.parent.mkdir(exist_ok=True)
    field.save(place, **options)
  return folder


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_fields_saved_with_losses_count_where_they_are_nearer_to_white(folder, mode):
  inside = np.hypot(*(np.mgrid[:30, :40] - np.array([14.5, 19.5])[:, None, None])) < 12
  field = Image.fromarray(np.uint8(255 * inside)).convert(mode)
  source = load_masked_dataset(config_of(with_fields(folder, field, "jpg", quality=75)))
  stored = np.asarray(Image.open(next(folder.glob("*/fields/*.jpg"))))
  assert (stored.reshape(30, 40, -1).any(axis=-1) & ~inside).sum() > 50  # noise about black
  for _, classes in whole_images(source, source.eval):
    np.testing.assert_array_equal(classes != masks.IGNORED, inside)


def test_a_grey_field_saved_with_losses_is_refused(folder):
  field = Image.fromarray(np.full([30, 40], 100, np.uint8))
  with pytest.raises(UsageError, match="must hold classes alone: 0, 255. Received: 100 in test/fi"):
    load_masked_dataset(config_of(with_fields(folder, field, "jpg")))


@pytest.mark.parametrize(
  "outside, colours, is_refused",
  [
    (1, "ffffff 000000", True),
    (0, "000000 ffffff", False),
    (0, "0000ff 00ff00", False),
    (0, "000000 000000", False),
  ],
)
def test_a_field_whose_palette_has_black_for_what_counts_is_refused(
  folder, outside, colours, is_refused
):
  values = np.full([30, 40], outside, np.uint8)
  values[:, :10] = 1 - outside
  field = Image.fromarray(values, "P")
  field.putpalette(list(bytes.fromhex(colours)))
  options = config_of(with_fields(folder, field, "png"))
  if is_refused:
    with pytest.raises(UsageError, match="fields must store black.* 0 is #ffffff in test/fields/0"):
      load_masked_dataset(options)
  else:
    _, classes = next(whole_images(source := load_masked_dataset(options), source.eval))
    np.testing.assert_array_equal(classes != masks.IGNORED, values == 1)


@pytest.fixture
def pairs(folder):
  """The same files in folders of other names, and a table that pairs them."""
  (folder / "eyes").mkdir()
  (folder / "drawn").mkdir()
  lines = ["Mask,Split,Image,comment"]
  for split in ("train", "test"):
    for path in sorted((folder / split / "images").iterdir()):
      name = f"{split}{path.stem}"
      path.rename(folder / "eyes" / f"{name}.jpg")
      (folder / split / "masks" / f"{path.stem}.png").rename(folder / "drawn" / f"m{name}.png")
      lines.append(f"m{name}.png,{split},eyes/{name}.jpg,")
    for kind in ("images", "masks"):
      (folder / split / kind).rmdir()
    (folder / split).rmdir()
  table = folder / "pairs.csv"
  table.write_text("\n".join(lines) + "\n")
  return table


def test_a_table_pairs_files(folder, pairs, caplog):
  Image.fromarray(np.zeros([30, 40], np.uint8)).save(folder / "more.png")
  source = load_masked_dataset(config_of(folder, mask_table=str(pairs)))
  assert f"Lost: 1 of 13 files aren't in {pairs}, e.g. more.png" in caplog.text
  assert source.train.num_examples == 4 * 64 and source.eval.num_examples == 2
  for (_, classes), name in zip(whole_images(source, source.eval), source.eval.names, strict=True):
    drawn = np.asarray(Image.open(folder / "drawn" / f"m{pathlib.Path(str(name)).stem}.png"))
    np.testing.assert_array_equal(classes, np.searchsorted([0, 128, 255], drawn))


def test_a_table_without_splits_and_with_fields(folder, pairs):
  field = np.zeros([30, 40], np.uint8)
  field[:, :10] = 1
  Image.fromarray(field).save(folder / "seen.png")
  rows = [line.split(",") for line in pairs.read_text().splitlines()[1:]]
  lines = ["image,mask,field"] + [f"{row[2]},{row[0]},seen" for row in rows]
  pairs.write_text("\n".join(lines))
  source = load_masked_dataset(config_of(folder, mask_table=str(pairs)))
  assert (source.train.num_examples, source.eval.num_examples) == (5 * 64, 1)
  _, classes = next(whole_images(source, source.eval))
  assert np.all(classes[:, 10:] == masks.IGNORED) and np.all(classes[:, :10] < 3)


@pytest.mark.parametrize(
  "old, new, message",
  [
    ("mtest1.png", "mtest7.png", "Received: mtest7.png as mask, line 7 of .*pairs.csv"),
    ("mtest1.png", "", "Received: nothing as mask, line 7"),
    ("mtest1.png", "mtest0.png", "a mask of its own. Received: eyes/test1.jpg with .* line 7"),
    ("eyes/test1.jpg", "eyes/test0.jpg", "a mask of its own. Received: eyes/test0.jpg"),
    ("mtest1.png,test", "mtest1.png,", "all images a split, or none, .* Received: 5 of 6"),
    ("Mask,", "label,", "have the columns image, mask, perhaps field and split. Received"),
  ],
)
def test_wrong_tables_of_pairs(folder, pairs, old, new, message):
  pairs.write_text(pairs.read_text().replace(old, new))
  with pytest.raises(UsageError, match=f"mask_table must .*{message}"):
    load_masked_dataset(config_of(folder, mask_table=str(pairs)))


def spoil_size(folder):
  Image.fromarray(np.zeros([31, 40], np.uint8)).save(folder / "test/masks/1.png")


def spoil_pair(folder):
  (folder / "test/masks/1.png").unlink()


def spoil_image(folder):
  (folder / "train/images/3.jpg").unlink()


def spoil_file(folder):
  (folder / "train/masks/2.png").write_bytes(b"\x89PNG nothing")


def spoil_values(folder):
  noise = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)
  Image.fromarray(noise).save(folder / "train/masks/2.png")


def spoil_place(folder):
  Image.fromarray(np.zeros([31, 40], np.uint8)).save(folder / "train/more.png")


@pytest.mark.parametrize(
  "spoil, message",
  [
    (spoil_size, r"30 x 40 for test/images/1.jpg, upright. Received: 31 x 40 in test/masks/1.png"),
    (spoil_pair, r"in masks for each in images, without: 1 of 6. Received: test/images/1.jpg"),
    (spoil_image, r"in images for each in masks, without: 1 of 6. Received: train/masks/3.png"),
    (spoil_file, r"max_undecodable=0 .* Received: 1, e.g. train/images/2.jpg: train/masks/2.png: "),
    (spoil_values, r"at most 64, and .* Received: 12\d\d with train/masks/2.png"),
    (spoil_place, r"images and masks side by side, in splits or not. Received: train/more.png"),
  ],
)
def test_wrong_masks_are_named(folder, spoil, message):
  spoil(folder)
  with pytest.raises(UsageError, match=message):
    load_masked_dataset(config_of(folder, max_undecodable="0"))


@pytest.mark.parametrize(
  "text, message",
  [
    ("a,b\n", "must have the columns value, name. Received: a, b in"),
    ("value,name\n0,ground\nx,vessel\n", "Received: line 3 of"),
    ("value,name\n0,ground\n0,vessel\n", "must name a value once. Received: 0 again in"),
    ("value,name\n0,ground\n#ffffff,vessel\n", "numbers or colours. Received: both in"),
    ("value,name\n0,ground\n", "masks must have 2 to 64 classes. Received: ground in"),
  ],
)
def test_wrong_tables_are_refused(tmp_path, text, message):
  path = tmp_path / "classes.csv"
  path.write_text(text)
  with pytest.raises(UsageError, match=message):
    read_mask_classes(str(path))


def test_class_maps_survive_their_file(rng):
  classes = rng.integers(0, 256, (7, 9), np.uint8)
  np.testing.assert_array_equal(decode_mask(tf.constant(masks.encoded(classes))), classes)


def test_batches_depend_on_seed_and_position_alone(folder):
  config = config_of(folder, train_batch_size=4, elastic_deformation=2.0, random_rotation=30.0)
  source = load_masked_dataset(config)
  first, second = (
    [batch["image"].numpy() for batch in segmentation_batches(config, source).take(2)]
    for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)
  assert not np.array_equal(first[0], first[1])
  batch = next(iter(segmentation_batches(config, source, image_size=16)))
  assert batch["image"].shape[1:3] == batch["classes"].shape[1:] == (16, 16)


def test_masks_are_no_images_to_learn_from(folder, caplog):
  caplog.set_level("INFO", "conrec_tf")
  source = load_dataset(Config(dataset="image_folder", data_dir=str(folder)))
  assert source.class_names == () and source.train.num_examples == 4
  assert all("/images/" in name for name in [*source.train.names, *source.eval.names])
  assert "6 files of masks are left out; train_mode=segment learns from them" in caplog.text


@pytest.mark.parametrize("split", ["train", "train[:4]"])
def test_a_tfds_dataset_has_masks(tmp_path, split):
  import tfds_sets.tiny_flowers  # noqa: F401  # registers the dataset

  config = Config(
    train_mode="segment", dataset="tiny_masks", data_dir=str(tmp_path), train_split=split
  )
  source = load_dataset(config)
  assert source.class_names == ("1", "2") and source.eval.num_examples == 3
  assert source.train.num_examples == (6 if split == "train" else 4) * config.crops_per_image
  heights = []
  for image, classes in whole_images(source, source.eval):
    assert image.shape[1:] == (50, 3) and classes.shape == image.shape[:2]
    heights.append(len(image))
    np.testing.assert_array_equal(classes == 1, image.min(axis=-1) >= 100 / 255)
  assert sorted(heights) == [40, 41, 42]
  batch = next(iter(segmentation_batches(config, source)))
  assert batch["image"].shape == (16, 64, 64, 3) and set(np.unique(batch["classes"])) <= {0, 1, 255}


def test_masks_are_no_images_beside_other_folders(folder, rng):
  """Photographs without masks may lie beside those that have some, to be learnt from as well."""
  with_fields(folder, Image.fromarray(np.full([30, 40], 255, np.uint8)), "png")
  for name in ("more/a.png", "masks/b.png"):  # the latter is beside no images
    (folder / name).parent.mkdir()
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(folder / name)
  options = dict(dataset="image_folder", data_dir=str(folder), label_mode="none", image_size=24)
  source = load_dataset(Config(**options))
  found = sorted([*source.train.names, *source.eval.names])
  assert found == sorted(
    ["more/a.png", "masks/b.png", *(str(p.relative_to(folder)) for p in folder.glob("*/*/*.jpg"))]
  )
  assert sorted(open_images_to_segment(Config(**options)).train.names) == found


def test_a_tfds_dataset_without_masks_is_refused(data_dir):
  with pytest.raises(UsageError, match="Received: rectangle_triangle without segmentation_mask"):
    load_dataset(Config(train_mode="segment", data_dir=data_dir))


def test_names_without_endings_are_paired_and_so_are_those_of_any_bytes(folder):
  for number in range(4):
    image, mask = (folder / "train" / kind / f"{number}" for kind in ("images", "masks"))
    name = b"caf\xe9." if number == 3 else f"1.2.840.{number}".encode()
    for path, ending in ((image, ".jpg"), (mask, ".png")):
      new = bytes(path.parent) + b"/" + name
      pathlib.Path(f"{path}{ending}").rename(
        os.fsdecode(new + (ending.encode() if number else b""))
      )
  source = load_masked_dataset(config_of(folder))
  names = sorted(set(map(str, source.train.names)))
  stems = [f"1.2.840.{number}" for number in range(3)]
  assert [name.rpartition("/")[2] for name in names] == [
    stems[0],
    *(f"{stem}.jpg" for stem in stems[1:]),
    "caf\\xe9..jpg",
  ]
  masks_dir = os.fsencode(folder / "train/masks")
  for image in source.train.records().take(4):
    assert decode_mask(image["mask"]).shape == (30, 40)
  assert b"caf\xe9..png" in os.listdir(masks_dir)
