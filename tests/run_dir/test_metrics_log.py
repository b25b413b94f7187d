import json
import shutil

import pytest
import tensorflow as tf

from conrec_tf.errors import UsageError
from conrec_tf.run_dir.metrics_log import MetricsLog


def test_rows_after_the_restored_step_are_dropped(tmp_path):
  log = MetricsLog(tmp_path, 0)
  for step in (10, 20, 30):
    log.write({"global_step": step, "train/total_loss": 1.0})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"global_step": 40, "tr')  # cut off in the middle of a row
  MetricsLog(tmp_path, 20).write({"global_step": 25})
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [row["global_step"] for row in rows] == [10, 20, 25]


def test_evaluations_are_remembered(tmp_path):
  log = MetricsLog(tmp_path, 0)
  log.write({"global_step": 4, "train/total_loss": 1.0})
  for step in (4, 8):
    log.write({"global_step": step, "eval/linear_top_1_accuracy": 0.5})
  assert log.evaluated == {4, 8}
  assert MetricsLog(tmp_path, 4).evaluated == {4}
  assert MetricsLog(tmp_path, 0).evaluated == set()


def test_the_untrained_network_stands_where_it_was_evaluated(tmp_path):
  log = MetricsLog(tmp_path, 0)
  for row in (
    {"global_step": 4, "train/total_loss": 1.0},
    {"global_step": 8, "train/total_loss": 1.0},
    {"global_step": 0, "eval/untrained_rank_me": 2.0},
    {"global_step": 8, "eval/rank_me": 3.0},
  ):
    log.write(row)
  assert MetricsLog(tmp_path, 8).evaluated == {0, 8}
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
  # From an earlier step it is evaluated again, at the same place.
  assert MetricsLog(tmp_path, 4).evaluated == set()
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
  log = MetricsLog(tmp_path / "run", 0)
  log.write({"global_step": 1})
  shutil.rmtree(tmp_path / "run")
  (tmp_path / "run").touch()
  with pytest.raises(UsageError, match="model_dir must be a folder that can be written"):
    MetricsLog(tmp_path / "run", 1)
  with pytest.raises(UsageError, match="model_dir must be a folder that can be written"):
    log.write({"global_step": 2})
  with pytest.raises(UsageError, match="must be a folder that can be written .no space"):
    with log.summaries(3):
      raise tf.errors.ResourceExhaustedError(None, None, "no space")
