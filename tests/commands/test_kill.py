import random

import pytest

from benchmarks import kill


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tfds", "image_folder", "parquet", "masks"])
def test_killed_trainings_end_in_the_same_bits(tmp_path, kind):
  data = kill.Data(kind, tmp_path)
  work = kill.seconds_of_work(data, tmp_path / "reference")
  rng = random.Random(0)
  for attempt in range(5):  # a training may be done before its time to be killed
    killed = tmp_path / f"killed_{attempt}"
    kills, _ = kill.kill_until_done(data, killed, work, rng, most=2)
    assert kill.differences(killed, tmp_path / "reference") == []
    if kills:
      return
  pytest.fail("no training was killed")
