"""APTOS 2019 on a made-up copy of what Kaggle's archive holds."""

import io
import json
import os
import pathlib
import re
import shutil

from command_line import as_flags, command
import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from conrec_tf.config import Config
from conrec_tf.data.builders import aptos2019
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources.tfds import prepared_builder
from conrec_tf.errors import UsageError

SIZES = ((160, 106), (129, 98), (82, 61), (105, 105))  # as differing as Kaggle's, smaller
GRADES = (0, 0, 2, 1, 2, 3, 4, 0, 1, 2, 4, 3, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 2, 1)
NAMES = [f"{7919 * (index + 1):012x}" for index in range(len(GRADES))]


def retina(size, grade):
  """A bright disc on black, with one more dark spot for each grade."""
  width, height = size
  y, x = np.mgrid[:height, :width]
  distance = np.hypot(x - width / 2, y - height / 2) / (min(size) / 2)
  picture = np.where((distance < 0.95)[..., None], np.array([170, 90, 40]), 0)
  for spot in range(grade):
    inside = np.hypot(x - width / 2, y - (spot + 1) * height / 5) < height / 12
    picture[inside] = (60, 10, 10)
  return Image.fromarray(picture.astype(np.uint8))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
  """A folder as unzipped from Kaggle's archive: 25 labelled images, two without labels beside."""
  folder = tmp_path_factory.mktemp("kaggle") / "unzipped"
  for part in ("train_images", "test_images"):
    (folder / part).mkdir(parents=True)
  for number, (name, grade) in enumerate(zip(NAMES, GRADES, strict=True)):
    retina(SIZES[number % 4], grade).save(folder / f"train_images/{name}.png")
  for name in ("0a", "0b"):
    retina(SIZES[0], 1).save(folder / f"test_images/{name}.png")
  write_table(folder, zip(NAMES, GRADES, strict=True))
  (folder / "test.csv").write_text("id_code\n0a\n0b\n")
  (folder / "sample_submission.csv").write_text("id_code,diagnosis\n0a,0\n0b,0\n")
  return folder


@pytest.fixture
def copy(drawn, tmp_path):
  """A copy of that folder to change, which is the data_dir too."""
  return shutil.copytree(drawn, tmp_path / "aptos")


def write_table(folder, rows):
  lines = [f"{name},{grade}" for name, grade in rows]
  (folder / "train.csv").write_text("\n".join(["id_code,diagnosis", *lines]) + "\n")


def move(source, target):
  """Moves what is in a folder into one below it, or above."""
  entries = sorted(source.iterdir())
  target.mkdir(parents=True, exist_ok=True)
  for path in entries:
    path.rename(target / path.name)


def prepared(data_dir):
  """`{name: (grade, PNG bytes)}` of all that is prepared in a data_dir."""
  builder = prepared_builder("aptos2019", str(data_dir))
  assert list(builder.info.splits) == ["train"]
  records = list(builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()}))
  rows = {r["id"].numpy().decode(): (int(r["label"]), r["image"].numpy()) for r in records}
  assert len(rows) == len(records)
  return rows


def pixels(encoded):
  return np.asarray(Image.open(io.BytesIO(encoded)))


def refused(data_dir):
  """The message of the error that a data_dir ends in, one line."""
  with pytest.raises(UsageError) as caught:
    load_dataset(Config(dataset="aptos2019", data_dir=str(data_dir), eval_split="train"))
  message = str(caught.value)
  assert "\n" not in message and not list(data_dir.rglob("*.tfrecord*"))
  return message


def test_every_row_is_prepared_with_its_grade_and_whole_squashed_image(copy):
  rows = prepared(copy)
  assert {name: grade for name, (grade, _) in rows.items()} == dict(zip(NAMES, GRADES, strict=True))
  for name, (_, encoded) in rows.items():
    whole = Image.open(copy / f"train_images/{name}.png")
    expected = np.asarray(whole.resize((224, 224), Image.Resampling.LANCZOS))
    assert np.array_equal(pixels(encoded), expected)
  source = load_dataset(Config(dataset="aptos2019", data_dir=str(copy), eval_split="train"))
  assert source.train.num_examples == 25 and source.one_size and source.channels == 3
  assert source.class_names == ("no_dr", "mild", "moderate", "severe", "proliferative")
  assert source.train.labels().tolist() == [record["label"] for record in source.train.records()]


def test_an_image_is_squashed_without_a_crop_or_a_border(tmp_path):
  wide = np.zeros((50, 400, 3), np.uint8)
  wide[:, 200:] = 255
  wide[25:, :200, 0] = 255
  Image.fromarray(wide).save(tmp_path / "wide.png")
  image = pixels(aptos2019.squash(str(tmp_path / "wide.png")))
  assert image.shape == (224, 224, 3)
  assert (image[:, 116:] == 255).all() and (image[:100, :108] == 0).all()
  assert (image[124:, :108] == (255, 0, 0)).all()


