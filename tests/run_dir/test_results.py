import dataclasses

import numpy as np
import pytest

from conrec_tf.run_dir.measurement import Measurement
from conrec_tf.run_dir.predictions_file import read_predictions
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.run_directory import RunDirectory

DATA = {"train": "a", "eval": "b", "class_names": ["x", "y"]}
ADDITIONS = dict(
  label_fractions="",
  few_shots="",
  num_repeats=5,
  bootstrap_samples=0,
  sweep_representations=False,
  knn_neighbours=20,
)


def results(path, metric="eval/a", data=DATA, settings=None, **at_the_end):
  measured = Measurement(data, settings or {"cv_folds": 0}, ADDITIONS | at_the_end)
  return Results(RunDirectory(path), metric, metric, measured)


def test_the_first_of_the_highest_is_best_also_when_later_ones_exist(tmp_path):
  here = results(tmp_path)
  here.save(0, {}, untrained_metrics={"eval/a": 0.9})  # doesn't count
  values = {5: 0.2, 10: 0.7, 15: 0.7, 20: 0.6}
  for step, value in values.items():
    here.save(step, {"eval/a": value})
  assert [step for step in values if here.is_best(step, here.cached(step))] == [10]


def test_the_lowest_loss_is_best(tmp_path):
  here = results(tmp_path, "eval/total_loss")
  for step, value in ((5, 2.0), (10, 1.0), (15, 3.0)):
    here.save(step, {"eval/total_loss": value})
  assert [step for step in (5, 10, 15) if here.is_best(step, here.cached(step))] == [10]


def test_a_result_without_the_metric_is_measured_again(tmp_path):
  results(tmp_path, "eval/total_loss").save(5, {"eval/total_loss": 1.0})
  assert results(tmp_path).cached(5) is None and results(tmp_path).cached(6) is None


def test_a_result_without_the_number_that_counts_is_not_best_and_has_a_summary(tmp_path):
  """Dice, say, where no image has a class but the background, in its mask or by the network."""
  here = results(tmp_path)
  here.save(5, {"eval/a": 0.0})
  here.save(10, {"eval/b": 0.5})
  assert here.is_best(5, {"eval/a": 0.0}) and not here.is_best(10, {"eval/b": 0.5})
  assert not results(tmp_path / "alone").is_best(10, {"eval/b": 0.5})
  summary = here.write_summary(10)
  assert summary["eval/b"] == 0.5 and "eval/best_step" not in summary


def test_a_number_that_is_a_text_is_measured_again(tmp_path):
  here = results(tmp_path)
  here.save(5, {"eval/a": "0.9"})
  here.save(10, {"eval/a": 0.5})
  assert here.cached(5) is None and here.is_best(10, here.cached(10))
  assert here.write_summary(10)["eval/best_step"] == 10


@pytest.mark.parametrize(
  "others",
  [
    dict(settings={"cv_folds": 3}),
    dict(data={**DATA, "eval": "c"}),
    dict(data={**DATA, "class_names": ["x", "z"]}),
    dict(data={**DATA, "network": "another's digest"}),
  ],
)
def test_what_was_measured_otherwise_neither_counts_nor_beats(tmp_path, others):
  results(tmp_path, **others).save(5, {"eval/a": 0.9})
  here = results(tmp_path)
  assert here.cached(5) is None
  here.save(10, {"eval/a": 0.5})
  assert here.is_best(10, here.cached(10))
  assert here.write_summary(10)["eval/best_step"] == 10


def test_what_was_just_measured_counts_whatever_was_asked(tmp_path):
  for settings in ({"test_time_flips": True, "tile_size": 32}, {"cv_folds": 5}):
    here = results(tmp_path, settings=settings)
    here.save(5, {"eval/a": 0.5}, full=True)
    assert here.cached(5, full=True)


def test_a_result_of_the_end_has_what_is_asked_for(tmp_path):
  results(tmp_path).save(5, {"eval/a": 0.5})
  assert results(tmp_path).cached(5) and results(tmp_path).cached(5, full=True) is None
  results(tmp_path, label_fractions="0.1").save(5, {"eval/a": 0.5}, full=True)
  assert results(tmp_path, label_fractions="0.1").cached(5, full=True)
  assert results(tmp_path).cached(5, full=True)  # and more than asked for
  assert results(tmp_path, label_fractions="0.2").cached(5, full=True) is None
  assert results(tmp_path, label_fractions="0.1", num_repeats=2).cached(5, full=True) is None
  assert results(tmp_path, num_repeats=2).cached(5, full=True)
  assert results(tmp_path, knn_neighbours=3).cached(5, full=True) is None


