import dataclasses
import math
import pathlib
import types

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.metrics import METRICS
from conrec_tf.reporting.figures.curves import (
  accuracy_over_epochs,
  few_labels,
  levels_of_chance,
  smoothed,
  training_curves,
)
from conrec_tf.reporting.figures.plot_style import series_style
from conrec_tf.reporting.report import _compared
from conrec_tf.reporting.run_record import RunRecord
from conrec_tf.reporting.tensorboard import _groups


@pytest.mark.parametrize("count", [1, 7, 20, 100])
def test_smoothed_values_are_means_of_a_window(rng, count):
  values = rng.normal(size=count)
  reach = max(1, count // 40)
  expected = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(count)]
  np.testing.assert_allclose(smoothed(values), expected)


def test_no_two_of_many_runs_are_drawn_alike():
  styles = [series_style(index) for index in range(49)]
  for parts in (("color", "marker"), ("color", "linestyle")):  # of points alone, and of lines
    assert len({tuple(style[part] for part in parts) for style in styles}) == 49


def test_levels_of_chance():
  runs = [Config(train_batch_size=size) for size in (8, 8, 4)]
  accuracy, loss, total = (
    levels_of_chance(METRICS[f"train/{name}"], runs)
    for name in ("contrast_acc", "contrast_loss", "total_loss")
  )
  assert accuracy == {1 / 8, 1 / 4} and total == set()
  queue = Config(contrastive_method="moco", moco_queue_length=96, train_batch_size=8)
  assert levels_of_chance(METRICS["train/contrast_acc"], [queue]) == {1 / 97}
  less = 1 if runs[0].contrastive_method == "nt_xent" else 2
  assert sorted(loss) == pytest.approx([2 * math.log(8 - less), 2 * math.log(16 - less)])


def record(**values):
  config = values.pop("config")
  return RunRecord(pathlib.Path("run"), config, [], {}, {"global_step": 40}, None, [], **values)


def test_levels_of_chance_are_of_the_runs_that_are_drawn():
  row = {"global_step": 1, "train/contrast_acc": 0.5}
  drawn = record(config=Config(train_batch_size=8), label="contrast")
  drawn = dataclasses.replace(drawn, rows=[row])
  others = Config(train_batch_size=4, contrastive_weight=0.0)
  [picture] = training_curves([drawn, record(config=others)])
  [axes] = picture.drawn.axes
  dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
  assert [line.get_ydata()[0] for line in dotted] == [pytest.approx(100 / 8)]


def test_a_caption_tells_of_what_is_drawn_alone():
  results = {1: {"eval/rank_me": 3.0, "eval/best_rank_me": 3.0}}
  run = dataclasses.replace(record(config=Config()), evaluations=results, result=results[1])
  picture = accuracy_over_epochs([run])
  assert picture.title == "RankMe over epochs"
  assert "Hollow" not in picture.text and "Dotted" not in picture.text
  strongest = {
    "eval/linear_auroc": 0.7,
    "eval/best_linear_auroc": 0.7,
    "eval/untrained_strongest": 0.6,
    "eval/untrained_strongest_reading": "recomputed batch norm",
  }
  results = {0: {"eval/untrained_linear_auroc": 0.5}, 1: strongest}
  run = dataclasses.replace(run, evaluations=results, result=strongest)
  picture = accuracy_over_epochs([run])
  assert picture.title == "Mean area under the ROC curve over epochs"
  assert "Hollow mark: " in picture.text
  assert "Dotted line: it at its strongest (recomputed batch norm). " in picture.text


def test_steps_of_an_epoch_are_of_the_images_that_each_run_learnt_from():
  source = types.SimpleNamespace(train=types.SimpleNamespace(num_examples=100))
  whole = Config(train_batch_size=4, train_epochs=2)
  tenth = dict(train_mode="finetune", train_label_fraction=0.1, local_crops=0)
  of_tenth = dataclasses.replace(whole, **tenth)
  runs = [
    record(config=whole),
    record(config=dataclasses.replace(whole, train_batch_size=8)),
    record(config=of_tenth, train_images=10),
    record(config=dataclasses.replace(of_tenth, train_steps=40), train_images=10),
    record(config=of_tenth),  # of an earlier version: it went 40 steps in 2 epochs
  ]
  assert [run.epoch_steps for run in _compared(runs, source)] == [25, 12, 2, 2, 20]


def test_groups_in_tensorboard_are_of_what_is_logged():
  groups = _groups({"train/total_loss", "train/contrast_acc", "eval/quadratic_weighted_kappa"})
  always = ["Learning rate", "Throughput", "Waiting for data"]
  assert list(groups) == ["Loss", "Contrastive", "Linear evaluation", *always]
  assert groups["Contrastive"] == {"accuracy": "train/contrast_acc"}
  assert groups["Linear evaluation"]["raw embeddings"] == (
    "eval/(untrained_)?quadratic_weighted_kappa"
  )


def test_of_a_run_that_is_not_done_no_evaluation_is_the_best():
  """One that starts from a network, which it evaluates first."""
  results = {step: {"global_step": step, "eval/total_loss": 9.0 - step} for step in (0, 1)}
  run = dataclasses.replace(record(config=Config()), evaluations=results, result=results[1])
  [axes] = accuracy_over_epochs([run]).drawn.axes
  assert [text.get_text() for text in axes.texts] == ["last 8"]
  assert "*" not in [line.get_marker() for line in axes.lines]


def test_a_caption_of_few_labels_tells_the_repetitions_of_each_run():
  def run(repetitions):
    rows = [
      {"fraction": fraction, "repetitions": times, "mean": 0.5, "std": 0.0}
      for fraction, times in ((0.1, repetitions), (1.0, 1))
    ]
    result = {"eval/linear_top_1_accuracy": 0.5, "eval/label_fractions": rows}
    return dataclasses.replace(record(config=Config(), label="a run"), result=result)

  runs = [run(repetitions) for repetitions in (10, 5, 10)]
  captions = [few_labels("label_fractions", shown).text for shown in (runs[:1], runs)]
  for caption, words in zip(captions, ("10", "5 or 10"), strict=True):
    assert caption.startswith(f"Mean and standard deviation over {words} random subsets")
