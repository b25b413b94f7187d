"""Labels, splits and groups of an image folder from a CSV file."""

import dataclasses

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.files.label_table import files_by_name, read_label_table
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError


@pytest.fixture
def photos(tmp_path):
  """A folder of 40 images of differing brightness, in two folders that aren't labels."""
  for index in range(40):
    path = tmp_path / "photos" / f"camera{index % 2}" / f"eye{index:02}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full([10, 10, 3], 40 + index, np.uint8)).save(path)
  return tmp_path / "photos"


def config(photos, lines, **values):
  table = photos.parent / "labels.csv"
  table.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
  values = {"dataset": "image_folder", "data_dir": str(photos), **values}
  return Config(**values, label_table=str(table))


def contents(source, split):
  """`{index of an image: its label's name}` of a split."""
  return {
    int(source.decode(record["image"])[0, 0, 0]) - 40: source.class_names[int(record["label"])]
    for record in split.records()
  }


def test_labels_and_splits_of_files_by_path_name_or_stem(photos, caplog):
  lines = ["Image,age,Label,split"]
  for index in range(36):
    name = f"eye{index:02}"
    written = (f"camera{index % 2}/{name}.png", f"{name}.png", name)[index % 3]
    split = "train" if index < 24 else "test"
    lines.append(f"{written},50,grade {index % 3 * 5},{split}")
  lines.append("eye99,50,grade 0,train")
  source = load_dataset(config(photos, lines))
  assert source.class_names == ("grade 0", "grade 5", "grade 10")
  expected = {index: f"grade {index % 3 * 5}" for index in range(36)}
  assert contents(source, source.train) == {i: expected[i] for i in range(24)}
  assert contents(source, source.eval) == {i: expected[i] for i in range(24, 36)}
  assert "4 of 40 images aren't in" in caplog.text and "e.g. camera" in caplog.text
  assert "1 images of" in caplog.text and "e.g. eye99" in caplog.text


