"""What a number was measured on: records, where results belong, what is said."""

import dataclasses
import errno
import os
import pathlib

import numpy as np
import pytest

from conrec_tf import files
from conrec_tf.config import Config
from conrec_tf.data.dataset import Split
from conrec_tf.data.records import Numbered
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import EXTERNAL
from conrec_tf.run_dir import measurement as module
from conrec_tf.run_dir.measurement import (
  Measurement,
  changed_words,
  is_described,
  measurement,
  write_description,
)
from conrec_tf.run_dir.results_place import OWN, note_data, results_place, write_summary_of
from conrec_tf.run_dir.run_directory import RunDirectory


@pytest.fixture
def archive(tmp_path, rng):
  """Makes an archive of 12 images, and returns options to open it with."""
  x = rng.integers(0, 256, (12, 24, 24, 1), np.uint8)

  def make(name="a.npz", **changes):
    arrays = dict(
      x_train=x[:8],
      x_test=x[8:],
      y_train=np.array(["a", "b"] * 4),
      y_test=np.array(["a", "b"] * 2),
    )
    np.savez(tmp_path / name, **(arrays | changes))
    return dict(dataset="npz", data_dir=str(tmp_path / name), image_size=24, unet_depth=3)

  make.images = x
  return make


def record(**values):
  config = Config(**values)
  source = load_dataset(config)
  return measurement(
    config.evaluation_settings,
    source,
    load_eval_dataset(config, source),
    is_pretraining=config.is_pretraining,
  )


def test_equal_data_has_an_equal_record_wherever_it_lies(archive):
  assert record(**archive()) == record(**archive("elsewhere.npz"))


def test_a_split_expression_of_the_same_images_is_no_difference(archive):
  mine, other = record(**archive()), record(**archive(), eval_split="test[:4]")
  assert mine.digest == other.digest and not mine.differences(other.record(full=True))


@pytest.mark.parametrize(
  "values, changes, words",
  [
    (dict(eval_split="test[:2]"), {}, "images or labels of the eval split"),
    (dict(train_split="train[:6]"), {}, "images or labels of the train split"),
    ({}, dict(y_test=np.array(["b", "a"] * 2)), "images or labels of the eval split"),
    (
      {},
      dict(y_train=np.array(["a", "c"] * 4), y_test=np.array(["a", "c"] * 2)),
      "labels: b -> c",
    ),
    (dict(eval_crop="center"), {}, "center_crop: False -> True"),
    (dict(select_best_on="rank_me"), {}, "select_best_on: evaluation -> rank_me"),
    (dict(knn_neighbours=3), {}, "knn_neighbours: 20 -> 3"),
    (dict(eval_image_size=48), {}, "eval_image_size: 0 -> 48"),
    (dict(eval_crops=10), {}, "eval_crops: 1 -> 10"),
    (dict(standardize_embeddings=False), {}, "standardize_embeddings: True -> False"),
  ],
)
def test_a_record_says_in_what_it_differs(archive, values, changes, words):
  before = record(**archive()).record(full=True)
  other = record(**archive("other.npz", **changes), **values)
  assert words in other.differences(before)
  assert other.digest != Measurement.of_result(before).digest


def test_a_record_from_before_an_option_is_as_by_its_default(archive):
  before, now, other = (
    record(**archive(), **values) for values in ({}, {}, dict(eval_image_size=48))
  )
  del before.settings["eval_image_size"], before.settings["eval_crops"]
  assert before.digest == now.digest != other.digest
  assert not now.differences(before.record(full=True))
  assert other.differences(before.record(full=True)) == ["eval_image_size: 0 -> 48"]
  words = changed_words(before.compared(), other.compared())
  assert words == ["eval_image_size: 0 -> 48"]


def test_additions_are_there_however_they_were_written(archive):
  asked = record(**archive(), label_fractions="0.5,1", few_shots="1,2")
  noted = asked.record(full=True)
  noted["evaluated_with"] |= {"label_fractions": "0.50, 1.0", "few_shots": "1, 2"}
  assert not asked.lacks(noted)
  noted["evaluated_with"] |= {"few_shots": "1"}
  assert asked.lacks(noted)


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_labels_count_where_contents_are_not_known(shape):
  def split(labels):
    return Split("test", Numbered(4, lambda _: {}), origin="shards", labels=lambda: labels)

  labels = np.zeros(shape, np.int64)
  relabelled = labels.copy()
  relabelled[2] = 1
  assert split(labels).digest(["a", "b"]) == split(labels.copy()).digest(["a", "b"])
  assert split(labels).digest(["a", "b"]) != split(relabelled).digest(["a", "b"])
  assert split(labels).digest("") == split(relabelled).digest("")


