"""Folds of a split: stratified, the same for every method, and with groups in one fold each."""

import numpy as np
from PIL import Image
import pytest

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.files.groups import group_folds, held_out_groups
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources import tfds_records
from conrec_tf.data.splits import stratified_folds
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory


def test_each_fold_has_its_share_of_each_label():
  labels = np.repeat([0, 1, 2], [30, 20, 7])
  folds = stratified_folds(labels, None, 5)
  assert set(np.bincount(folds)) == {11, 12}
  for label, counts in ((0, {6}), (1, {4}), (2, {1, 2})):
    assert set(np.bincount(folds[labels == label], minlength=5)) == counts
  assert np.array_equal(folds, stratified_folds(labels, None, 5))
  assert not np.array_equal(np.sort(folds[labels == 0]), folds[labels == 0])  # no slices
  several = np.stack([labels, 1 - labels % 2], axis=1)
  assert set(np.bincount(stratified_folds(several, None, 5))) == {11, 12}


def test_folds_of_groups_hold_them_whole():
  rng = np.random.default_rng(0)
  groups = np.array([f"p{number}" for number in rng.integers(0, 12, 90)], object)
  labels = rng.integers(0, 2, 90)
  for folds in (
    stratified_folds(labels, groups, 4),
    group_folds(np.stack([labels, 1 - labels], axis=1), groups, 4, 0),
    group_folds(np.arange(90), groups, 4, 0),  # no label twice
  ):
    assert set(folds) == {0, 1, 2, 3}
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
  with pytest.raises(UsageError, match="cv_folds must be at most 12, the groups.* Received: 13"):
    stratified_folds(labels, groups, 13)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.56])
def test_the_largest_group_is_not_what_is_held_out(share, caplog):
  """30 patients of 10 images and one with a share of all."""
  caplog.set_level("INFO", "conrec_tf")
  largest = round(300 * share / (1 - share))
  groups = np.array(["large"] * largest + [f"p{i // 10}" for i in range(300)], object)
  labels = np.arange(len(groups)) % 2
  splits = held_out_groups(labels, groups, ("a", "b"))
  held = splits == "test"
  assert abs(held.mean() - 0.2) < 0.03 and "large" not in groups[held]
  assert len(set(groups[held])) >= 6 and not set(groups[held]) & set(groups[~held])
  assert f"{held.sum()} of {len(groups)} images" in caplog.text
  assert f"of {len(set(groups[held]))} of 31 groups" in caplog.text


def photos(folder, named):
  """Six images of two labels, whose files are named after their labels or not."""
  for number in range(12):
    label = ("cat", "dog")[number % 2]
    name = f"{label}{number // 2:02}.png" if named else f"img{number:02}.png"
    path = folder / "train" / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full([8, 8, 3], 20 * number, np.uint8)).save(path)
  return dict(dataset="image_folder", data_dir=str(folder), train_mode="finetune")


@pytest.mark.parametrize("named", [True, False])
def test_both_sides_of_a_fold_have_all_labels_whatever_files_are_called(tmp_path, named):
  values = photos(tmp_path, named)  # no other split is there
  held = []
  for fold in range(3):
    source = load_dataset(Config(**values, cv_fold=f"{fold}/3"))
    assert source.train.num_examples == 8 and source.eval.num_examples == 4
    assert set(source.train.labels()) == {0, 1} and set(source.eval.labels()) == {0, 1}
    assert not set(source.train.names) & set(source.eval.names)
    held += list(source.eval.names)
  assert len(set(held)) == 12
  for other in (dict(seed=7), dict(encoder="densenet121"), dict(train_batch_size=4)):
    again = load_dataset(Config(**values, cv_fold="2/3", **other))
    assert list(again.eval.names) == held[8:]


def test_other_images_than_a_run_learnt_from_are_not_measured_by_its_fold(tmp_path):
  values = photos(tmp_path / "photos", False) | dict(mode="eval", model_dir=str(tmp_path / "run"))
  (tmp_path / "run").mkdir()
  RunDirectory(tmp_path / "run").write(IMAGES, {"digest": "of others"})
  with pytest.raises(UsageError, match=r"cv_fold must be empty \(.* Received: 0/3 of .*photos$"):
    commands.run(Config(**values, cv_fold="0/3"))


@pytest.mark.parametrize("mode", ["embed", "explore", "predict"])
def test_what_takes_images_alone_gets_all_of_them(tmp_path, mode):
  values = photos(tmp_path, False) | dict(mode=mode)
  source = load_dataset(Config(**values, cv_fold="0/3"))
  assert source.train.num_examples == 12 and list(source.splits) == ["train"]
  source = load_dataset(Config(**values, eval_split="train[:5]", train_label_fraction=0.2))
  assert (source.train.num_examples, source.eval.num_examples) == (12, 5)


@pytest.mark.parametrize("kind", ["memory", "streamed"])
def test_folds_of_tfds_and_of_slices(flowers, monkeypatch, kind):
  if kind == "streamed":
    monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 0)
  values = flowers | dict(train_mode="finetune", train_split="train[:20]+validation")
  everything = load_dataset(Config(**values)).train
  images = {record["image"].numpy() for record in everything.records()}
  held = []
  for fold in range(4):
    source = load_dataset(Config(**values, cv_fold=f"{fold}/4"))
    learnt, measured = (
      [record["image"].numpy() for record in split.records()]
      for split in (source.train, source.eval)
    )
    assert len(learnt) == 24 and len(measured) == 8 and not set(learnt) & set(measured)
    held += measured
  assert set(held) == images and len(held) == 32


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(cv_fold="0/13"), "cv_folds must be at most 12, the labelled images. Received: 13"),
    (dict(cv_fold="2/2"), "cv_fold must be a fold from 0.* Received: 2/2"),
    (dict(cv_fold="first"), "cv_fold must be a fold from 0.* Received: first"),
    (dict(cv_fold="0/2", train_mode="pretrain"), "for train_mode=finetune.* Received: 0/2"),
  ],
)
def test_wrong_folds(tmp_path, values, message):
  with pytest.raises(UsageError, match=message):
    load_dataset(Config(**photos(tmp_path, False) | values))


def test_a_label_of_one_image_cannot_be_the_second(tmp_path):
  values = photos(tmp_path, False)
  for path in sorted((tmp_path / "train" / "dog").iterdir())[1:]:
    path.unlink()
  with pytest.raises(UsageError, match="two labels in all but any fold.* Received: one without"):
    load_dataset(Config(**values, cv_fold="0/2"))
