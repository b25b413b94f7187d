"""Whether chosen splits are apart: shared images, groups, labels that a split or an image lacks."""

import io
import tarfile

import numpy as np
from PIL import Image
import pytest
import tfds_sets.tiny_partly_labelled  # noqa: F401  # registers the dataset

from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.data.sources import tfds_records
from conrec_tf.data.splits import shared_images
from conrec_tf.errors import UsageError


def opened(**values):
  """Loads the dataset of evaluation, which says what is wrong with its splits."""
  config = Config(**values)
  return load_eval_dataset(config, load_dataset(config))


def pixels(number):
  return np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
  """16 train and 8 test images of two labels."""
  for split, labels, count, first in (("train", "ab", 8, 0), ("test", "ab", 4, 100)):
    for number in range(count):
      for place, label in enumerate(labels):
        path = tmp_path / "photos" / split / label / f"{split}_{label}{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(first + 2 * number + place)).save(path)
  return dict(dataset="image_folder", data_dir=str(tmp_path / "photos"))


def test_images_of_both_splits_are_counted_and_named(folder, caplog):
  opened(**folder)
  assert "too" not in caplog.text
  opened(**folder, train_split="train+test")
  assert "8 of 8 images of eval_split=test are images of train_split=train+test too" in caplog.text
  caplog.clear()
  opened(**folder, train_split="train[:75%]", eval_split="train[50%:]")
  assert "4 of 8 images of eval_split=train[50%:] are images of" in caplog.text
  caplog.clear()
  opened(**folder, train_split="train+test", cv_folds=2)  # nothing is measured on eval_split
  assert "too" not in caplog.text


def test_a_copy_under_another_name_is_an_image_of_both(folder, caplog, tmp_path, monkeypatch):
  known = tmp_path / "photos" / "train" / "a" / "train_a3.png"
  (tmp_path / "photos" / "test" / "b" / "copy.png").write_bytes(known.read_bytes())
  for _ in range(2):  # the second time by what is kept of the first
    caplog.clear()
    opened(**folder)
    assert "1 of 9 images of eval_split=test" in caplog.text and "copy.png" in caplog.text


def test_no_file_is_read_again_to_compare_it(folder, monkeypatch, tmp_path):
  from conrec_tf.data.files.store import Folder

  photos = tmp_path / "photos"
  (photos / "test/a/test_a3.png").write_bytes((photos / "train/b/train_b7.png").read_bytes())
  source = load_dataset(Config(**folder))
  read = []
  monkeypatch.setattr(Folder, "content", lambda self, name: read.append(name) or b"x")
  [place] = shared_images(source.train, source.eval)
  assert source.eval.names[place] == "test/a/test_a3.png" and read == []


def test_arrays_and_archives_are_compared_by_content(tmp_path, caplog):
  images = np.stack([pixels(number) for number in range(30)])
  labels = np.arange(30) % 2
  np.savez(
    tmp_path / "data.npz",
    x_train=images[:20],
    y_train=labels[:20],
    x_test=images[17:],
    y_test=labels[17:],
  )
  opened(dataset="npz", data_dir=str(tmp_path / "data.npz"))
  assert "3 of 13 images of eval_split=test are images of train_split=train too, e.g. number 0" in (
    caplog.text
  )
  caplog.clear()
  for name, numbers in (("train", range(20)), ("test", range(19, 25))):
    with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
      for number in numbers:
        buffer = io.BytesIO()
        Image.fromarray(images[number]).save(buffer, "PNG")
        for ending, data in (("png", buffer.getvalue()), ("cls", b"%d" % (number % 2))):
          member = tarfile.TarInfo(f"{name}{number}.{ending}")
          member.size = len(data)
          archive.addfile(member, io.BytesIO(data))
  opened(dataset="webdataset", data_dir=str(tmp_path))
  assert "1 of 6 images of eval_split=test" in caplog.text and "test19" in caplog.text


@pytest.mark.parametrize("kind", ["memory", "streamed", "one of each"])
def test_records_of_tfds_are_told_by_content_or_number(flowers, monkeypatch, caplog, kind):
  limit = {"memory": 10**9, "streamed": 0, "one of each": 15 * 3000}[kind]
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", limit)
  values = flowers | dict(train_split="train+validation", eval_split="train[20:]+test[:9]")
  opened(**values)
  assert "4 of 13 images of eval_split=train[20:]+test[:9] are images of" in caplog.text
  caplog.clear()
  opened(**values | dict(eval_split="test"))
  assert "too" not in caplog.text


