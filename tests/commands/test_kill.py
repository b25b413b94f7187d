"""Kills in writes and before training; `training/test_restore.py` has each kind of data."""

import random
import shutil
import time

from command_line import start
from foreign_networks import quarters
import pytest

from benchmarks import kill, kill_everywhere, write_points

SHORT = ["--train_steps=20", "--eval_every_epochs=2", "--bootstrap_samples=20", "--local_crops=0"]


@pytest.fixture(autouse=True)
def no_imports(monkeypatch):
  """Saves each training the time for them."""

  def start_training(data, model_dir):
    return start(f"--model_dir={model_dir}", *kill.FLAGS, *data.flags)

  monkeypatch.setattr(kill, "start", start_training)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_a_segmentation_goes_on_from_its_writes(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  training, *_ = write_points.commands(kill_everywhere.pipelines(tmp_path)["segmentation"])
  reference = write_points.Reference(tmp_path / "whole", tmp_path / "whole")
  code, said = write_points.run(training, reference.path)
  assert not code, said
  killed = write_points.take(training, None, reference, every=12, of_a_kind=1)
  assert killed["bad"] == [] and killed["tried"] >= 2
  assert 100 < killed["states"] < killed["writes"]
  _, wrong = write_points.after_error(training, None, killed["writes"] // 2, "EIO", reference)
  assert wrong == []


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