def test_one_changed_pixel_is_another_image(archive):
  changed = archive.images[8:].copy()
  changed[0, 3, 3] ^= 1
  other = record(**archive("other.npz", x_test=changed))
  assert other.differences(record(**archive()).record(False)) == [
    "images or labels of the eval split"
  ]


def test_labels_without_groups_and_with_are_two_records(archive):
  source = load_dataset(Config(**archive()))
  groups = np.array(["p", "p", "q", "q"], object)
  grouped = dataclasses.replace(source.eval, groups=groups)
  assert grouped.digest(source.class_names) != source.eval.digest(source.class_names)


def place(run, **values):
  config = Config(**values, model_dir=str(run.path))
  source = load_dataset(config)
  eval_source = load_eval_dataset(config, source)
  found = results_place(config, run, source, eval_source)
  run.path.mkdir(exist_ok=True)
  found.open(source, eval_source)
  return found


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(
  archive, tmp_path, monkeypatch
):
  def refuse(path, **_):
    raise OSError(errno.EROFS, "Read-only file system", str(path))

  run = RunDirectory(tmp_path / "run")
  assert place(run, **archive()).is_own  # and all that is to be noted is
  monkeypatch.setattr(pathlib.Path, "touch", refuse)
  with pytest.raises(UsageError, match="Read-only file system"):
    place(run, **archive())


def test_what_other_images_or_networks_give_first_is_not_a_trainings_own(archive, tmp_path):
  run = RunDirectory(tmp_path / "run")
  config = Config(**archive(), mode="eval")
  source = load_dataset(config)
  run.path.mkdir()
  note_data(run, source, source)
  assert results_place(config, run, source, source, "digest").is_own  # of one network alone
  (run.path / "checkpoints").mkdir()
  (run.path / "checkpoints/ckpt-2.index").touch()
  assert results_place(config, run, source, source).is_own
  assert results_place(config, run, source, source, "digest").changed == ("the network",)
  other = load_dataset(Config(**archive("other.npz", y_test=np.array(["b", "a"] * 2))))
  assert results_place(config, run, other, other).changed == ("images or labels",)


@pytest.mark.parametrize(
  "known, name, value",
  [
    ({}, "moving_average_decay", 0.9),
    (EXTERNAL | {"checkpoint": "theirs.onnx"}, "external_scaling", "bytes"),
  ],
)
def test_other_weights_or_readings_of_a_network_are_kept_apart(
  archive, tmp_path, known, name, value
):
  run = RunDirectory(tmp_path / "run")
  run.path.mkdir()
  config = Config(**archive(), mode="eval", **known)
  run.write("config.json", config.settings)
  other = dataclasses.replace(config, **{name: value})
  source = load_dataset(config)
  assert results_place(config, run, source, source).is_own
  before = getattr(config, name)
  assert results_place(other, run, source, source).changed == (f"{name}: {before} -> {value}",)


def test_results_say_what_they_are_of_where_the_runs_record_is_lost(archive, tmp_path, caplog):
  run = RunDirectory(tmp_path / "run")
  own = place(run, **archive())
  (run.path / OWN).unlink()
  run.write("result_5.json", {"global_step": 5, **own.measured.record(full=True)})
  other = archive("other.npz", x_test=archive.images[:4])
  assert not place(run, **other).is_own
  with caplog.at_level("INFO", "conrec_tf"):
    assert place(run, **archive()).is_own
  assert "earlier version" not in caplog.text and run.read(OWN)


def test_the_first_results_are_the_runs_own_and_others_are_kept_apart(archive, tmp_path, caplog):
  run = RunDirectory(tmp_path / "run")
  assert place(run, **archive(), eval_split="test[:2]").is_own
  assert place(run, **archive()).is_own  # nothing was measured yet
  run.write("result_5.json", {"global_step": 5})
  with caplog.at_level("INFO", "conrec_tf"):
    other = place(run, **archive(), eval_split="test[:2]")
  assert not other.is_own and other.directory.path.parent == run.path / "evaluations"
  assert other.directory.path.name.startswith("a.npz-test_2_-")
  assert "images or labels of the eval split" in caplog.text
  assert RunDirectory(other.directory.path).read(OWN)["measured_on"]["eval_images"] == 2
  leftover = other.directory.path / f".conrec_tf.{os.getpid()}.1.0.{files._machine()}"
  leftover.touch()  # of a process that was killed
  assert place(run, **archive(), eval_split="test[:2]").directory.path == other.directory.path
  assert not leftover.exists()
  assert place(run, **archive()).is_own
  assert place(run, **archive(), label_fractions="0.5", bootstrap_samples=0).is_own