@pytest.mark.parametrize(
  "place",
  [
    "downloads/manual",
    "downloads/manual/aptos2019-blindness-detection",
    "aptos2019-blindness-detection",
    "aptos2019",  # where it is prepared, too
  ],
)
def test_the_folder_may_lie_deeper(drawn, copy, place):
  move(copy, copy / "moved")
  (copy / place).parent.mkdir(parents=True, exist_ok=True)
  (copy / "moved").rename(copy / place)
  rows = prepared(copy)
  assert {name: grade for name, (grade, _) in rows.items()} == dict(zip(NAMES, GRADES, strict=True))


def test_the_manual_folder_comes_before_the_folder_that_holds_it(copy):
  shutil.copytree(copy, copy / "downloads/manual")
  write_table(copy / "downloads/manual", zip(NAMES, reversed(GRADES), strict=True))
  rows = prepared(copy)
  assert {name: rows[name][0] for name in NAMES} == dict(zip(NAMES, GRADES[::-1], strict=True))


def test_folders_among_which_nothing_chooses_are_named(copy):
  for name in ("a", "b"):
    (copy / name).mkdir()
    shutil.copy(copy / "train.csv", copy / name)
  (copy / "train.csv").unlink()
  assert refused(copy).endswith(f"Received: {copy}/a/train.csv, {copy}/b/train.csv")


@pytest.mark.parametrize(
  "there, received",
  [
    ({"train_1.csv", "valid.csv", "train_images"}, "{0}/train_1.csv, {0}/valid.csv"),
    ({"aptos2019-blindness-detection.zip"}, "{0}/aptos2019-blindness-detection.zip"),
    (set(), "no table"),
  ],
)
def test_a_folder_without_the_table_says_what_is_there(tmp_path, there, received):
  for name in there:
    (tmp_path / name).mkdir() if name == "train_images" else (tmp_path / name).write_text("")
  message = refused(tmp_path)
  assert message.startswith("dataset=aptos2019 must have train.csv and train_images/ of https://")
  assert message.endswith(f": {tmp_path}. Received: {received.format(tmp_path)}")


def test_images_may_be_jpeg_which_is_said_and_lie_deeper(copy, tmp_path, caplog):
  folder = (copy / "train_images").rename(tmp_path / "elsewhere")
  (copy / "train_images").mkdir()
  (copy / "train_images/train_images").symlink_to(folder)
  for name, ending in ((NAMES[0], ".jpeg"), (NAMES[1], ".JPG")):
    with Image.open(folder / f"{name}.png") as picture:
      picture.save(folder / f"{name}{ending}", "JPEG")
    (folder / f"{name}.png").unlink()
  (folder / f"{NAMES[2]}.png").rename(folder / f"{NAMES[2]}.PNG")
  (folder / f"._{NAMES[3]}.png").write_bytes(b"of a Mac")
  rows = prepared(copy)
  assert {name: grade for name, (grade, _) in rows.items()} == dict(zip(NAMES, GRADES, strict=True))
  with Image.open(folder / f"{NAMES[0]}.jpeg") as picture:
    expected = np.asarray(picture.resize((224, 224), Image.Resampling.LANCZOS))
  assert np.array_equal(pixels(rows[NAMES[0]][1]), expected)
  assert "2 of 25 images of" in caplog.text and "are JPEG files" in caplog.text
  assert "have no row" not in caplog.text


def test_images_without_a_row_and_a_table_of_another_length_are_said(copy, caplog):
  write_table(copy, zip(NAMES[2:], GRADES[2:], strict=True))
  assert set(prepared(copy)) == set(NAMES[2:])
  left_out = ", ".join(sorted(NAMES[:2]))
  assert (
    f"2 images of {copy}/train_images have no row in train.csv and are left out: {left_out}"
    in (caplog.text)
  )
  assert f"Kaggle's train.csv has 3662 rows, {copy}/train.csv has 23" in caplog.text


def test_rows_without_an_image_are_named(copy):
  for name in (NAMES[3], NAMES[5]):
    (copy / f"train_images/{name}.png").unlink()
  assert refused(copy) == (
    f"{copy}/train_images must hold an image of each row of train.csv. "
    f"Received: 2 of 25 without one, {NAMES[3]}.png, {NAMES[5]}.png"
  )


def test_images_that_were_not_unzipped_are_named(copy):
  shutil.rmtree(copy / "train_images")
  assert "Received: 25 of 25 without one, " in refused(copy)


