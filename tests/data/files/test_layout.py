"""What lies in folders beside images, and what folders' names say."""

import logging
import os
import unicodedata

import numpy as np
from PIL import Image
import pytest
from tiff_writer import WHITE_IS_ZERO, plain_tiff

from conrec_tf.config import Config
from conrec_tf.data.files.labels import natural, ordered_labels
from conrec_tf.data.files.layout import folder_layout
from conrec_tf.data.files.walk import image_files
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError
from conrec_tf.files import make_output_folder


def fill(root, *names, content=b"GIF89a"):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def layout(names, **values):
  return folder_layout(Config(dataset="image_folder", data_dir="x", **values), names, "x")


def test_what_programs_leave_behind_is_passed_over_and_counted(tmp_path, caplog):
  fill(tmp_path, "a/1.jpg", "a/._1.jpg", "a/Thumbs.db", "b/2.TIF", "b/3.webp", "b/4.jfif", "b/5")
  fill(
    tmp_path, "__MACOSX/a/._1.jpg", ".ipynb_checkpoints/1.jpg", "b/@eaDir/2.jpg", ".hidden/6.png"
  )
  with caplog.at_level(logging.INFO, "conrec_tf"):
    found = image_files(str(tmp_path))
  assert sorted(found) == ["a/1.jpg", "b/2.TIF", "b/3.webp", "b/4.jfif", "b/5"]
  assert "Passed over 6 hidden files and folders" in caplog.text
  assert "Lost" not in caplog.text


def test_what_runs_have_left_is_passed_over_and_counted(tmp_path, caplog):
  fill(tmp_path, "a/1.jpg", "b/2.jpg", "runs/one/report/curve.png", "segmented/segmentations/1.png")
  fill(tmp_path, "runs/old/data/x.png", "seeds/seed_0/report/y.png")
  fill(tmp_path, "runs/old/config.json", content=b'{"train_mode": "pretrain", "model_dir": ""}')
  for folder in ("runs/one", "segmented", "seeds"):
    make_output_folder(tmp_path / folder)
  with caplog.at_level(logging.INFO, "conrec_tf"):
    assert sorted(image_files(str(tmp_path))) == ["a/1.jpg", "b/2.jpg"]
  message = "Passed over 4 folders that runs of this program have left, e.g. runs/old"
  assert message in caplog.text and "Lost" not in caplog.text
  # A folder that is asked for by its name is data.
  assert image_files(str(tmp_path / "segmented")) == ["segmentations/1.png"]
  with pytest.raises(UsageError, match="with 0 other files and 2 folders that runs have left"):
    image_files(str(tmp_path / "runs"))


def test_a_folder_that_loses_files_is_named(tmp_path, caplog):
  fill(tmp_path, "iris/1.jpg", "rose/2.jpg", "rose/3.psd", "tulip/4.raw", "README.txt")
  (tmp_path / "empty").mkdir()
  image_files(str(tmp_path))
  assert "1 of 2 files in rose aren't images, e.g. 3.psd" in caplog.text
  assert "1 of 1 files in tulip aren't images" in caplog.text
  assert "empty holds no files" in caplog.text
  assert "README" not in caplog.text  # a folder's own files are no label's


def test_only_a_link_to_an_ancestor_ends_the_walk(tmp_path):
  fill(tmp_path, "elsewhere/1.jpg", "root/a/2.jpg")
  root = tmp_path / "root"
  for name in ("b", "c"):
    (root / name).symlink_to(tmp_path / "elsewhere")
  (root / "a/up").symlink_to(root)
  assert sorted(image_files(str(root))) == ["a/2.jpg", "b/1.jpg", "c/1.jpg"]
  (tmp_path / "other").symlink_to(root)
  assert len(image_files(str(tmp_path / "other"))) == 3


def test_an_odd_file_is_named():
  names = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/deeper/cover.jpg"]
  with pytest.raises(
    UsageError, match="1 files 2 folders deep, e.g. b/deeper/cover.jpg and 3 files"
  ):
    layout(names)


def test_folders_with_names_of_splits_are_splits(caplog):
  names = [f"{split}/{index}.jpg" for split in ("train", "val") for index in range(3)]
  with caplog.at_level(logging.INFO, "conrec_tf"):
    splits, _, class_names, _ = layout(names)
  assert class_names == () and list(splits) == ["train"] * 3 + ["val"] * 3
  assert "folders are splits: train, val" in caplog.text
  assert layout(names, label_mode="folders")[2] == ("train", "val")
  assert layout(["train/1.jpg", "bus/2.jpg"])[2] == ("bus", "train") and "taken" not in caplog.text
  assert layout([*names, "more/1.jpg"])[2] == ("more", "train", "val")
  assert "Folders train, val are taken for labels, as more is no name of a split" in caplog.text