def test_a_group_is_held_out_whole(photos, caplog):
  lines = ["image,label,group", *(f"eye{i:02},{i % 2},patient {i // 2}" for i in range(40))]
  source = load_dataset(config(photos, lines))
  train, test = (set(contents(source, split)) for split in (source.train, source.eval))
  assert len(train) + len(test) == 40 and len(test) == 8
  assert {i // 2 for i in train}.isdisjoint({i // 2 for i in test})
  assert "alike" not in caplog.text


def test_blanks_around_cells_say_nothing(photos, caplog):
  names = (
    ("0", " train", "p1 "),
    ("1 ", "train ", " p1"),
    (" 0", "test", "p2"),
    ("1", "test", "p2"),
  )
  lines = ["image , label,split,group"]
  lines += [f" eye{i:02} , {','.join(names[i // 10])}" for i in range(40)]
  source = load_dataset(config(photos, lines))
  assert source.class_names == ("0", "1")
  assert source.train.num_examples == source.eval.num_examples == 20
  assert set(source.train.groups) == {"p1"} and set(source.eval.groups) == {"p2"}
  assert "differ in case" not in caplog.text


def test_a_name_that_several_files_have_is_said_as_such(photos, caplog):
  (photos / "camera0/eye01.png").write_bytes((photos / "camera1/eye01.png").read_bytes())
  load_dataset(config(photos, ["image,label", *(f"eye{i:02}.png,{i % 2}" for i in range(40))]))
  assert "aren't there, or several files are called so, e.g. eye01.png" in caplog.text


def test_quotes_may_follow_a_blank(photos):
  lines = ['image, "label", note', *(f'eye{i:02}, "{"ab"[i % 2]}, c", "x"' for i in range(20))]
  lines += [f'eye{i:02},"{"ab"[i % 2]}, c",' for i in range(20, 40)]
  assert load_dataset(config(photos, lines)).class_names == ("a, c", "b, c")


def test_names_that_differ_in_case_or_blanks_alone_are_said(photos, caplog):
  names = (("red deer", "train", "p 1"), ("Red deer", "Train", "p1"), ("fox", "test", "p2"))
  lines = ["image,label,split,group", *(f"eye{i:02},{','.join(names[i % 3])}" for i in range(40))]
  load_dataset(config(photos, lines))
  for what, twins in (
    ("labels", "'Red deer' and 'red deer'"),
    ("splits", "'Train' and 'train'"),
    ("groups", "'p 1' and 'p1'"),
  ):
    assert f"Names of {what} differ in case or blanks alone" in caplog.text
    assert twins in caplog.text


def test_shares_that_groups_do_not_allow_are_said(photos, caplog):
  lines = ["image,label,group", *(f"eye{i:02},{i // 8},patient {i // 8}" for i in range(40))]
  load_dataset(config(photos, lines))
  assert "Groups don't allow alike splits" in caplog.text


@pytest.mark.parametrize(
  "lines, message",
  [
    (
      ["image,grade", "eye00,1"],
      "must have the columns image, label, perhaps.* Received: image, grade",
    ),
    (["image,label", "eye00,"], "give each image a label. Received: line 2"),
    (
      ["image,label", "eye00,a", "eye00.png,b"],
      "one label.* Received: a and b for eye00.png, line 3",
    ),
    (["image,label", "x,a", "y,b"], "must name files of.* 2 images none is there, .*, e.g. x"),
    (["image,label", "eye00,a", "eye01,a"], "at least two labels.* Received: a alone"),
    (
      ["image,label,split", "eye00,a,train", "eye01,b,"],
      "a split, or none. Received: none for camera1",
    ),
    (
      ["image,label,split,group", "eye00,a,train,p", "eye01,b,test,p"],
      "each group in one split. Received: group p in (train and test|test and train)",
    ),
    (["image,label,group", "eye00,a,p", "eye01,b,q"], "at least 5 groups. Received: 2"),
    (
      ["image,label", "eye00,carcinoma, lobular", "eye01,carcinoma, in situ", "eye02,naevus"],
      "a cell for each of 2 columns.* Received: lobular beyond them, line 2",
    ),
    (
      ["image,note,label,more", "eye00,large, dark,a,", "eye01,,b,"],  # the label would be dark
      "a cell for each of 4 columns.* Received: a blank one beyond them, line 2",
    ),
    (["image,Label,label", "eye00,a,b", "eye01,b,a"], "each column once.* Received: label again"),
  ],
)
def test_wrong_tables(photos, lines, message):
  with pytest.raises(UsageError, match=message):
    load_dataset(config(photos, lines))


def test_labels_that_differ_in_capitals_alone_are_refused_as_columns(photos):
  """Which of two columns counts would depend on their order."""
  table = config(photos, ["image,MA,ma,x", "eye00,0,1,1"], label_columns="MA,x")
  with pytest.raises(UsageError, match="label_table must have each column once.* Received: ma "):
    load_dataset(table)


def test_lines_of_blank_cells_say_nothing(photos, caplog):
  lines = ["image,label", *(f"eye{i:02},{i % 2}" for i in range(40)), ",", " , ", ",,"]
  assert load_dataset(config(photos, lines)).class_names == ("0", "1")
  assert "Lost" not in caplog.text


def test_cells_beyond_the_columns_may_be_empty(photos):
  lines = ["image,label,note,note", *(f"eye{i:02},{i % 2},,," for i in range(40))]
  assert load_dataset(config(photos, lines)).class_names == ("0", "1")


@pytest.mark.parametrize("none", ["-1", "NaN"])
def test_a_label_that_is_none_elsewhere_is_said(photos, caplog, none):
  labels = (none, "0", "1", "2")
  load_dataset(config(photos, ["image,label", *(f"eye{i:02},{labels[i % 4]}" for i in range(40))]))
  assert f"{none} counts as a label like others, with 10 images" in caplog.text


@pytest.mark.parametrize(
  "labels, twins",
  [
    (("1", "1.0", "2"), "'1' and '1.0'"),
    (("07", "7", "70"), "'07' and '7'"),
    (("-0.0", "0", "-1"), "'-0.0' and '0'"),
    (("1", "-1", "10", "1.01", "v1", "v01", "12345678901234567890", "12345678901234567891"), ""),
  ],
)
def test_labels_that_are_one_number_are_said(photos, caplog, labels, twins):
  lines = ["image,label", *(f"eye{i:02},{labels[i % len(labels)]}" for i in range(40))]
  load_dataset(config(photos, lines))
  assert (f"labels are numbers of one value and count as different: {twins}" in caplog.text) == (
    bool(twins)
  )


@pytest.mark.parametrize(
  "grades, is_said",
  [("0,1,10", False), ("stage 1,stage 2", False), ("-1,0,1", True), ("0.5,0.25", True)],
)
def test_grades_that_do_not_ascend_are_said(photos, caplog, grades, is_said):
  grades = grades.split(",")
  lines = ["image,label", *(f"eye{i:02},{grades[i % len(grades)]}" for i in range(40))]
  source = load_dataset(config(photos, lines, ordinal_labels=True))
  said = f"Grades are taken in this order: {', '.join(source.class_names)}"
  assert (said in caplog.text) == is_said


def test_tables_that_cannot_be_read(photos):
  values = dict(dataset="image_folder", data_dir=str(photos))
  with pytest.raises(UsageError, match="label_table must be a CSV file.* Received: nowhere.csv"):
    load_dataset(Config(**values, label_table="nowhere.csv"))
  path = photos.parent / "latin.csv"
  path.write_bytes("image,label\nœil,é\n".encode("utf-16"))
  with pytest.raises(UsageError, match="label_table must be a CSV file in UTF-8"):
    load_dataset(Config(**values, label_table=str(path)))


def test_a_table_is_for_labelled_image_folders():
  with pytest.raises(UsageError, match="label_table must be empty unless"):
    Config(dataset="npz", data_dir="x.npz", label_table="labels.csv")
  with pytest.raises(UsageError, match="label_table must be empty unless"):
    Config(dataset="image_folder", data_dir="x", label_mode="none", label_table="labels.csv")


@pytest.mark.parametrize(
  "content",
  [
    b"\xff\xfei\0m\0",
    b"image,label\na.png,x\nb.png,\0\n",
    b"image,label\na.png,\xe9\n",
    b'image,label\na.png,"' + b"x" * 200_000,
  ],
)
def test_a_table_of_odd_bytes_is_named(tmp_path, content):
  path = tmp_path / "labels.csv"
  path.write_bytes(content)
  with pytest.raises(UsageError, match="label_table must be a CSV file in UTF-8 .*labels.csv"):
    read_label_table(str(path), ["a.png"])


def test_groups_are_in_the_digest_and_where_the_table_lies_is_not(photos):
  lines = [
    f"eye{index:02},{'ab'[index % 2]},{'test' if index > 29 else 'train'}" for index in range(40)
  ]
  plain = load_dataset(config(photos, ["image,label,split", *lines])).digest
  groups = [f"{line},p{index // 5}" for index, line in enumerate(lines)]
  with_groups = load_dataset(config(photos, ["image,label,split,group", *groups])).digest
  other = [*groups[:-1], f"{lines[-1]},p99"]
  found = {
    plain,
    with_groups,
    load_dataset(config(photos, ["image,label,split,group", *other])).digest,
  }
  assert len(found) == 3
  moved = config(photos, ["image,label,split", *lines])
  (photos.parent / "labels.csv").rename(photos.parent / "moved.csv")
  moved = dataclasses.replace(moved, label_table=str(photos.parent / "moved.csv"))
  assert load_dataset(moved).digest == plain


def test_a_file_without_an_ending_is_named_in_whole():
  names = ["a/1.2.840.0", "a/1.2.840.1", "b/IM.dcm", "b/eye.v2.png"]
  found = files_by_name(names)
  assert found["1.2.840.0"] == names[0] and found["IM"] == names[2] and found["eye.v2"] == names[3]
  assert "1.2.840" not in found and "eye" not in found