def test_of_two_files_of_a_name_kaggles_counts_and_others_are_refused(copy):
  folder = copy / "train_images"
  first = folder / f"{NAMES[0]}.png"
  Image.new("RGB", (60, 60), "white").save(folder / f"{NAMES[0]}.jpeg")
  (folder / "again").mkdir()
  Image.new("RGB", (60, 60), "white").save(folder / f"again/{NAMES[0]}.png")
  assert aptos2019.image_paths(folder, NAMES)[0] == str(first)
  first.unlink()
  message = refused(copy)
  assert message.startswith(f"{folder} must hold each image once. Received: {folder}/")
  assert f"{folder}/{NAMES[0]}.jpeg" in message and f"{folder}/again/{NAMES[0]}.png" in message


@pytest.mark.parametrize(
  "content, reason", [(b"", "cannot identify"), (b"<html>", "cannot identify"), (None, "truncated")]
)
def test_an_image_that_cannot_be_decoded_is_named(copy, content, reason):
  path = copy / f"train_images/{NAMES[4]}.png"
  path.write_bytes(path.read_bytes()[:-60] if content is None else content)
  message = refused(copy)
  assert message.startswith("train_images/ must hold images that can be decoded (")
  assert reason in message and message.endswith(f"Received: {path}")


@pytest.mark.parametrize(
  "text",
  [
    "\ufeffid_code,diagnosis\r\n07,4\r\n08,0\r\n",
    "id_code, diagnosis\n07 ,\t4\n\n 08,0",
    "diagnosis,eye,id_code\n4,left,07\n0,right,08\n",
  ],
)
def test_tables_of_other_programs_are_read(tmp_path, text):
  (tmp_path / "train.csv").write_text(text, encoding="utf-8", newline="")
  grades = aptos2019.read_grades(tmp_path / "train.csv")
  assert list(grades.items()) == [("07", 4), ("08", 0)]


@pytest.mark.parametrize(
  "rows, message",
  [
    ("a,5", "the diagnosis must be 0 to 4. Received: 5 for a in line 2 of "),
    ("a,-1", "Received: -1 for a in line 2 of "),
    ("a,0\nb,2.0", "Received: 2.0 for b in line 3 of "),
    ("a,0\n\nb,", "Received: none for b in line 4 of "),
    ("a,0\nb", "Received: none for b in line 3 of "),
    ("a,0\n,1", "must have an id_code in each row. Received: none in line 3 of "),
    ("a,0\nb,1\na,0", "must name each image once. Received: a in line 2 and in line 4 of "),
    ("", "must have a row for each image. Received: none in "),
  ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path, rows, message):
  table = tmp_path / "train.csv"
  table.write_text(f"id_code,diagnosis\n{rows}\n")
  with pytest.raises(UsageError, match=f"^train.csv.*{re.escape(message + os.fspath(table))}$"):
    aptos2019.read_grades(table)


@pytest.mark.parametrize(
  "content, message",
  [
    (b"id_code\na\n", "must have the columns id_code, diagnosis. Received: id_code in "),
    (b"id_code;diagnosis\na;1\n", "Received: id_code;diagnosis in "),
    (b"", "must have the columns id_code, diagnosis. Received: nothing in "),
    (b"id_code,diagnosis,Diagnosis\na,1,2\n", "Received: diagnosis again in "),
    ("id_code,diagnosis\na,1\n".encode("utf-16"), "must be a CSV file in UTF-8 "),
  ],
)
def test_another_table_than_kaggles_is_named(copy, content, message):
  (copy / "train.csv").write_bytes(content)
  said = refused(copy)
  assert said.startswith("train.csv must") and message in said
  assert said.endswith(f"{copy / 'train.csv'}")


def test_the_presets_command_ends_in_the_kappa_of_five_folds(copy, tmp_path):
  scale = dict(
    data_dir=copy,
    model_dir=tmp_path / "run",
    image_size=32,
    base_filters=2,
    unet_depth=2,
    train_batch_size=5,
    train_steps=2,
    eval_every_epochs=0,
    report=False,
    export_format="",
  )
  done = command("--flagfile=aptos2019.cfg", "--flagfile=conrec.cfg", *as_flags(scale))
  assert done.returncode == 0, done.stderr
  assert "conrec on aptos2019, 25 training images" in done.stdout
  assert re.search(r"^  quadratic weighted kappa +-?\d", done.stdout, re.MULTILINE)
  result = json.loads((pathlib.Path(scale["model_dir"]) / "result.json").read_text())
  assert result["evaluated_with"]["cv_folds"] == 5 and result["evaluated_with"]["ordinal_labels"]
  assert result["measured_on"]["train_images"] == 25
  assert -1 <= result["eval/quadratic_weighted_kappa"] <= 1
  assert result["eval/quadratic_weighted_kappa_std"] >= 0  # over folds
  assert result["eval/untrained_strongest"] > 0.5  # spots can be told by random features
