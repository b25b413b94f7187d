"""Several seeds in one command."""

import json
import pathlib

import numpy as np
import pytest

from conrec_tf import commands
from conrec_tf.commands import several
from conrec_tf.commands.several import summarize
from conrec_tf.config import Config
from conrec_tf.errors import UsageError


def test_mean_and_deviation_of_what_all_results_have():
  results = [
    {"eval/a": 0.5, "eval/b": 1, "global_step": 3, "eval/words": "raw", "eval/only": 2},
    {"eval/a": 0.7, "eval/b": 4, "global_step": 3, "eval/words": "raw"},
  ]
  assert summarize(results) == pytest.approx(
    {"eval/a": 0.6, "eval/a_std": np.sqrt(0.02), "eval/b": 2.5, "eval/b_std": np.sqrt(4.5)}
  )


def test_deviations_over_folds_do_not_stand_for_those_over_seeds():
  results = [{"eval/a": value, "eval/a_std": 0.25} for value in (0.5, 0.7)]
  assert summarize(results) == pytest.approx({"eval/a": 0.6, "eval/a_std": np.sqrt(0.02)})


@pytest.mark.slow
def test_each_seed_has_its_run_and_a_second_start_trains_nothing(simclr, caplog):
  config = Config(
    **{**simclr, "train_epochs": 1, "report": False, "export_format": ""}, seeds="3,5"
  )
  for _ in range(2):
    with caplog.at_level("INFO", "conrec_tf"):
      caplog.clear()
      commands.run(config)
  assert caplog.text.count("Nothing to train") == 2
  folder = pathlib.Path(config.model_dir)
  results = [json.loads((folder / f"seed_{seed}/result.json").read_text()) for seed in (3, 5)]
  summary = json.loads((folder / "result.json").read_text())
  assert summary["seeds"] == [3, 5]
  name = "eval/standardised_linear_top_1_accuracy"
  values = [result[name] for result in results]
  assert summary[name] == pytest.approx(np.mean(values))
  assert summary[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
  assert json.loads((folder / "seed_5/config.json").read_text())["seed"] == 5
  assert "Mean and standard deviation of 2 seeds" in caplog.text


def test_each_training_gets_its_seed_and_folder(tiny, monkeypatch, caplog):
  seen = []

  def trained(config, strategy, workers):
    seen.append((config.seed, config.seeds, pathlib.Path(config.model_dir).name))
    return {"eval/linear_top_1_accuracy": 0.5 + config.seed / 10, "global_step": 7}

  monkeypatch.setattr(several, "train_and_evaluate", trained)
  config = Config(**tiny, seeds="0,2")
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(config)
  assert seen == [(0, (), "seed_0"), (2, (), "seed_2")]
  summary = json.loads((pathlib.Path(config.model_dir) / "result.json").read_text())
  assert summary["eval/linear_top_1_accuracy"] == pytest.approx(0.6)
  assert "linear top 1 accuracy    60.00% ± 14.14%" in caplog.text


def test_trainings_of_other_images_are_no_seeds_of_one_method(tiny, monkeypatch):
  """Of a command that was killed, where images were added since: a mean would be of both."""
  seen = []

  def trained(config, strategy, workers):
    seen.append(config.seed)
    return {"eval/linear_top_1_accuracy": 0.5, "global_step": 7}

  monkeypatch.setattr(several, "train_and_evaluate", trained)
  config = Config(**tiny, seeds="0,2")
  folder = pathlib.Path(tiny["model_dir"])
  (folder / "seed_0").mkdir(parents=True)
  (folder / "seed_0/images.json").write_text(json.dumps({"digest": "other images"}))
  with pytest.raises(
    UsageError, match="images that all trainings in it began with.*seed_2 than for .*seed_0"
  ):
    commands.run(config)
  assert not seen
  (folder / "seed_2").mkdir()
  (folder / "seed_2/images.json").write_text(json.dumps({"digest": "other images"}))
  commands.run(config)  # all are measured on others
  assert seen == [0, 2]


def test_settings_are_those_of_the_numbers_and_another_kind_is_refused(tiny, monkeypatch):
  measured = {}

  def trained(config, strategy, workers):
    return {"eval/linear_top_1_accuracy": 0.5, "global_step": 7, "evaluated_with": dict(measured)}

  monkeypatch.setattr(several, "train_and_evaluate", trained)
  folder = pathlib.Path(tiny["model_dir"])

  def noted():
    files = [json.loads((folder / f"{name}.json").read_text()) for name in ("config", "result")]
    return files[0]["seeds"], files[0]["train_epochs"], files[1]["seeds"]

  commands.run(Config(**tiny, seeds="0,2"))
  assert noted() == ("0,2", 2, [0, 2])
  commands.run(Config(**{**tiny, "train_epochs": 3}, seeds="0,2,3"))
  assert noted() == ("0,2,3", 3, [0, 2, 3])
  measured["eval_split"] = "test[:12]"
  (folder / "result.json").write_text(
    json.dumps({"seeds": [0, 2, 3], "evaluated_with": {"eval_split": "test[:24]"}})
  )
  commands.run(Config(**{**tiny, "train_epochs": 3}, seeds="0,2"))
  assert noted() == ("0,2,3", 3, [0, 2, 3]) and len(list(folder.glob("evaluations/*"))) == 1
  (folder / "config.json").write_text(json.dumps(Config(**tiny).settings))  # of one, with results
  with pytest.raises(UsageError, match="folder of several trainings.*, that of one training"):
    commands.run(Config(**tiny, seeds="0,2"))


@pytest.mark.parametrize(
  "values", [dict(seeds="1"), dict(seeds="1,1"), dict(seeds="1,x"), dict(seeds="1,2", mode="train")]
)
def test_what_is_refused(values):
  with pytest.raises(UsageError, match="seeds must be"):
    Config(**values)


def test_the_default_folder_is_not_that_of_one_seed():
  assert Config(seeds="0,1").run_directory == Config().run_directory + "-seeds"