def test_what_is_measured_in_addition_leaves_what_was_there(tmp_path):
  curve = [{"fraction": 0.1, "mean": 0.4}]
  before = results(tmp_path, label_fractions="0.1", num_repeats=2)
  before.save(5, {"eval/a": 0.5, "eval/label_fractions": curve}, full=True)
  after = results(tmp_path, few_shots="1", num_repeats=2)
  after.save(5, {"eval/a": 0.5, "eval/few_shots": []}, full=True)
  result = after.cached(5, full=True)
  assert result["eval/label_fractions"] == curve and result["eval/few_shots"] == []
  assert before.cached(5, full=True) == result
  other = results(tmp_path, data={**DATA, "eval": "c"})
  other.save(5, {"eval/a": 0.1}, full=True)
  assert "eval/label_fractions" not in other.cached(5, full=True)


def test_a_summary_takes_the_untrained_networks_numbers_alone_from_step_0(tmp_path):
  curve = {"eval/a": 0.4, "eval/label_fractions": [], "eval/knn_accuracy": 0.3}
  given = results(tmp_path, label_fractions="0.1")  # weights that are evaluated as they are
  given.save(0, curve, full=True, untrained_metrics={"eval/a": 0.2})
  trained = results(tmp_path)
  trained.save(5, {"eval/a": 0.6}, full=True)
  summary = trained.write_summary(5)
  assert summary["eval/untrained_a"] == 0.2 and summary["eval/a"] == 0.6
  assert not {"eval/label_fractions", "eval/knn_accuracy"} & set(summary)
  assert summary["evaluated_with"]["label_fractions"] == ""


def test_repetitions_are_noted_of_what_was_measured_last(tmp_path):
  shots = {"eval/a": 0.5, "eval/few_shots": [{"images": 2}]}
  results(tmp_path, few_shots="2", num_repeats=2).save(5, shots, full=True)
  results(tmp_path, label_fractions="0.5", num_repeats=3).save(5, {"eval/a": 0.5}, full=True)
  found = results(tmp_path).cached(5)
  noted = found["evaluated_with"]
  assert noted["label_fractions"] == "0.5" and noted["num_repeats"] == 3
  assert found["eval/few_shots"] == [{"images": 2}]
  assert results(tmp_path, label_fractions="0.5", num_repeats=3).cached(5, full=True)
  for repeats in (2, 3):  # those that are there are of two subsets, which nothing says any more
    assert results(tmp_path, few_shots="2", num_repeats=repeats).cached(5, full=True) is None
  results(tmp_path, num_repeats=9).save(5, {"eval/a": 0.5}, full=True)
  assert results(tmp_path).cached(5)["evaluated_with"]["num_repeats"] == 3


def test_predictions_say_what_they_were_measured_on(tmp_path):
  here = results(tmp_path)
  columns = {"image": ["a", "b"], "label": np.array([0, 1]), "prediction": np.array([0, 0])}
  here.save(5, {"eval/a": 0.5, "eval/predictions": columns}, full=True)
  kept = read_predictions(RunDirectory(tmp_path), 5)
  found = Measurement.of_result(here.cached(5, full=True))
  assert kept is not None and kept.measured_on == found.digest
  assert dataclasses.replace(found, data={**DATA, "eval": "c"}).digest != found.digest


def evaluated(path):
  """Saves an untrained and a trained network's results, and the summary of both."""
  name = "eval/linear_top_1_accuracy"
  reached = {name: 0.5, "eval/standardised_linear_top_1_accuracy": 0.7}
  reached |= {"eval/validation_linear_top_1_accuracy": 0.6, "eval/rank_me": 3.0}
  here = results(path, name)
  here.save(0, {}, untrained_metrics={key: value / 2 for key, value in reached.items()})
  here.save(7, reached)
  here.write_summary(7)


def test_the_terminal_shows_what_decides(tmp_path, caplog):
  with caplog.at_level("INFO", "conrec_tf"):
    evaluated(tmp_path)
  untrained, trained, summary, _ = (record.message for record in caplog.records)
  assert untrained == "Step 0: untrained strongest 35.00%"
  assert trained == (
    "Step 7: linear top 1 accuracy 50.00%, standardised linear top 1 accuracy 70.00%"
  )
  assert [" ".join(line.split()) for line in summary.splitlines()] == [
    "untrained, strongest (standardised) 35.00% step 0",
    "linear top 1 accuracy 50.00% step 7",
    "standardised linear top 1 accuracy 70.00% step 7",
    "best on the evaluation split 50.00% step 7",
  ]


