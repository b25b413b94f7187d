import json

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
