"""A run's own results, its best network and its exports stay, whatever else it is measured on."""

import json
import pathlib

from command_line import as_flags, command
import numpy as np
from PIL import Image
import pytest

from conrec_tf import commands
from conrec_tf.commands import evaluate
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory

SHORT = dict(report=False, export_format="", bootstrap_samples=0)
LABELS = {"0": 40, "90": 130, "180": 220}


def fill(folder, rng, names=None):
  """Writes `split/label/file` whose labels are levels of grey."""
  for label, level in LABELS.items():
    for split, count in (("train", 8), ("test", 4)):
      below = folder / split / (names or {}).get(label, label)
      below.mkdir(parents=True)
      for index in range(count):
        pixels = rng.normal(level, 20, (24, 24)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(below / f"{label}_{index}.png")
  return folder


def results_of(run):
  """What must not change of a run: its results, predictions and best network, by file."""
  return {
    path.relative_to(run): path.read_bytes()
    for pattern in ("*.json", "*.txt", "*.csv", "best/*.index", "best/*.data*")
    for path in run.glob(pattern)
  }


def read(path):
  return json.loads(path.read_text())


@pytest.fixture
def angles(tmp_path, rng):
  return fill(tmp_path / "angles", rng)


@pytest.fixture
def options(tmp_path, angles):
  return dict(
    dataset="image_folder",
    data_dir=str(angles),
    image_size=24,
    unet_depth=2,
    base_filters=2,
    local_crops=0,
    train_batch_size=8,
    mixed_precision="float32",
    model_dir=str(tmp_path / "run"),
    **SHORT,
  )


@pytest.fixture
def heads(options, tmp_path, rng):
  """Options of a supervised head on arrays, which is trained and measured in little time."""
  labels = np.arange(24) % 3
  images = rng.normal(60 * labels[:, None, None, None] + 60, 20, (24, 24, 24, 1))
  images = images.clip(0, 255).astype(np.uint8)
  np.savez(
    tmp_path / "arrays.npz", x_train=images, y_train=labels, x_test=images[:12], y_test=labels[:12]
  )
  arrays = dict(dataset="npz", data_dir=str(tmp_path / "arrays.npz"))
  return {**options, **arrays, "train_mode": "finetune", "learning_rate_schedule": "constant"}


@pytest.mark.slow
def test_other_data_and_settings_never_touch_a_finished_run(options, tmp_path, rng, caplog):
  # SimCLR's, as the network doesn't matter and no reconstructions are measured.
  options |= dict(reconstruction_weight=0.0, pooling="average", corruption="none")
  run, config = pathlib.Path(options["model_dir"]), Config(**options, train_steps=4)
  commands.run(config)
  before = results_of(run)
  other = fill(tmp_path / "other", rng, names={"90": "360"})
  asked = [
    dict(mode="eval", data_dir=str(other)),
    dict(mode="eval", select_best_on="rank_me"),
    dict(eval_split="test[:50%]"),
    dict(cv_folds=2),
  ]
  for values in asked:
    with caplog.at_level("INFO", "conrec_tf"):
      commands.run(Config(**{**options, "train_steps": 4, **values}))
    assert "Measured otherwise than the run's own results" in caplog.text
    caplog.clear()
    assert results_of(run) == before
  folders = sorted(run.glob("evaluations/*"))
  assert len(folders) == len(asked)
  for folder in folders:
    assert {"eval/untrained_strongest", "measured_on"} <= set(read(folder / "result.json"))
  [folds] = [folder for folder in folders if read(folder / "config.json")["cv_folds"]]
  assert "eval/linear_top_1_accuracy_std" in read(folds / "result.json")
  # The training's own command prints its own numbers, and adds what was not asked for before.
  commands.run(config)
  assert results_of(run) == before
  commands.run(Config(**options, train_steps=4, label_fractions="0.5"))
  result = read(run / "result.json")
  assert len(result.pop("eval/label_fractions")) == 1
  known = json.loads(before[pathlib.Path("result.json")])
  assert {name: result[name] for name in known if name != "evaluated_with"} == {
    name: known[name] for name in known if name != "evaluated_with"
  }


@pytest.mark.parametrize("count", [6, 48])
def test_a_training_ends_where_its_own_images_say(heads, tmp_path, monkeypatch, caplog, count):
  """Not where as many epochs of the images that it is measured on would."""
  monkeypatch.setattr(evaluate, "SECONDS_TO_WAIT", 0.1)
  commands.run(Config(**heads, mode="train", train_epochs=1))
  labels = np.arange(count) % 3
  images = np.zeros((count, 24, 24, 1), np.uint8)
  path = str(tmp_path / "others.npz")
  np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
  commands.run(Config(**{**heads, "data_dir": path}, mode="eval", train_epochs=1))
  assert "No training runs" not in caplog.text
  [result] = pathlib.Path(heads["model_dir"]).glob("evaluations/*/result.json")
  assert read(result)["global_step"] == 3


def test_a_run_under_way_does_not_go_on_with_other_evaluations(heads):
  commands.run(Config(**heads, train_steps=2))
  longer = {**heads, "train_steps": 4}
  with pytest.raises(UsageError, match="that of the run in it.*images or labels of the eval split"):
    commands.run(Config(**longer, eval_split="train"))
  commands.run(Config(**longer))
  assert read(pathlib.Path(heads["model_dir"]) / "result.json")["global_step"] == 4


@pytest.mark.parametrize(
  "values, changed",
  [
    (dict(seed=1), "seed: 0 -> 1"),
    (dict(temperature=0.1), "temperature: 0.2 -> 0.1"),
    (dict(base_filters=4), "base_filters: 2 -> 4"),
  ],
)
def test_a_finished_run_is_no_other_training(heads, values, changed):
  commands.run(Config(**heads, train_steps=1))
  with pytest.raises(UsageError, match=f"^model_dir must be new, or the values .*{changed} for"):
    commands.run(Config(**{**heads, **values}, train_steps=1))
  assert not (pathlib.Path(heads["model_dir"]) / "evaluations").exists()


def test_what_others_measured_does_not_keep_a_training_that_measures_nothing_from_going_on(heads):
  training = {**heads, "mode": "train"}
  commands.run(Config(**training, train_steps=1))
  run, other = RunDirectory(heads["model_dir"]), {"evaluated_with": {"select_best_on": "rank_me"}}
  run.write("measured_on.json", other)
  run.write("result_1.json", {"global_step": 1, **other})
  commands.run(Config(**training, train_steps=2))
  assert (run.path / "checkpoints/ckpt-2.index").exists()


def test_a_head_beside_pretraining_is_not_measured_on_labels_that_it_does_not_know(
  options, tmp_path, rng
):
  run = RunDirectory(options["model_dir"])
  run.path.mkdir()
  run.write(IMAGES, {"class_names": list(LABELS)})
  renamed = str(fill(tmp_path / "renamed", rng, names={"90": "360"}))
  values = {**options, "mode": "eval", "data_dir": renamed, "lineareval_while_pretraining": True}
  with pytest.raises(UsageError, match="labels that the network knows.*Received: 360 in renamed"):
    commands.run(Config(**values))


@pytest.mark.slow
def test_a_finetuned_network_is_measured_by_the_names_of_labels(options, angles, tmp_path, rng):
  run = pathlib.Path(options["model_dir"])
  flags = as_flags({**options, "train_mode": "finetune", "train_steps": 30, "learning_rate": 0.01})
  done = command(*flags, "--optimizer=adam", "--learning_rate_scaling=none")
  assert done.returncode == 0, done.stderr
  before, own = results_of(run), read(run / "result.json")
  renamed = fill(tmp_path / "renamed", rng, names={"90": "360"})
  for where in (["--mode=eval", f"--model_dir={run}"], ["--mode=eval", f"--checkpoint={run}"]):
    new = [] if "--model_dir" in where[1] else [f"--model_dir={tmp_path / 'refused'}"]
    data = ["--dataset=image_folder", f"--data_dir={renamed}"]
    done = command(*where, *new, *data)
    assert done.returncode == 1 and "Received: 360 in renamed" in done.stderr
  # Two of three labels, in other numbers: 90 is label 1 there and 0 here.
  for split in ("train", "test"):
    for path in (angles / split / "0").iterdir():
      path.unlink()
    (angles / split / "0").rmdir()
  done = command(
    "--mode=eval",
    f"--checkpoint={run}",
    f"--model_dir={tmp_path / 'new'}",
    "--dataset=image_folder",
    f"--data_dir={angles}",
    "--bootstrap_samples=0",
  )
  assert done.returncode == 0, done.stderr
  result = read(tmp_path / "new/result.json")
  assert result["measured_on"]["class_names"] == ["0", "90", "180"]
  rows = (run / "predictions_30.csv").read_text().splitlines()[1:]
  of_two = [row.split(",")[:3] for row in rows if "/0/" not in row]
  right = np.mean([label == said for _, label, said in of_two])
  assert result["eval/label_top_1_accuracy"] == pytest.approx(right)
  assert results_of(run) == before and own == read(run / "result.json")


@pytest.mark.slow
def test_embeddings_of_images_with_other_labels_are_refused(options, angles):
  config = Config(**options, train_steps=1)
  commands.run(config)
  embed = Config(**{**options, "mode": "embed"})
  commands.run(embed)
  path = angles / "test/0/0_0.png"
  path.rename(angles / "test/90/0_0.png")
  with pytest.raises(UsageError, match="images or labels of the eval split"):
    commands.run(embed)
