import random

import pytest

from benchmarks import kill


@pytest.mark.slow
def test_killed_trainings_end_in_the_same_bits(tmp_path):
  work = kill.seconds_of_work(tmp_path / "tfds", tmp_path / "reference")
  kills, _ = kill.kill_until_done(tmp_path / "tfds", tmp_path / "killed", work,
                                  random.Random(0))
  assert kills
  assert kill.differences(tmp_path / "killed", tmp_path / "reference") == []
