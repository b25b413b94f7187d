"""Kills at any moment, in writes too; `training/test_restore.py` has each kind of data."""

import random

import pytest

from benchmarks import kill

SHORT = ["--train_steps=20", "--eval_every_epochs=2", "--bootstrap_samples=20"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "masks"])
def test_killed_trainings_end_in_the_same_bits(tmp_path, kind):
  data = kill.Data(kind, tmp_path, SHORT, share="8%")
  work = kill.seconds_of_work(data, tmp_path / "reference")
  rng = random.Random(0)
  for attempt in range(5):  # a training may be done before its time to be killed
    killed = tmp_path / f"killed_{attempt}"
    kills, _ = kill.kill_until_done(data, killed, work, rng, most=2)
    assert kill.differences(killed, tmp_path / "reference") == []
    if kills:
      return
  pytest.fail("no training was killed")