def test_labels_come_in_natural_order():
  grades = [f"{grade}/{index}.jpg" for grade in range(12) for index in range(5)]
  _, labels, class_names, _ = layout(grades, ordinal_labels=True)
  assert class_names == tuple(map(str, range(12)))
  assert all(int(name.split("/")[0]) == label for name, label in zip(grades, labels, strict=True))
  assert sorted(["b10", "b9", "a", "B1", "10", "9a"], key=natural) == [
    "9a",
    "10",
    "B1",
    "a",
    "b9",
    "b10",
  ]


def test_the_order_of_words_is_shown_and_can_be_set(caplog):
  words = {"none", "mild", "severe"}
  assert ordered_labels(Config(ordinal_labels=True), words) == ("mild", "none", "severe")
  assert "in this order: mild, none, severe" in caplog.text
  assert ordered_labels(Config(label_order="none, mild,severe"), words) == (
    "none",
    "mild",
    "severe",
  )
  for wrong in ("none,mild", "none,mild,severe,severe", "none,mild,worse"):
    with pytest.raises(UsageError, match="label_order must name each label once"):
      ordered_labels(Config(label_order=wrong), words)


def test_names_are_composed_and_of_one_line():
  cafe = "caf\u00e9"
  names = [f"train/{unicodedata.normalize('NFD', cafe)}/1.jpg", f"test/{cafe}/2.jpg"]
  names += ["train/a\tb\n/3.jpg", "test/a\tb\n/4.jpg", os.fsdecode(b"train/caf\xe9/5.jpg")]
  assert layout(names)[2] == ("a b ", "caf\\xe9", cafe)
  order = unicodedata.normalize("NFD", f"{cafe},b")
  assert ordered_labels(Config(label_order=order), {"b", cafe}) == (cafe, "b")


def test_labels_that_differ_in_case_alone_are_named(caplog):
  layout(["train/cat/1.jpg", "train/dog/2.jpg", "test/Cat/3.jpg", "test/dog/4.jpg"])
  assert "labels differ in case or blanks alone and count as different: 'Cat' and 'cat'" in (
    caplog.text
  )


def test_dark_images_are_a_warning_and_bits_mend_it(tmp_path, caplog):
  deep = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (48, 1))
  for index in range(10):
    Image.fromarray(deep).save(tmp_path / f"{index}.png")
  config = dict(dataset="image_folder", data_dir=str(tmp_path))
  load_dataset(Config(**config))
  assert "almost black: in 10 of them values go to 4095 of 65535" in caplog.text
  assert "--image_bits=12" in caplog.text
  caplog.clear()
  source = load_dataset(Config(**config, image_bits=12))
  assert "black" not in caplog.text
  assert source.decode(next(iter(source.train.records()))["image"]).numpy().max() == 65535


def test_white_images_are_a_warning_that_names_the_bits(tmp_path, caplog):
  deep = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (48, 1))
  for index in range(10):
    Image.fromarray(deep + 8192).save(tmp_path / f"{index}.png")
  config = dict(dataset="image_folder", data_dir=str(tmp_path))
  load_dataset(Config(**config))
  assert "almost" not in caplog.text
  load_dataset(Config(**config, image_bits=12))
  assert "almost white: in 10 of them values go from 65535 to 65535 of 65535, e.g. in" in (
    caplog.text
  )
  assert "0.png. Files of 16 bits may use more than --image_bits=12" in caplog.text


def test_white_is_zero_of_12_bits_is_almost_white_without_image_bits(tmp_path, caplog):
  samples = np.arange(4096).reshape(64, 64, 1)
  for index in range(10):
    (tmp_path / f"{index}.tif").write_bytes(plain_tiff(samples, 16, WHITE_IS_ZERO))
  config = dict(dataset="image_folder", data_dir=str(tmp_path))
  load_dataset(Config(**config))
  assert "almost white: in 10 of them values go from 61440 to 65535 of 65535" in caplog.text
  caplog.clear()
  source = load_dataset(Config(**config, image_bits=12))
  assert "almost" not in caplog.text
  image = source.decode(next(iter(source.train.records()))["image"]).numpy()
  assert (image[0, 0, 0], image[-1, -1, 0]) == (65535, 0)


def test_another_limit_of_pixels_is_minded_at_the_next_start(tmp_path):
  for index in range(12):
    Image.fromarray(np.full([20, 20 + index, 3], 99, np.uint8)).save(tmp_path / f"{index:02}.png")
  config = dict(dataset="image_folder", data_dir=str(tmp_path), max_undecodable="5")
  assert load_dataset(Config(**config)).bad == ()
  bad = load_dataset(Config(**config, max_pixels=20 * 29)).bad
  assert len(bad) == 2 and str(bad[0]).startswith("10.png: more than 580 pixels (--max_pixels)")
  assert load_dataset(Config(**config)).bad == ()
