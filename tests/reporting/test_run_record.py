"""What runs beside each other are called, and which of them are one method."""

import pathlib

import pytest

from conrec_tf.config import Config
from conrec_tf.reporting.method_comparison import methods_of
from conrec_tf.reporting.run_record import last_parts, read_run_record, told_apart
from conrec_tf.run_dir.run_directory import RunDirectory


@pytest.mark.parametrize(
  "paths, ends",
  [
    (["/runs/a"], ["a"]),
    (["/runs/a", "/runs/b"], ["a", "b"]),
    (["/runs/a/seed_0", "/runs/a/seed_1"], ["seed_0", "seed_1"]),
    (["/runs/a/seed_0", "/runs/b/seed_0"], ["a/seed_0", "b/seed_0"]),
    (["/x/a/run", "/y/a/run", "/y/b"], ["x/a/run", "y/a/run", "/y/b"]),
    (["/runs/a", "/runs/a", "/runs/b"], ["a", "a", "b"]),
    (["/a", "/b/a"], ["/a", "b/a"]),
  ],
)
def test_folders_are_called_by_as_much_of_their_paths_as_tells_them_apart(paths, ends):
  found = last_parts([pathlib.PurePath(path) for path in paths])
  assert found == ends
  if len(set(paths)) == len(paths):
    names = told_apart(["ConRec"] * len(paths), found)
    assert len(set(names)) == len(paths)


def run_on(path, digest, train_images, seed):
  """Returns the record of a run that learnt from some images, and was measured on one set."""
  directory = RunDirectory(path)
  path.mkdir(parents=True)
  directory.write("config.json", Config(seed=seed).settings)
  directory.write("images.json", {"digest": digest, "train_images": train_images})
  result = {"global_step": 5, "eval/linear_top_1_accuracy": 0.5, "measured_on": {"eval": "a"}}
  directory.write("result_5.json", result)
  return read_run_record(path)


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_runs_that_learnt_from_other_images_are_two_methods(tmp_path, seeds):
  few, many = (
    run_on(tmp_path / f"{images}", f"{images} images", images, seed)
    for images, seed in zip((10, 100), seeds, strict=True)
  )
  assert [method.runs for method in methods_of([few, many])] == [(few,), (many,)]
  again = run_on(tmp_path / "again", "10 images", 10, seed=2)
  assert [method.runs for method in methods_of([few, again])] == [(few, again)]


def test_what_is_measured_elsewhere_learnt_from_the_runs_images(tmp_path):
  run_on(tmp_path / "run", "ours", 100, seed=0)
  elsewhere = run_on(tmp_path / "run/evaluations/others-1", "theirs", 7, seed=0)
  assert (elsewhere.learnt_from, elsewhere.train_images) == ("ours", 100)


def test_a_run_that_is_not_done_is_compared_by_what_it_would_be(tmp_path):
  """One without labels and losses, say: its evaluations have RankMe alone."""
  (tmp_path / "run").mkdir()
  directory = RunDirectory(tmp_path / "run")
  directory.write("config.json", Config().settings)
  directory.write("result_5.json", {"global_step": 5, "eval/rank_me": 3.0})
  assert read_run_record(tmp_path / "run").metric == "eval/rank_me"
