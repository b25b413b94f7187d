"""Kills at any moment, in writes too; `training/test_restore.py` has each kind of data."""

import random
import time

from command_line import start
from foreign_networks import quarters
import pytest

from benchmarks import kill

SHORT = ["--train_steps=20", "--eval_every_epochs=2", "--bootstrap_samples=20", "--local_crops=0"]


@pytest.fixture(autouse=True)
def no_imports(monkeypatch):
  """Saves each training the time for them."""

  def start_training(data, model_dir):
    return start(f"--model_dir={model_dir}", *kill.FLAGS, *data.flags)

  monkeypatch.setattr(kill, "start", start_training)


@pytest.mark.slow
def test_killed_trainings_end_in_the_same_bits(tmp_path):
  data = kill.Data("masks", tmp_path, SHORT, share="8%")
  work = kill.seconds_of_work(data, tmp_path / "reference")
  rng = random.Random(0)
  for attempt in range(5):  # a training may be done before its time to be killed
    killed = tmp_path / f"killed_{attempt}"
    kills, _ = kill.kill_until_done(data, killed, work, rng, most=2)
    assert kill.differences(killed, tmp_path / "reference") == []
    if kills:
      return
  pytest.fail("no training was killed")


@pytest.mark.slow
def test_killed_while_the_teacher_sees_images_and_again_in_training(tmp_path):
  file = quarters(tmp_path / "quarters", channels=1, rounds=20)
  flags = [*SHORT, f"--teacher={file}", "--teacher_relation_weight=25"]
  data = kill.Data("npz", tmp_path, flags, share="100%")
  work = kill.seconds_of_work(data, tmp_path / "reference")
  killed = tmp_path / "killed"
  first = killed / "teacher" / "train-00000-of-00002.npz"
  process = kill.start(data, killed)
  while not first.exists():
    assert process.poll() is None
    time.sleep(0.01)
  process.kill()
  process.communicate()
  assert [path.name for path in first.parent.glob("*.npz")] == [first.name]
  made = first.stat().st_mtime_ns
  data.move()
  kill.kill_until_done(data, killed, work, random.Random(0), most=1)
  assert first.stat().st_mtime_ns == made
  assert kill.differences(killed, tmp_path / "reference") == []
