"""The page of `--mode=check_data`."""

import io
import logging
import pathlib
import re

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.summary import sampled_values, summarize
from conrec_tf.errors import UsageError
from conrec_tf.reporting import data_report

RNG = np.random.default_rng(0)


def png(shape, high=255):
  values = RNG.integers(0, high, shape)
  buffer = io.BytesIO()
  Image.fromarray(values.astype(np.uint8 if high < 256 else np.uint16)).save(buffer, "PNG")
  return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
  """split/label/file, with a bad image, one that is in both splits, and a label without tests."""
  shared = png((40, 50, 3))
  for split, count in (("train", 9), ("test", 4)):
    for label in ("iris", "rose"):
      folder = tmp_path / "photos" / split / label
      folder.mkdir(parents=True)
      for index in range(count):
        (folder / f"{split}_{label}_{index}.png").write_bytes(png((40, 50 + index, 3)))
  (tmp_path / "photos/train/iris/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
  (tmp_path / "photos/train/iris/twice.png").write_bytes(shared)
  (tmp_path / "photos/test/iris/twice_too.png").write_bytes(shared)
  (tmp_path / "photos/train/tulip").mkdir()
  (tmp_path / "photos/train/tulip/alone.jpg").write_bytes(png((40, 50, 3)))
  return tmp_path / "photos"


def look(caplog, **values):
  """Runs the command; returns the folder of its page, the page, and what was logged."""
  config = Config(mode="check_data", image_size=24, unet_depth=2, **values)
  with caplog.at_level(logging.INFO, "conrec_tf"):
    commands.run(config)
  folder = pathlib.Path(config.model_dir, "data")
  return folder, (folder / "index.html").read_text(), caplog.text


def test_of_an_eval_dataset_its_own_splits_are_compared(photos, tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(data_report, "write_data_report", lambda found, folder: folder)
  values = dict(
    mode="check_data",
    dataset="image_folder",
    data_dir=str(photos),
    label_mode="none",
    train_split="train+test",
    eval_dataset="image_folder",
    eval_data_dir=str(photos),
    report=False,
    model_dir=str(tmp_path / "run"),
  )
  commands.run(Config(**values, eval_train_split="test", eval_test_split="test"))
  assert "9 of 9 images of eval_test_split=test are images of eval_train_split=test" in caplog.text
  caplog.clear()
  commands.run(Config(**values, eval_train_split="train", eval_test_split="test"))
  assert "1 of 9 images of eval_test_split=test are images of eval_train_split=train" in caplog.text
  assert "train+test too" not in caplog.text and "leakage" not in caplog.text
  commands.run(Config(**values | dict(report=True), eval_train_split="train"))
  assert "Reconstruction and contrast are measured on images that were learnt" in caplog.text
  with pytest.raises(UsageError, match="Of eval_dataset=image_folder: train_split must be made of"):
    commands.run(Config(**values, eval_train_split="dev"))


def test_images_of_both_splits_are_a_problem(photos, tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(data_report, "IMAGES_SHOWN", 2)  # each takes a moment to draw
  monkeypatch.setattr(data_report, "LINES_SHOWN", 2)
  _, page, logged = look(
    caplog,
    dataset="image_folder",
    data_dir=str(photos),
    model_dir=str(tmp_path / "run"),
    train_mode="finetune",  # without views, which take seconds
  )
  said = "Images of test that look like one of train: 1, and the same pixel by pixel: 1."
  example = "test/iris/twice_too.png like train/iris/twice.png"
  problems = page.partition("Problems</h2>")[2].partition("<h2")[0]
  for text in (said, example):
    assert text in problems and text in logged, text
  assert "None: every" not in page
  assert '<p class="note">The table has the first 2 of 3 labels.</p>' in page
  assert "tulip" not in page.partition("<table>")[2].partition("</table>")[0]
  assert "pairs." not in page


def test_bad_images_of_records_are_not_drawn(flowers):
  source = load_dataset(Config(**flowers))
  sizes = [tf.shape(source.decode(record["image"])) for record in source.train.records().take(3)]
  limit = max(int(size[0] * size[1]) for size in sizes) - 1
  plain = dict(image_size=24, corruption="none", use_blur=False)  # which are drawn sooner
  options = Config(**flowers | plain, max_pixels=limit)
  source = load_dataset(options)
  summary = summarize(source.train, source)
  assert set(summary.bad) & {0, 1, 2}
  section = data_report.DataFindings(options, source, [summary], [], []).images()
  assert [picture.name for picture in section.pictures] == ["images", "views"]


def test_tfds_states_no_size_whatever_its_images_have(flowers, caplog):
  config = Config(**flowers | {"report": False}, mode="check_data", eval_image_size=64)
  with caplog.at_level(logging.INFO, "conrec_tf"):
    commands.run(config)
  assert "shorter side, at 64 pixels, as TFDS states no one size" in caplog.text


def test_images_that_stand_in_are_not_counted_and_evaluation_is_told_as_it_is(
  photos, tmp_path, caplog
):
  archive, pixels = tmp_path / "labelled.npz", np.arange(48).reshape(4, 2, 2, 3).astype(np.uint8)
  np.savez(archive, x_train=pixels, x_test=pixels[2:], y_train=[0, 1, 0, 1], y_test=[0, 1])
  for values, words in (
    ({}, "whole images at 24 pixels, where nothing is cropped"),
    (
      {"eval_image_size": 64},
      "the centre, 87.5 % of the shorter side, at 64 pixels, as sizes differ",
    ),
    (
      {"eval_crop": "none", "eval_dataset": "npz", "eval_data_dir": str(archive)},
      "whole images at 24 pixels, by --eval_crop=none\neval_dataset npz: its splits alone are",
    ),
  ):
    caplog.clear()
    config = Config(
      mode="check_data",
      image_size=24,
      unet_depth=2,
      dataset="image_folder",
      data_dir=str(photos),
      model_dir=str(tmp_path / "run"),
      report=False,
      **values,
    )
    with caplog.at_level(logging.INFO, "conrec_tf"):
      commands.run(config)
    assert "train: 20 images" in caplog.text and "test: 9 images" in caplog.text
    assert "classes    3, from 1 images (tulip) to 10 (iris)" in caplog.text
    assert f"evaluation   {words}" in "\n".join(caplog.messages)
    assert "bad images   1; in training the next good one stands in" in caplog.text


@pytest.mark.slow
def test_page_of_a_folder(photos, tmp_path, caplog):
  folder, page, logged = look(
    caplog, dataset="image_folder", data_dir=str(photos), model_dir=str(tmp_path / "run")
  )
  assert {path.name for path in (tmp_path / "run").iterdir()} == {".conrec_tf", "data"}
  names = {"labels", "sizes", "values", "images", "views", "look_alikes"}
  assert {path.stem for path in folder.glob("*.png")} == names
  for name in names:
    pixels = np.asarray(Image.open(folder / f"{name}.png").convert("L"), float)
    assert min(pixels.shape) > 100 and pixels.std() > 5, name
  for text in (
    "test has no images of 1 of 3 labels: tulip",
    "twice_too.png",
    "8 in 20",
    ".png 19, .jpg 1",
    "<td>0 of 144</td><td>yes</td><td>yes</td>",
  ):
    assert text in re.sub(r"<td[^>]*>", "<td>", page), text
  assert re.search(r"<b>1</b><span>bad images</span>", page)
  assert re.search(r"<b>1</b><span>of them across splits</span>", page)
  assert "look alike   1 images look like an earlier one, 1 of them like one of another" in logged
  assert "files      19 .png, 1 .jpg" in logged and "bits       8 in 20" in logged
  assert not re.search(r"(src|href)=\"(?!data:|#)", page)  # nothing from elsewhere


def test_page_of_16_bits_without_labels(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(data_report, "IMAGES_SHOWN", 2)
  photos = tmp_path / "photos"
  photos.mkdir()
  for index in range(12):
    (photos / f"{index}.png").write_bytes(png((30, 30), 65536))
  _, page, logged = look(
    caplog,
    dataset="image_folder",
    data_dir=str(photos),
    model_dir=str(tmp_path / "run"),
    train_mode="finetune",  # without views, which take seconds
  )
  assert "bits       16 in 11" in logged and "There are no labels" in page
  assert "0.000 to 1.000" in page


@pytest.mark.parametrize("channels", [1, 5])
def test_page_of_an_archive(tmp_path, caplog, monkeypatch, channels):
  monkeypatch.setattr(data_report, "IMAGES_SHOWN", 2)
  images = RNG.integers(0, 256, (20, 26, 26, channels), np.uint8)
  np.savez(tmp_path / "data.npz", x_train=images, y_train=np.arange(20) % 2)
  _, page, _ = look(
    caplog,
    dataset="npz",
    data_dir=str(tmp_path / "data.npz"),
    model_dir=str(tmp_path / "run"),
    train_mode="finetune",
  )
  assert "not files" in page and "None: every image can be decoded" in page


def test_values_are_of_all_columns_of_an_image(tmp_path):
  """Also where its width is a multiple of the pixels from one that is looked at to the next."""
  pixels = np.full((256, 512, 1), 102, np.uint8)
  pixels[:, 0], pixels[7, 9] = 0, 255
  np.savez(tmp_path / "data.npz", x_train=np.stack([pixels] * 10), y_train=np.arange(10) % 2)
  source = load_dataset(Config(dataset="npz", data_dir=str(tmp_path / "data.npz"), image_size=24))
  found = sampled_values(summarize(source.train, source), source)
  assert (found.low, found.high, found.levels) == ([0.0], [1.0], 3)
  np.testing.assert_allclose(found.mean, 0.4 * 511 / 512, atol=1e-3)
  np.testing.assert_allclose(found.deviation, 0.4 / 512**0.5, atol=5e-3)
  np.testing.assert_allclose(found.histogram.sum(), 1.0)


@pytest.mark.slow
def test_page_of_a_tfds_dataset(data_dir, tmp_path, caplog):
  _, page, logged = look(
    caplog,
    data_dir=data_dir,
    train_split="train[:30]",
    eval_split="test[:10]",
    model_dir=str(tmp_path / "run"),
    train_mode="finetune",
  )
  assert "rectangle_triangle" in page and "train[:30]: 30 images" in logged


@pytest.mark.parametrize("shape, shown", [((999, 700, 3), (250, 175, 3)), ((30, 320, 1), None)])
def test_a_page_holds_no_more_of_an_image_than_a_picture_shows(shape, shown):
  small = data_report._small(np.full(shape, 65535, np.uint16))
  assert small.shape == (shown or shape) and small.max() == 1.0
