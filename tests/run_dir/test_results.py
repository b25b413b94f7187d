from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.run_directory import RunDirectory


def test_the_first_of_the_highest_is_best_also_when_later_ones_exist(tmp_path):
  results = Results(RunDirectory(tmp_path), "eval/a", "eval/a")
  results.save(0, {}, untrained_metrics={"eval/a": 0.9})  # doesn't count
  values = {5: 0.2, 10: 0.7, 15: 0.7, 20: 0.6}
  for step, value in values.items():
    results.save(step, {"eval/a": value})
  assert [step for step in values if results.is_best(step, results.cached(step))] == [10]


def test_the_lowest_loss_is_best(tmp_path):
  results = Results(RunDirectory(tmp_path), "eval/total_loss", "eval/total_loss")
  for step, value in ((5, 2.0), (10, 1.0), (15, 3.0)):
    results.save(step, {"eval/total_loss": value})
  assert [step for step in (5, 10, 15) if results.is_best(step, results.cached(step))] == [10]


def test_a_result_without_the_metric_is_measured_again(tmp_path):
  Results(RunDirectory(tmp_path), "eval/total_loss", "eval/total_loss").save(
    5, {"eval/total_loss": 1.0}
  )
  results = Results(RunDirectory(tmp_path), "eval/a", "eval/a")
  assert results.cached(5) is None and results.cached(6) is None


def test_a_result_counts_only_for_what_was_asked(tmp_path):
  def results(folds, fractions):
    settings = {"cv_folds": folds}, {"label_fractions": fractions}
    return Results(RunDirectory(tmp_path), "eval/a", "eval/a", settings)

  results(0, "").save(5, {"eval/a": 0.5})
  assert results(0, "").cached(5) and results(0, "0.1").cached(5)
  assert results(3, "").cached(5) is None and results(0, "").cached(5, full=True) is None
  results(0, "0.1").save(5, {"eval/a": 0.5}, full=True)
  assert results(0, "0.1").cached(5, full=True) and results(0, "").cached(5)
  assert results(0, "0.2").cached(5, full=True) is None


def test_a_result_of_version_0_1_0_counts_unless_more_is_asked(tmp_path):
  RunDirectory(tmp_path).write("result_5.json", {"global_step": 5, "eval/a": 0.5})
  for fractions, counts in (("", True), ("0.1", False)):
    settings = {"cv_folds": 0}, {"label_fractions": fractions}
    results = Results(RunDirectory(tmp_path), "eval/a", "eval/a", settings)
    assert bool(results.cached(5, full=True)) == counts
