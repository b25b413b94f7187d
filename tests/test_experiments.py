"""The search: what is left to do, what it keeps, and its table."""

import dataclasses
import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.config.options.table import OPTIONS
from experiments import (
  costs,
  drive,
  handover,
  jobs,
  label_free,
  recipe,
  released_network,
  table,
  table1,
)
from experiments.peers import __main__ as peers
from experiments.studies import ONCE_DEFAULTS, STUDIES, Study

TINY = (
  "--image_size=24",
  "--base_filters=2",
  "--unet_depth=3",
  "--train_batch_size=8",
  "--local_crops=0",
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
  assert "| a | 2 | 7 |  | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 |" in text
  assert "| untrained, at its strongest | 2 | 0 |  |  | 25.0 ± 0.0 |  |  |" in text


def test_what_was_reached_on_the_way_stands_in_the_table_of_one_variation(
  study, tmp_path, monkeypatch
):
  watched = dataclasses.replace(study, eval_every_epochs=1)
  alone = dataclasses.replace(watched, variations={"a": study.variations["a"]})
  for seed in (0, 1):
    content = result(seed, 0.7)
    rows = [{"global_step": step, table.VALIDATION: step / 20} for step in (6, 12)]
    recipe.write(tmp_path / f"results/tiny/a_{seed}.json", {**content, "evaluations": rows})
  monkeypatch.setattr(table, "STUDIES", {"tiny": alone})
  text = table.tables(tmp_path / "results")
  assert "| a | 2 | 6 |  | 30.0 ± 0.0 |  |  |  |" in text
  assert "| a | 2 | 12 |  | 60.0 ± 0.0 |  |  |  |" in text
  monkeypatch.setattr(table, "STUDIES", {"tiny": watched})
  assert "| a | 2 | 7 |  | 70.0 ± 0.0 | 70.0 ± 0.0 |" in table.tables(tmp_path / "results")


def test_what_is_not_done_and_what_steps_cost_stand_in_the_table(study, tmp_path):
  folder = tmp_path / "results/tiny"
  recipe.write(folder / "a_0.json", result(0, 0.5))
  recipe.write(folder / table.COSTS, {"a": 1.0, "b": 1.25})
  page = tmp_path / "page.md"
  page.write_text(f"Above.\n\n{table.MARKER}\n\nold")
  table.update(page, tmp_path / "results")
  text = page.read_text()
  assert text.startswith("Above.") and "old" not in text
  assert "| a | 1 | 7 | 1.00 | 50.0 | 50.0 | 50.0 | 50.0 |" in text
  assert "| b | 0 | not run | 1.25 |  |  |  |  |" in text


def test_a_variation_that_another_study_trains_is_shown_and_not_trained(
  study, tmp_path, monkeypatch
):
  both = {
    "tiny": study,
    "other": dataclasses.replace(study, elsewhere={"b": ("tiny", "a")}),
  }
  for module in (recipe, table):
    monkeypatch.setattr(module, "STUDIES", both)
  assert recipe.missing(["other"], {0}, set()) == [("other", "a", 0)]
  recipe.write(tmp_path / "results/tiny/a_0.json", result(0, 0.5))
  recipe.write(tmp_path / "results/other/a_0.json", result(0, 0.4))
  _, text = table.tables(tmp_path / "results").split("### other")
  assert "| b | 1 | 7 |  | 50.0 | 50.0 | 50.0 | 50.0 |\n| a | 1 | 7 |  | 40.0 |" in text


def test_what_another_study_trains_has_the_same_weights():
  def learnt(name, variation):
    study = STUDIES[name]
    config = costs.config_of(study.command(variation, recipe.cost_of(name, variation, study)))
    changing = [name for name, field in OPTIONS.items() if field.metadata["changes_training"]]
    return {name: getattr(config, name) for name in changing}

  for name, study in STUDIES.items():
    for variation, elsewhere in study.elsewhere.items():
      assert learnt(name, variation) == learnt(*elsewhere), (name, variation)


def test_the_preset_of_a_teacher_alone_is_what_was_measured():
  config = costs.config_of(STUDIES["teacher_flowers"].variations["teacher_alone_crop_0.6"])
  lines = (recipe.ROOT / "flags" / "teacher.cfg").read_text().splitlines()
  stated = dict(line[2:].split("=") for line in lines if line.startswith("--"))
  assert len(stated) == 6
  for name, text in stated.items():
    value = getattr(config, name)
    assert type(value)(text) == value, name


def test_cosines_of_gradients_are_kept_and_shown(study, tmp_path):
  names = ["train/gradient_cosine", "train/level_1_gradient_cosine"]
  rows = [{names[0]: step / 50, "train/total_loss": 1.0} for step in range(100)]
  rows[3][names[1]] = -0.5
  kept = recipe.with_cosines(rows)
  np.testing.assert_allclose(kept[table.COSINES][names[0]], np.arange(10) / 5 + 0.09)
  assert kept[table.COSINES][names[1]] == [-0.5]
  assert recipe.with_cosines([{"train/total_loss": 1.0}]) == {}
  recipe.write(tmp_path / "results/tiny/a_0.json", {**result(0, 0.5), **kept})
  text = table.tables(tmp_path / "results")
  assert " neighbours | cosine, and by level |" in text
  assert "| 50.0 | 0.99, -0.50 |" in text


def test_the_order_of_measures_without_labels():
  accuracies, name = (0.5, 0.7, 0.6), "eval/standardised_linear_top_1_accuracy"
  results = [
    {name: accuracy, "eval/rank_me": rank, "eval/alignment": -accuracy, "eval/dead_dimensions": 0.0}
    for accuracy, rank in zip(accuracies, (3.0, 1.0, 2.0), strict=True)
  ]
  found = label_free.correlations(results)
  assert set(found) == {"eval/rank_me", "eval/alignment"}  # of what never varies there is none
  assert found["eval/rank_me"][0] == pytest.approx(-1)
  assert found["eval/alignment"][0] == pytest.approx(1)  # the smaller the better


def test_a_training_says_which_share_of_the_cores_it_had(monkeypatch):
  monkeypatch.setattr(jobs, "hardware", lambda: {"GPU": "none", "cores": "16", "system": "Linux"})
  assert jobs.machine([3]) == {"GPU": "none", "cores": "1 of 16"}
  assert jobs.machine(range(16)) == {"GPU": "none", "cores": "16"}


def test_larger_batches_take_fewer_steps():
  study = Study("", ("--dataset=npz",), 100, {"a": (), "b": ("--train_batch_size=64",)})
  assert study.command("a") == ("--dataset=npz", "--train_steps=100")
  assert study.command("b")[-1] == "--train_steps=25"


def test_every_variation_is_a_configuration():
  for study in STUDIES.values():
    for flags in study.variations.values():
      costs.config_of(flags)
  recipe = costs.config_of(STUDIES["views_synthetic"].variations["all_three_size_schedule"])
  default = Config(mixed_precision="float32")
  assert recipe.size_phases(100) == default.size_phases(100)
  assert dataclasses.replace(recipe, image_size_schedule="auto") == default


def test_what_is_kept_belongs_to_a_variation():
  """So that no result is left behind when a study changes."""
  for path in recipe.RESULTS.glob("*/*_[0-9].json"):
    kept = json.loads(path.read_text())
    if path.parent.name == "drive":
      job = [kept[part] for part in ("start", "loss", "masks", "steps", "seed")]
      assert kept["flags"] == drive.segmentation_flags(*job) and path == drive.result_path(*job)
      continue
    if path.parent.name == "peers":
      job = [kept[part] for part in ("minutes", "method", "batch_and_rate", "seed")]
      assert path.name == peers.path(*job).name
      continue
    study = STUDIES[path.parent.name]
    cost = recipe.cost_of(path.parent.name, kept["variation"], study)
    expected = [*study.command(kept["variation"], cost), f"--seed={kept['seed']}"]
    kept, expected = (
      [flag for flag in flags if flag not in ONCE_DEFAULTS] for flags in (kept["flags"], expected)
    )
    assert kept == expected, path


@pytest.mark.slow
def test_a_training_is_measured_taken_and_kept(study, tmp_path, data_dir, monkeypatch, capsys):
  arguments = ["recipe", "--studies=tiny", "--only=b", "--seeds=0"]
  arguments += [f"--data_dir={data_dir}", f"--runs={tmp_path / 'runs'}"]
  monkeypatch.setattr("sys.argv", arguments)
  recipe.main()
  kept = json.loads((tmp_path / "results/tiny/b_0.json").read_text())
  assert kept["result"]["global_step"] == 8
  assert not any(str(tmp_path) in flag or str(data_dir) in flag for flag in kept["flags"])
  assert "1 of 1" in capsys.readouterr().out


@pytest.mark.slow
def test_a_training_goes_on_in_parts_and_on_another_machine(study, tmp_path, monkeypatch):
  """Its second part begins from what was handed over, with velocities rounded to bfloat16."""
  runs, flags = tmp_path / "runs", (*TINY, "--optimizer=lars", "--learning_rate_schedule=constant")
  study = dataclasses.replace(study, flags=flags, variations={"a": ()})

  class Stopped(subprocess.Popen):  # after eight steps, as after its seconds
    def wait(self, timeout=None):
      code = super().wait()
      if timeout:
        self.returncode = recipe.STOPPED
      return code

  monkeypatch.setattr(recipe.subprocess, "Popen", Stopped)
  recipe.train("tiny", "a", 0, study, runs, [0], seconds=600)
  part = json.loads((tmp_path / "results/tiny/part_of_a_0.json").read_text())
  assert part["result"]["global_step"] == 8
  assert recipe.missing(["tiny"], {0}, {"a"})

  content = handover.pack(runs / "tiny/a_0")
  monkeypatch.setattr(handover, "PIECE_BYTES", 20_000)
  handover.write_pieces(content, tmp_path / "pieces")
  pieces = sorted((tmp_path / "pieces").iterdir())
  assert len(pieces) > 1
  other = tmp_path / "elsewhere" / "tiny" / "a_0"
  handover.unpack(b"".join(path.read_bytes() for path in pieces), other)
  ours, theirs = (
    tf.train.load_checkpoint(str(folder / "checkpoints/ckpt-8"))
    for folder in (runs / "tiny/a_0", other)
  )
  assert ours.get_variable_to_shape_map() == theirs.get_variable_to_shape_map()
  for name in ours.get_variable_to_shape_map():
    tolerance = 2**-8 if handover.OPTIMIZER in name else 0.0
    value, again = ours.get_tensor(name), theirs.get_tensor(name)
    if handover.is_text(name):
      assert value == again
    else:
      np.testing.assert_allclose(again, value, rtol=tolerance, err_msg=name)

  longer = dataclasses.replace(study, steps=6)
  kept = recipe.train("tiny", "a", 0, longer, tmp_path / "elsewhere", [0])
  assert "Continuing from step 8" in (tmp_path / "elsewhere/tiny/a_0.log").read_text()
  assert kept["result"]["global_step"] == 12
  assert not (tmp_path / "results/tiny/part_of_a_0.json").exists()


def test_equal_seconds_are_fewer_steps_of_those_that_take_longer(study, tmp_path):
  equal = dataclasses.replace(study, equal_seconds=True)
  assert recipe.cost_of("tiny", "b", study) == 1.0
  with pytest.raises(RuntimeError, match="python -m experiments.costs --study=tiny"):
    recipe.cost_of("tiny", "b", equal)
  recipe.write(tmp_path / "results/tiny" / table.COSTS, {"a": 1.0, "b": 1.6})
  flags = equal.command("b", recipe.cost_of("tiny", "b", equal))
  assert flags[-1] == "--train_steps=5"


def test_the_card_of_the_network_that_ships_has_its_numbers():
  result = {
    "global_step": 1234,
    "eval/linear_top_1_accuracy": 0.25,
    "eval/standardised_linear_top_1_accuracy": 0.5,
    "eval/knn_accuracy": 0.125,
    "eval/untrained_strongest": 0.0625,
    "eval/intervals": {"eval/standardised_linear_top_1_accuracy": [0.45, 0.55]},
  }
  versions = {"tensorflow": "2.15.1"}
  machine = {"processor": "A processor", "GPU": "none"}
  processes = [
    {"step": 0, "machine": {**machine, "GPU": "A GPU"}, "versions": versions},
    {"step": 600, "machine": machine, "versions": versions},
    {"step": 1234, "machine": {**machine, "GPU": "evaluated here"}, "versions": versions},
  ]
  machines = released_network.trained_on(processes, 1234)
  text = released_network.card(result, epochs=7, width=240, machines=machines)
  assert "| trained on | A GPU, TensorFlow 2.15.1; A processor, TensorFlow 2.15.1 |" in text
  assert "7 epochs, 1,234 steps" in text and "`[B, 240]`" in text
  assert "| standardised embeddings | 50.00% (45.00% to 55.00%) |" in text
  assert "| random features at their strongest | 6.25% |" in text


def test_segmentations_take_other_images_on_other_seeds():
  for start in drive.STARTS:
    taken = []
    for seed in drive.SEEDS:
      flags = [*drive.segmentation_flags(start, "dice", 5, 300, seed), "--data_dir=drive"]
      flags += ["--checkpoint=a"] if drive.STARTS[start] else []
      taken.append(costs.config_of(flags).train_split)
    assert taken == ["train[0:5]", "train[5:10]", "train[10:15]"]
  assert "--train_split=train[0:20]" in drive.segmentation_flags("scratch", "dice", 20, 300, 2)
  assert "--segment_from=encoder" in drive.segmentation_flags("encoder", "dice", 1, 300, 0)
  every = drive.all_jobs(drive.SEEDS)
  assert len(every) == len(set(every)) == len({drive.result_path(*job) for job in every}) == 123


def test_the_table_of_masks_has_means_and_what_is_missing():
  rows = [
    {
      "start": "both",
      "loss": "dice",
      "masks": masks,
      "steps": steps,
      "result": {"eval/dice": dice, "eval/pixel_auroc": 0.9},
    }
    for masks, dice, steps in ((5, 0.5, 300), (5, 0.7, 300), (20, 0.8, 300), (20, 0.9, 3000))
  ]
  usual, longer = drive.tables(rows).split("\n3,000 steps:\n\n")
  lines = usual.splitlines()
  assert (
    lines[0] == "300 steps:"
    and lines[2] == "| start | loss | 1 mask | 2 masks | 5 masks | 10 masks | 20 masks |"
  )
  [line] = [line for line in lines if line.startswith("| both |")]
  assert line == "| both | dice |  |  | 60.0 ± 14.1 / 90.0 ± 0.0 (2) |  | 80.0 / 90.0 (1) |"
  assert not any(line.startswith("| scratch |") for line in lines)  # nothing of it is done
  assert longer.startswith("| start | loss | 1 mask | 20 masks |")
  assert longer.endswith("| both | dice |  | 90.0 / 90.0 (1) |\n")


def test_curves_over_masks_are_of_the_usual_loss(tmp_path):
  rows = [
    {
      "start": start,
      "loss": loss,
      "masks": masks,
      "steps": 300,
      "result": {"eval/dice": 0.5, "eval/pixel_auroc": 1},
    }
    for start, loss in (("both", "dice"), ("scratch", "cross_entropy_dice"))
    for masks in (1, 5, 5)
  ]
  assert drive.curves(rows, tmp_path)
  text = (tmp_path / "drive.svg").read_text()
  assert "<!-- both -->" in text and "<!-- scratch -->" not in text
  assert not drive.curves([], tmp_path)


def test_jobs_run_on_their_own_cores(capsys):
  seen = []

  def work(job, cores):
    seen.append((job, tuple(cores)))
    return f"job {job}"

  jobs.on_shares_of_cores(work, [1, 2, 3], 1)
  assert [job for job, _ in seen] == [1, 2, 3] and all(cores for _, cores in seen)
  assert "job 3; 3 of 3, about 0 min left" in capsys.readouterr().out


def test_the_field_of_view_is_the_bright_disc_without_holes():
  y, x = np.mgrid[:80, :90]
  disc = (y - 40) ** 2 + (x - 45) ** 2 < 35**2
  pixels = np.uint8(150) * disc[..., np.newaxis].repeat(3, axis=-1)
  pixels[30:36, 30:36] = 5  # dark within
  pixels[:3, :3] = 200  # a speck without
  assert np.mean(drive.field_of_view(pixels) == disc) > 0.99


def trained(seed, steps, accuracy, **more):
  """The file of a training that was measured halfway too, with few labels."""
  readings = {reading: accuracy for reading in table1.READINGS}
  return {
    "seed": seed,
    "result": {
      "global_step": steps,
      "eval/untrained_strongest": 0.25,
      "eval/label_fractions": [{"fraction": 0.1, "mean": 0.3}, {"fraction": 1.0, "mean": accuracy}],
      **readings,
    },
    "evaluations": [{"global_step": step, **readings} for step in (0, steps // 2, steps)],
    **more,
  }


@pytest.fixture
def systems(tmp_path):
  """Results of two systems on one dataset, and of ConRec alone on another."""
  for seed, accuracy in ((0, 0.5), (1, 0.6)):
    recipe.write(tmp_path / f"systems_synthetic/conrec_{seed}.json", trained(seed, 100, accuracy))
    recipe.write(tmp_path / f"systems_synthetic/simclr_{seed}.json", trained(seed, 222, 0.4))
  recipe.write(tmp_path / "recipe_flowers/conrec_0.json", trained(0, 100, 0.7))
  recipe.write(
    tmp_path / "long_views_flowers/all_three_size_schedule_0.json", trained(0, 19700, 0.75)
  )
  return tmp_path


def test_tables_of_systems_stand_below_their_marks(systems):
  page = systems / "page.md"
  page.write_text(
    "Above.\n\n<!-- table: systems_synthetic -->\n| old |\n| --- |\n\nBetween.\n\n"
    "<!-- table: recipe_circles -->\n\n<!-- table: recipe_flowers -->\n\nBelow.\n"
  )
  for _ in range(2):  # once more changes nothing
    table1.write_tables(page, systems)
    above, rest = page.read_text().split("\n\n<!-- table: systems_synthetic -->\n")
    synthetic, between, circles, flowers, below = rest.rstrip().split("\n\n")
    assert (above, between, below) == ("Above.", "Between.", "Below.")
    assert circles == "<!-- table: recipe_circles -->"
    assert "| untrained, at its strongest |  |  | 25.0 ± 0.0 |  |" in synthetic
    assert "| ConRec | 96.4 | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 |" in synthetic
    assert synthetic.index("| SimCLR | 85.6 | 40.0") < synthetic.index(
      "| ConRec |"
    )  # the paper's order
    assert "GA pool" not in synthetic and "old" not in synthetic  # what isn't done has no row
    assert "| ConRec, 19,700 steps |  | 75.0 | 75.0 | 75.0 |" in flowers
  table1.write_tables(page, systems, ("simclr",))
  assert "| ConRec | 96.4 |" not in page.read_text() and "| SimCLR | 85.6 |" in page.read_text()


def test_figures_are_of_what_was_measured(systems):
  assert table1.write_figures(systems, systems)
  for name in ("accuracy_over_labels", "accuracy_during_training"):
    text = (systems / f"{name}.svg").read_text()
    for words in ("Rectangle-Triangle", "Oxford Flowers 102", "SimCLR", "ConRec"):
      assert f"<!-- {words} -->" in text
    assert "<!-- Circles-Square -->" not in text


def test_what_was_measured_at_the_end_alone_is_not_drawn(tmp_path):
  content = trained(0, 100, 0.5)
  del content["result"]["eval/label_fractions"]
  recipe.write(
    tmp_path / "recipe_flowers/conrec_0.json",
    {**content, "evaluations": content["evaluations"][-1:]},
  )
  assert not table1.write_figures(tmp_path, tmp_path)
  assert not [*tmp_path.glob("*.svg")]


def test_the_pages_have_the_numbers_of_the_files():
  for page, shown in table1.PAGES.items():
    text = page.read_text()
    for name in table1.DATASETS:
      if f"<!-- table: {name} -->" in text:
        table = table1.systems_table(recipe.RESULTS, name, shown)
        assert f"<!-- table: {name} -->\n{table}" in text
  assert f"<!-- table: peers -->\n{peers.table()}\n" in peers.PAGE.read_text()


@pytest.mark.slow
def test_table_1_of_a_tiny_copy_is_trained_and_drawn(study, tmp_path, data_dir, monkeypatch):
  flags = (*TINY, "--label_fractions=0.5,1.0")
  systems = {"conrec": (), "simclr": ("--pooling=average", "--reconstruction_weight=0")}
  tiny = Study("Two systems.", flags, 12, systems, eval_every_epochs=1)
  monkeypatch.setattr(recipe, "STUDIES", {"tiny": tiny})
  monkeypatch.setattr(table1, "DATASETS", {"tiny": "rectangle_triangle"})
  monkeypatch.setattr(table1, "TITLES", {"tiny": "Rectangle-Triangle"})
  monkeypatch.setattr(table1, "LONGER", {})
  page = tmp_path / "page.md"
  page.write_text("<!-- table: tiny -->\n")
  monkeypatch.setattr(table1, "PAGES", {page: ("conrec", "simclr")})
  monkeypatch.setattr(table1, "IMAGES", tmp_path)
  arguments = ["table1", f"--data_dir={data_dir}", f"--runs={tmp_path / 'runs'}"]
  monkeypatch.setattr("sys.argv", arguments)
  table1.main()
  assert len(table1.systems(tmp_path / "results", "tiny")["conrec"][0]["evaluations"]) > 2
  assert "| SimCLR | 85.6 |" in page.read_text()
  for name in ("accuracy_over_labels", "accuracy_during_training"):
    assert (tmp_path / f"{name}.svg").exists()
