import json
import threading

import pytest

from conrec_tf.distribute import shards as module
from conrec_tf.distribute.shards import Shards
from conrec_tf.errors import UsageError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  """Beats and patience in hundredths of seconds, and no variables of a cluster."""
  for name, value in (
    ("SECONDS_BETWEEN_BEATS", 0.02),
    ("SECONDS_WITHOUT_BEAT", 0.4),
    ("SECONDS_TO_START", 0.4),
  ):
    monkeypatch.setattr(module, name, value)
  for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
    monkeypatch.delenv(name, raising=False)


def cluster(kind, index):
  tasks = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
  return json.dumps({"cluster": tasks, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
  "variables, expected",
  [
    ({}, (0, 1)),
    ({"TF_CONFIG": cluster("chief", 0)}, (0, 3)),
    ({"TF_CONFIG": cluster("worker", 1)}, (2, 3)),
    ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, (3, 4)),
    ({"SLURM_PROCID": "0"}, (0, 1)),  # of a batch script, outside of a step
  ],
)
def test_processes_are_those_of_the_environment(monkeypatch, variables, expected):
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  found = Shards.of_environment()
  assert (found.index, found.count) == expected


def test_a_cluster_that_names_no_process_is_refused(monkeypatch):
  monkeypatch.setenv("TF_CONFIG", cluster("worker", 5))
  with pytest.raises(UsageError, match="TF_CONFIG must name all workers and this one"):
    Shards.of_environment()


def test_each_file_is_one_process():
  parts = [Shards(index, 3) for index in range(3)]
  for number in range(10):
    assert [part.takes(number) for part in parts].count(True) == 1


def test_the_first_waits_for_a_process_that_lives_and_no_longer(tmp_path):
  left = [1, 3]
  ended = threading.Event()

  def other():
    with Shards(1, 2).beating(tmp_path):
      ended.wait(0.8)  # longer than patience for one that shows nothing
      left.clear()
      ended.wait(5)

  thread = threading.Thread(target=other)
  thread.start()
  Shards(0, 2).wait_for_others(tmp_path, lambda: list(left))
  assert left == []
  ended.set()
  thread.join()
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shown", [None, "killed", ""])  # nothing yet, or killed as it wrote that
def test_a_process_that_is_lost_is_named(tmp_path, monkeypatch, shown):
  if shown is not None:
    monkeypatch.setattr(module, "SECONDS_TO_START", 60.0)
    (tmp_path / ".worker-1-of-2").write_text(shown)
  with pytest.raises(UsageError, match="Received: worker 1 of 2 lost, 2 files missing"):
    Shards(0, 2).wait_for_others(tmp_path, lambda: [1, 3])


def test_the_first_prepares_and_the_others_wait_for_it(tmp_path):
  (tmp_path / ".worker-0-of-2").write_text("killed")  # of an earlier call
  looks, order = iter([False, False, True]), []
  is_prepared = lambda: order.append("look") or next(looks)
  Shards(1, 2).first_first(tmp_path, is_prepared, lambda: order.append("check"))
  assert order == ["look", "look", "look", "check"]
  order.clear()
  Shards(0, 2).first_first(tmp_path, is_prepared, lambda: order.append("prepare"))
  assert order == ["prepare"]


def test_the_others_go_on_where_the_first_does_not_come(tmp_path):
  order = []
  Shards(1, 2).first_first(tmp_path, lambda: False, lambda: order.append("check"))
  assert order == ["check"]


@pytest.mark.parametrize("index, left", [(0, 0), (1, 3)])
def test_beats_of_killed_processes_are_removed_by_the_first(tmp_path, index, left):
  for name in (".worker-0-of-2", ".worker-1-of-2", ".worker-5-of-8"):
    (tmp_path / name).write_text("killed")
  Shards(index, 2).first_first(tmp_path, lambda: True, lambda: None)
  assert len(list(tmp_path.iterdir())) == left
