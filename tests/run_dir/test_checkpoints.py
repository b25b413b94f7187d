import logging
import os
import resource

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.errors import UsageError
from conrec_tf.run_dir.checkpoints import Checkpoints


@pytest.fixture
def weights():
  return tf.Variable(tf.zeros([1000]))


def saved(folder, weights, steps, keep=3, **values):
  checkpoints = Checkpoints(folder, keep, {"model": tf.train.Checkpoint(weights=weights)}, **values)
  for step in steps:
    weights.assign(tf.fill([1000], float(step)))
    checkpoints.save(step)
  return checkpoints


def steps_in(folder):
  return sorted(int(path.stem.split("-")[1]) for path in folder.glob("*.index"))


def test_the_newest_are_kept_and_those_of_some_epochs(tmp_path, weights):
  (tmp_path / "checkpoints/ckpt-9_temp").mkdir(parents=True)  # of a process that was killed
  saved(tmp_path, weights, range(1, 11), keep=2, keep_every=4)
  assert steps_in(tmp_path / "checkpoints") == [4, 8, 9, 10]
  assert not list(tmp_path.rglob("*temp*"))
  assert tf.train.latest_checkpoint(tmp_path / "checkpoints").endswith("ckpt-10")


def test_one_best_checkpoint_is_kept(tmp_path, weights):
  checkpoints = saved(tmp_path, weights, [])
  assert checkpoints.best_step is None
  for step in (3, 7):
    checkpoints.save_best(step)
  assert checkpoints.best_step == 7 and steps_in(tmp_path / "best") == [7]


def truncate(path):
  os.truncate(path, path.stat().st_size // 2)


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", [truncate, flip, os.remove])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
  tmp_path, weights, caplog, part, damage
):
  saved(tmp_path, weights, [1, 2])
  damage(tmp_path / "checkpoints" / f"ckpt-2{part}")
  checkpoints = saved(tmp_path, weights, [])
  with caplog.at_level(logging.INFO):
    assert checkpoints.restore() == 1
  np.testing.assert_array_equal(weights, np.ones(1000))
  if damage is not os.remove or part != ".index":  # without an index there is no checkpoint
    assert "ckpt-2 is damaged" in caplog.text
  weights.assign(tf.fill([1000], 2.0))
  checkpoints.save(2)
  assert saved(tmp_path, weights, []).restore() == 2


def test_only_damaged_checkpoints_are_refused(tmp_path, weights):
  saved(tmp_path, weights, [1])
  truncate(tmp_path / "checkpoints/ckpt-1.data-00000-of-00001")
  for _ in range(2):
    with pytest.raises(UsageError, match="must be readable.* Received: 1 damaged"):
      saved(tmp_path, weights, []).restore()
    (tmp_path / "checkpoints/checkpoint").unlink(missing_ok=True)  # or a copy of it alone


def test_a_whole_one_that_was_not_listed_yet_is(tmp_path, weights):
  checkpoints, folder = saved(tmp_path, weights, [1, 2]), tmp_path / "checkpoints"
  before = (folder / "checkpoint").read_bytes()
  checkpoints.save(3)
  (folder / "checkpoint").write_bytes(before)  # killed before it was written anew
  checkpoints = saved(tmp_path, weights, [])
  assert checkpoints.restore() == 3
  assert tf.train.latest_checkpoint(folder) == str(folder / "ckpt-3")
  checkpoints.save(4)
  assert tf.train.latest_checkpoint(folder) == str(folder / "ckpt-4")


def test_a_first_one_that_was_not_finished_is_removed(tmp_path, weights):
  saved(tmp_path, weights, [1])
  truncate(tmp_path / "checkpoints/ckpt-1.index")
  (tmp_path / "checkpoints/checkpoint").unlink()  # it is listed after it is written
  weights.assign(tf.fill([1000], 7.0))
  bystander = saved(tmp_path, weights, [], repairs=False)
  assert bystander.restore() == 0 and (tmp_path / "checkpoints/ckpt-1.index").exists()
  checkpoints = saved(tmp_path, weights, [])
  assert checkpoints.restore() == 0
  assert not list((tmp_path / "checkpoints").iterdir())
  np.testing.assert_array_equal(weights, 7.0)
  checkpoints.save(1)
  weights.assign(tf.zeros([1000]))
  assert saved(tmp_path, weights, []).restore() == 1
  np.testing.assert_array_equal(weights, 7.0)


@pytest.mark.parametrize("content", ["", "nonsense"])
def test_a_damaged_list_of_checkpoints_does_no_harm(tmp_path, weights, content):
  saved(tmp_path, weights, [1, 2])
  (tmp_path / "checkpoints/checkpoint").write_text(content)
  assert saved(tmp_path, weights, []).restore() == 2


def test_a_damaged_one_does_not_crowd_out_good_ones(tmp_path, weights):
  saved(tmp_path, weights, [4, 8], keep=1, keep_every=4)
  truncate(tmp_path / "checkpoints/ckpt-8.data-00000-of-00001")
  checkpoints = saved(tmp_path, weights, [], keep=1, keep_every=4)
  assert checkpoints.restore() == 4
  checkpoints.save(6)
  assert steps_in(tmp_path / "checkpoints") == [4, 6]


def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(tmp_path, weights):
  checkpoints = saved(tmp_path, weights, [1])
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes in a file
  try:
    with pytest.raises(UsageError, match=r"can be written \(File too large\)"):
      checkpoints.save(2)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert not list(tmp_path.rglob("*temp*"))
  assert saved(tmp_path, weights, []).restore() == 1


def test_what_another_process_is_saving_is_left_alone(tmp_path, weights):
  checkpoints = saved(tmp_path, weights, [3])
  for folder in ("checkpoints", "best"):
    (tmp_path / folder / "ckpt-8_temp").mkdir(parents=True)
  checkpoints.save(4)
  assert len(list(tmp_path.rglob("*temp*"))) == 2
  assert checkpoints.restore() == 4  # a training, which is the only one
  checkpoints.save_best(4)
  assert not list(tmp_path.rglob("*temp*"))


def test_copies_that_a_user_made_are_no_checkpoints_and_stay(tmp_path):
  checkpoints = Checkpoints(tmp_path, 1, {"model": tf.train.Checkpoint(a=tf.Variable(1.0))})
  checkpoints.save(20)
  folder = tmp_path / "checkpoints"
  mine = ["ckpt-20 (1).index", "ckpt-20.index (1)", "ckpt-20.data-00000-of-00001 (1)"]
  for name in mine:
    (folder / name).touch()
  (folder / "templates").mkdir()
  assert checkpoints.restore() == 20
  checkpoints.save(21)
  names = set(os.listdir(folder))
  assert names >= {*mine, "templates"} and "ckpt-20.index" not in names


def test_what_a_killed_process_was_saving_is_removed(tmp_path):
  checkpoints = Checkpoints(tmp_path, 1, {"model": tf.train.Checkpoint(a=tf.Variable(1.0))})
  checkpoints.save(20)
  folder = tmp_path / "checkpoints"
  (folder / "ckpt-21_temp").mkdir()
  (folder / f"checkpoint.tmp{'0a' * 16}").touch()
  assert checkpoints.restore() == 20
  assert sorted(os.listdir(folder)) == [
    "checkpoint",
    "ckpt-20.data-00000-of-00001",
    "ckpt-20.index",
  ]