def test_without_labels_the_untrained_network_is_told_by_its_loss(tmp_path, caplog):
  here = results(tmp_path, "eval/total_loss")
  with caplog.at_level("INFO", "conrec_tf"):
    here.save(0, {}, untrained_metrics={"eval/total_loss": 26.0, "eval/rank_me": 2.0})
    here.save(4, {"eval/total_loss": 25.0})
    here.write_summary(4)
  untrained, _, summary, _ = (record.message for record in caplog.records)
  assert untrained == "Step 0: untrained total loss 26.0000"
  assert [" ".join(line.split()) for line in summary.splitlines()] == [
    "untrained total loss 26.0000 step 0",
    "total loss 25.0000 step 4",
    "best on the evaluation split 25.0000 step 4",
  ]


def test_images_of_each_class_in_words(tmp_path, caplog):
  rows = [{"images": count, "labels": 3 * count, "mean": 0.5, "std": 0.0} for count in (1, 2)]
  here = results(tmp_path)
  here.save(5, {"eval/a": 0.5, "eval/few_shots": rows}, full=True)
  with caplog.at_level("INFO", "conrec_tf"):
    here.write_summary(5)
  assert "1 image a class (3 labels" in caplog.text and "2 images a class (6" in caplog.text


def test_an_evaluation_of_which_nothing_is_shown_has_no_line(tmp_path, caplog):
  with caplog.at_level("INFO", "conrec_tf"):  # the untrained network, without labels
    results(tmp_path, "eval/total_loss").save(0, {}, untrained_metrics={"eval/rank_me": 2.0})
  assert not caplog.records


def test_a_verbose_terminal_shows_every_number(tmp_path, caplog):
  with caplog.at_level("DEBUG", "conrec_tf"):
    evaluated(tmp_path)
  untrained, trained, summary, _ = (record.message for record in caplog.records)
  assert "untrained rank me 1.50" in untrained and "rank me 3.00" in trained
  assert len(summary.splitlines()) == 4 + 1 + 4 + 1


def measured_thrice(path, caplog, values, **data):
  """Evaluations at steps 10, 20 and 30, of which the last has an interval; the summary."""
  path.mkdir(exist_ok=True)
  here = results(path, data=DATA | data)
  for step, value in zip((10, 20, 30), values, strict=True):
    here.save(step, value)
  with caplog.at_level("INFO", "conrec_tf"):
    return here.write_summary(30)


def test_a_flat_curve_is_said_at_the_end(tmp_path, caplog):
  last = {"eval/a": 0.52, "eval/intervals": {"eval/a": [0.5, 0.54]}}
  found = measured_thrice(tmp_path, caplog, [{"eval/a": 0.4}, {"eval/a": 0.51}, last])
  assert found["eval/late_gain"] == {
    "since_step": 20,
    "share": pytest.approx(1 / 3),
    "value": pytest.approx(0.01),
    "error": pytest.approx(0.02 * np.sqrt(2)),
  }
  assert "The last third of the training added 1.0 ± 2.8 points" in caplog.text


def test_a_rising_curve_is_kept_and_one_without_interval_is_not(tmp_path, caplog):
  last = {"eval/a": 0.6, "eval/intervals": {"eval/a": [0.58, 0.62]}}
  steep = measured_thrice(tmp_path / "a", caplog, [{"eval/a": 0.4}, {"eval/a": 0.5}, last])
  assert steep["eval/late_gain"]["value"] == pytest.approx(0.1)
  without = measured_thrice(
    tmp_path / "b", caplog, [{"eval/a": 0.4}, {"eval/a": 0.5}, last | {"eval/intervals": {}}]
  )
  assert "eval/late_gain" not in without and "of the training added" not in caplog.text


def test_held_out_labels_come_before_the_evaluation_split(tmp_path, caplog):
  rows = [{"eval/a": 0.1 * at, "eval/validation_a": 0.5} for at in (1, 2, 3)]
  rows[-1] |= {"eval/intervals": {"eval/a": [0.28, 0.32]}}
  found = measured_thrice(tmp_path, caplog, rows, train_images=1000, eval_images=800)
  assert found["eval/late_gain"]["value"] == 0
  assert found["eval/late_gain"]["error"] == pytest.approx(np.sqrt(2) * 0.02 * 2)
