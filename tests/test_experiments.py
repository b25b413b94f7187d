"""The search: what is left to do, what it keeps, and its table."""

import json

import pytest

from experiments import recipe, table
from experiments.studies import STUDIES, Study

TINY = (
  "--image_size=24",
  "--base_filters=2",
  "--unet_depth=3",
  "--train_batch_size=8",
  "--train_split=train[:48]",
  "--eval_split=test[:24]",
)


@pytest.fixture
def study(monkeypatch, tmp_path):
  """A study of two variations with results in a folder of its own."""
  study = Study("Two of them.", TINY, 4, {"a": (), "b": ("--skip_connections=none",)}, (0, 1))
  for module in (recipe, table):
    monkeypatch.setattr(module, "STUDIES", {"tiny": study})
  monkeypatch.setattr(recipe, "RESULTS", tmp_path / "results")
  return study


def result(seed, accuracy):
  return {
    "variation": "a",
    "seed": seed,
    "result": {
      "global_step": 7,
      "eval/untrained_strongest": 0.25,
      **{key: accuracy for _, key in table.COLUMNS},
    },
  }


def test_what_is_done_is_not_done_again(study, tmp_path):
  assert len(recipe.missing(["tiny"], {0, 1}, set())) == 4
  recipe.write(tmp_path / "results/tiny/a_0.json", result(0, 0.5))
  expected = [("tiny", "b", 0), ("tiny", "a", 1), ("tiny", "b", 1)]
  assert recipe.missing(["tiny"], {0, 1}, set()) == expected
  assert recipe.missing(["tiny"], {1}, {"a"}) == [("tiny", "a", 1)]


def test_a_table_has_means_deviations_and_the_untrained_network(study, tmp_path):
  for seed, accuracy in ((0, 0.5), (1, 0.6)):
    recipe.write(tmp_path / f"results/tiny/a_{seed}.json", result(seed, accuracy))
  text = table.tables(tmp_path / "results")
  assert "| a | 2 | 7 | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 |" in text
  assert "| untrained, at its strongest | 2 | 0 |  | 25.0 ± 0.0 |  |  |" in text
  assert "| b |" not in text


def test_variations_that_are_as_fast_are_measured_once():
  study = STUDIES["search_synthetic"]
  same = {recipe.speed_key(study, name) for name in ("adamw_cosine", "crop_0.3", "decoupled")}
  assert len(same) == 1
  others = {recipe.speed_key(study, name) for name in ("paper", "clean", "skips_none")}
  assert len(same | others) == 4


@pytest.mark.slow
def test_a_training_is_measured_taken_and_kept(study, tmp_path, data_dir, monkeypatch, capsys):
  arguments = ["recipe", "--studies=tiny", "--only=b", "--seeds=0"]
  arguments += [f"--data_dir={data_dir}", f"--runs={tmp_path / 'runs'}"]
  monkeypatch.setattr("sys.argv", arguments)
  monkeypatch.setattr(recipe, "STEPS_TO_MEASURE", 4)
  monkeypatch.setattr(recipe, "STEPS_BETWEEN_ROWS", 2)
  recipe.main()
  kept = json.loads((tmp_path / "results/tiny/b_0.json").read_text())
  assert kept["result"]["global_step"] == int(4 / kept["seconds_per_step"])
  assert not any(str(tmp_path) in flag or str(data_dir) in flag for flag in kept["flags"])
  assert "1 of 1" in capsys.readouterr().out