def test_splits_of_another_eval_dataset_are_compared(flowers, folder, caplog):
  values = flowers | dict(
    eval_dataset="image_folder",
    eval_data_dir=folder["data_dir"],
    eval_train_split="train+test",
    eval_test_split="test",
  )
  opened(**values)
  assert "8 of 8 images of eval_test_split=test are images of eval_train_split=train+test" in (
    caplog.text
  )


def grouped(tmp_path, patients=10, images=4, **values):
  """A table of patients whose images follow one another."""
  lines = ["image,label,group,split"]
  for number in range(patients * images):
    path = tmp_path / "eyes" / f"eye{number:02}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels(number)).save(path)
    lines.append(f"{path.name},{number % 2},p{(number + 2) // images},train")
  (tmp_path / "table.csv").write_text("\n".join(lines))
  return dict(
    dataset="image_folder",
    data_dir=str(tmp_path / "eyes"),
    label_table=str(tmp_path / "table.csv"),
    **values,
  )


def test_a_group_in_both_slices_is_refused(tmp_path, caplog):
  slices = dict(train_split="train[:50%]", eval_split="train[50%:]")
  with pytest.raises(UsageError, match="no group in common.* Received: 1 in both.*e.g. p5"):
    opened(**grouped(tmp_path, **slices))
  opened(**grouped(tmp_path, train_split="train[:18]", eval_split="train[18:]"))
  opened(**grouped(tmp_path, train_split="train", eval_split="train[50%:]"))
  assert r"20 of 20 images" in caplog.text and "(6 groups are in both)" in caplog.text


def test_labels_that_a_slice_lacks_are_named(folder, tmp_path, caplog):
  values = folder | dict(train_split="train[:50%]", eval_split="train[50%:]")
  images = np.stack([pixels(number) for number in range(20)])
  labels = np.array(["apple", "pear"])[np.arange(20) // 10]
  np.savez(tmp_path / "sorted.npz", x_train=images, y_train=labels)
  values = dict(dataset="npz", data_dir=str(tmp_path / "sorted.npz"))
  opened(**values, train_split="train[:50%]")
  assert "train[:50%] has no images of 1 of 2 labels: pear" in caplog.text


@pytest.mark.parametrize("kind", ["memory", "streamed", "files"])
def test_labels_of_tfds_are_known_wherever_records_are(flowers, monkeypatch, tmp_path, kind):
  if kind != "memory":
    monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 0)
  if kind == "files":
    import tensorflow_datasets

    builder = tensorflow_datasets.builder(
      "tiny_flowers", data_dir=str(tmp_path), file_format="array_record"
    )
    builder.download_and_prepare()
    flowers = flowers | dict(data_dir=str(tmp_path))
  split = load_dataset(Config(**flowers)).train
  records = getattr(split.rows, "in_file_order", split.records)()
  expected = [int(record["label"]) for record in records]
  assert split.labels().tolist() == expected
  part = split.part(np.array([5, 2, 30]))
  assert part.num_examples == 3 and part.labels().tolist() == [expected[i] for i in (2, 5, 30)]
  assert [int(record["label"]) for record in part.records()] == part.labels().tolist()


@pytest.mark.parametrize("kind", ["memory", "streamed"])
def test_images_without_a_label_are_left_out_and_counted(tmp_path, monkeypatch, caplog, kind):
  values = dict(dataset="tiny_partly_labelled", data_dir=str(tmp_path))
  load_dataset(Config(**values))
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 10**9 if kind == "memory" else 0)
  source = load_dataset(Config(**values))
  assert source.train.num_examples == 24  # what pre-training learns from
  evaluated = load_eval_dataset(Config(**values), source)
  assert "6 of 24 images of train have no label (-1)" in caplog.text
  assert "3 of 12 images of test have no label (-1)" in caplog.text
  for split, count in ((evaluated.train, 18), (evaluated.eval, 9)):
    labels = [int(record["label"]) for record in split.records()]
    assert len(labels) == split.num_examples == count and min(labels) == 0
  finetuned = load_dataset(Config(**values, train_mode="finetune"))
  assert finetuned.train.num_examples == 18 and finetuned.eval.num_examples == 9
  if kind == "streamed":
    import tensorflow as tf

    order = list(finetuned.train.rows.shuffled(tf.constant([0, 1], tf.int64)))
    assert sorted(int(place) for place, _ in order) == list(range(18))
    assert all(
      int(record["label"]) == finetuned.train.labels()[int(place)] for place, record in order
    )