def test_a_network_looked_at_otherwise_is_measured_apart(archive, tmp_path):
  run = RunDirectory(tmp_path / "run")
  place(run, **archive())
  run.write("config.json", Config(**archive()).settings)
  run.write("result_5.json", {"global_step": 5})
  assert place(run, **archive()).is_own
  assert place(run, **{**archive(), "image_size": 32}).changed == ("image_size: 24 -> 32",)
  assert place(run, **archive(), learning_rate=0.5).is_own  # which no evaluation reads


def test_a_run_from_before_counts_as_measured_on_its_own_data(archive, tmp_path, caplog):
  run = RunDirectory(tmp_path / "run")
  run.path.mkdir()
  config = Config(**archive())
  run.write("config.json", config.settings)
  run.write("images.json", {"digest": load_dataset(config).digest})
  run.write("result_5.json", {"global_step": 5, "eval/a": 0.5})
  assert not place(run, **archive(), eval_split="test[:2]").is_own
  assert not place(run, **archive("other.npz", x_test=archive.images[:4])).is_own
  with caplog.at_level("INFO", "conrec_tf"):
    assert place(run, **archive()).is_own
    assert place(run, **archive()).is_own
  assert caplog.text.count("of an earlier version") == 1  # once
  assert not place(run, **archive(), eval_split="test[:2]").is_own


def test_what_is_other_in_words():
  assert changed_words({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: 2 -> 3"]
  assert changed_words({"class_names": ["0", "90"]}, {"class_names": ["0", "360"]}) == [
    "labels: 90 -> 360"
  ]
  assert changed_words({"class_names": ["a", "b"]}, {"class_names": ["b", "a"]}) == [
    "the order of labels"
  ]


def test_trainings_are_summarised_only_where_measured_alike(tmp_path):
  def result(step=5, eval="b"):
    return {"global_step": step, "measured_on": {"eval": eval}, "evaluated_with": {"cv_folds": 0}}

  folder = RunDirectory(tmp_path)
  for wrong, words in ((result(6), "steps 5, 6"), (result(eval="c"), "images or labels")):
    with pytest.raises(UsageError, match=words):
      write_summary_of(folder, [result(), wrong], {})
  write_summary_of(folder, [result(), result()], {"eval/a": 0.5})
  write_summary_of(folder, [result(eval="c"), result(eval="c")], {"eval/a": 0.9})
  assert folder.read("result.json")["eval/a"] == 0.5
  [other] = tmp_path.glob("evaluations/*/result.json")
  assert RunDirectory(other.parent).read("result.json")["eval/a"] == 0.9


def test_a_mean_over_folds_of_which_one_is_from_before_says_nothing_of_its_images(tmp_path):
  noted = {"global_step": 5, "measured_on": {"eval": "a"}, "evaluated_with": {"cv_folds": 0}}
  before = {name: value for name, value in noted.items() if name != "measured_on"}
  write_summary_of(RunDirectory(tmp_path), [noted, before], {"eval/a": 0.5}, of_folds=True)
  found = RunDirectory(tmp_path).read("result.json")
  assert found == {"eval/a": 0.5, "evaluated_with": {"cv_folds": 0}}


def test_a_folder_that_begins_anew_says_until_then_what_is_in_it(tmp_path, monkeypatch):
  before, now = {"network": "a", "sizes": [1, 2]}, {"network": "b", "sizes": [1, 2]}
  write_description(tmp_path, before, "files")
  (tmp_path / "of_a.npz").touch()
  assert is_described(tmp_path, before) and not is_described(tmp_path, now)

  def killed(path):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(module, "remove", killed)
    write_description(tmp_path, now, "files", begins_anew=True)
  assert is_described(tmp_path, before)
  write_description(tmp_path, now, "files", begins_anew=True)
  assert is_described(tmp_path, now)
  assert [path.name for path in tmp_path.iterdir()] == ["description.json"]
