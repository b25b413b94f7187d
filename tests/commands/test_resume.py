"""A run goes on wherever it is asked to: its data has moved, its origin is gone, flags are new."""

import itertools
import json
import os
import pathlib
import shutil
import time

from command_line import as_flags, command
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands import evaluate as evaluation
from conrec_tf.commands import several
from conrec_tf.commands.report import restore_inspector
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.results import Results
from conrec_tf.run_dir.run_directory import RunDirectory

TINY = dict(
  image_size=24,
  base_filters=2,
  unet_depth=2,
  local_crops=0,
  train_batch_size=8,
  learning_rate_schedule="constant",  # so that a run can go on for longer
  report=False,
  export_format="",
)
SIMCLR = dict(TINY, reconstruction_weight=0.0, pooling="average", corruption="none")


@pytest.fixture(params=[pytest.param("image_folder", marks=pytest.mark.slow), "npz"])
def own_data(request, tmp_path, rng):
  """(name of the dataset, data_dir) of 24 images."""
  images = rng.integers(0, 256, (24, 30, 40, 3), np.uint8)
  if request.param == "npz":
    np.savez(tmp_path / "data.npz", x_train=images)
    return request.param, tmp_path / "data.npz"
  (tmp_path / "data").mkdir()
  for index, image in enumerate(images):
    Image.fromarray(image).save(tmp_path / f"data/{index:02}.png")
  return request.param, tmp_path / "data"


def weights(folder, step):
  """`{name: array}` of all that a checkpoint holds of a training."""
  reader = tf.train.load_checkpoint(str(pathlib.Path(folder, f"checkpoints/ckpt-{step}")))
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if "VARIABLE_VALUE" in name and "save_counter" not in name and "waited" not in name
  }


def assert_equal(found, expected):
  assert found.keys() == expected.keys() and len(found) > 30
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, name)


@pytest.mark.slow
def test_a_run_goes_on_when_its_data_has_moved(own_data, tmp_path):
  dataset, path = own_data
  values = dict(SIMCLR, dataset=dataset, mode="train")
  commands.run(
    Config(**values, data_dir=str(path), model_dir=str(tmp_path / "whole"), train_steps=7)
  )
  run = str(tmp_path / "run")
  commands.run(Config(**values, data_dir=str(path), model_dir=run, train_steps=4))
  moved = path.rename(tmp_path / f"moved{path.suffix}")
  commands.run(Config(**values, data_dir=str(moved), model_dir=run, train_steps=7))
  assert_equal(weights(run, 7), weights(tmp_path / "whole", 7))


def test_a_run_does_not_go_on_with_other_data(own_data, tmp_path, rng):
  dataset, path = own_data
  config = Config(
    **TINY,
    dataset=dataset,
    mode="train",
    contrastive_weight=0.0,
    data_dir=str(path),
    model_dir=str(tmp_path / "run"),
    train_steps=1,
  )
  commands.run(config)
  if dataset == "npz":
    np.savez(path, x_train=rng.integers(0, 256, (24, 30, 40, 3), np.uint8))
  else:
    (path / "07.png").unlink()
  with pytest.raises(UsageError, match="must give the images that the run began with"):
    commands.run(config)


@pytest.mark.slow
def test_the_size_of_checkpoints_does_not_depend_on_the_data(tmp_path):
  sizes = []
  for count in (100, 20_000):
    run, path = tmp_path / f"run_{count}", tmp_path / f"{count}.npz"
    np.savez(path, x_train=np.zeros([count, 24, 24, 1], np.uint8))
    tf.keras.backend.clear_session()  # or names are numbered on, and longer in the second
    commands.run(
      Config(
        **TINY, dataset="npz", mode="train", data_dir=str(path), model_dir=str(run), train_steps=1
      )
    )
    names = [name for name, _ in tf.train.list_variables(str(run / "checkpoints/ckpt-1"))]
    assert not [name for name in names if "iterator" in name]
    sizes.append(sum(file.stat().st_size for file in run.glob("checkpoints/ckpt-1.*")))
  assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_a_finetuned_run_needs_its_origin_no_more(simclr, tmp_path):
  origin = tmp_path / "origin"
  flags = as_flags({**simclr, "model_dir": str(origin), "mode": "train", "train_steps": 2})
  assert command(*flags).returncode == 0
  run = tmp_path / "finetuned"
  flags = as_flags(
    {
      **simclr,
      "model_dir": str(run),
      "train_mode": "finetune",
      "checkpoint": str(origin),
      "export_format": "",
      "train_steps": 4,
    }
  )
  done = command(*flags)
  assert done.returncode == 0, done.stderr
  shutil.rmtree(origin)
  done = command(*flags, "--train_steps=6")
  assert done.returncode == 0, done.stderr
  assert "Continuing from step 4" in done.stdout
  before = json.loads((run / "result_6.json").read_text())
  (run / "result_6.json").unlink()
  done = command("--mode=eval", f"--model_dir={run}")
  assert done.returncode == 0, done.stderr
  assert json.loads((run / "result_6.json").read_text()) == before
  done = command(
    *as_flags({**simclr, "model_dir": str(tmp_path / "new")}),
    f"--checkpoint={origin}",
    "--train_mode=finetune",
  )
  assert done.returncode == 1 and "checkpoint must be a model_dir" in done.stderr


@pytest.mark.slow
def test_a_finished_run_is_measured_as_new_flags_ask(simclr):
  run = pathlib.Path(simclr["model_dir"])
  values = {**simclr, "train_steps": 2, "export_format": ""}
  commands.run(Config(**values))
  commands.run(Config(**values, label_fractions="0.5,1.0", num_repeats=2))
  curve = json.loads((run / "result.json").read_text())["eval/label_fractions"]
  assert [row["repetitions"] for row in curve] == [2, 1]
  commands.run(Config(**values, cv_folds=3))
  [folds] = run.glob("evaluations/*/result.json")  # and not over the run's own
  assert "eval/linear_top_1_accuracy_std" in json.loads(folds.read_text())


@pytest.mark.slow
def test_a_quick_result_that_becomes_the_last_gets_its_slow_measures(simclr):
  run = pathlib.Path(simclr["model_dir"])
  values = {**simclr, "eval_every_epochs": 1, "checkpoint_steps": 6, "export_format": ""}
  commands.run(Config(**values, train_steps=8))
  quick = json.loads((run / "result_6.json").read_text())
  assert "eval/knn_accuracy" not in quick
  for path in run.glob("checkpoints/*-8*"):
    path.unlink()
  commands.run(Config(**values, train_steps=4))
  assert "eval/knn_accuracy" in json.loads((run / "result.json").read_text())


@pytest.mark.slow
def test_a_training_that_begins_anew_is_measured_anew(quickest):
  run = pathlib.Path(quickest["model_dir"])
  values = {**quickest, "eval_every_epochs": 1, "export_format": "", "bootstrap_samples": 0}
  commands.run(Config(**values))
  files = ("result_6.json", "result_12.json", "result.json", "predictions_12.csv")
  before = {name: (run / name).read_bytes() for name in files}
  shutil.rmtree(run / "checkpoints")
  for step in (6, 12):  # as if other weights had been measured
    result = json.loads((run / f"result_{step}.json").read_text())
    (run / f"result_{step}.json").write_text(json.dumps(result | {"eval/label_top_1_accuracy": 2}))
  (run / "predictions_12.csv").write_text("")
  for path in run.glob("best/*.data*"):
    path.write_bytes(b"")
  commands.run(Config(**values))
  assert {name: (run / name).read_bytes() for name in files} == before
  assert all(path.stat().st_size for path in run.glob("best/*.data*"))


@pytest.mark.slow
def test_evaluation_ends_when_nothing_trains(simclr, monkeypatch, caplog):
  monkeypatch.setattr(evaluation, "SECONDS_TO_WAIT", 0.1)
  monkeypatch.setattr(evaluation, "SECONDS_BETWEEN_LOOKS", 0.1)
  values = {**simclr, "export_format": ""}
  commands.run(Config(**values, mode="train", train_steps=3))
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(Config(**values, mode="eval", train_steps=9))
  assert "its last checkpoint is of step 3 of 9" in caplog.text
  result = json.loads((pathlib.Path(simclr["model_dir"]) / "result_3.json").read_text())
  assert "eval/knn_accuracy" in result  # the slow measures too


@pytest.mark.slow
def test_evaluation_waits_for_a_training_that_evaluates_itself(simclr, monkeypatch):
  monkeypatch.setattr(evaluation, "SECONDS_TO_WAIT", 0.1)
  values = {**simclr, "export_format": "", "train_steps": 3}
  run = pathlib.Path(simclr["model_dir"])
  commands.run(Config(**values))
  before = sorted(path.name for path in run.iterdir())
  with RunDirectory(run).locked():
    with pytest.raises(UsageError, match="must wait for the end .* evaluates itself"):
      commands.run(Config(**{**values, "mode": "eval"}))
    assert sorted(path.name for path in run.iterdir()) == before
    commands.run(Config(**{**values, "mode": "eval", "eval_split": "test[:16]"}))
  assert len(list((run / "evaluations").iterdir())) == 1
  shutil.rmtree(run / "best")
  commands.run(Config(**{**values, "mode": "eval"}))
  assert list((run / "best").glob("*.index"))


@pytest.mark.slow
def test_a_clock_that_goes_backwards_changes_nothing(quickest, tmp_path, monkeypatch):
  values = {**quickest, "eval_every_epochs": 1, "checkpoint_steps": 2, "export_format": ""}
  run, whole = pathlib.Path(values["model_dir"]), tmp_path / "whole"
  commands.run(Config(**{**values, "model_dir": str(whole)}, train_steps=12))
  commands.run(Config(**values, train_steps=4))
  now = itertools.count(time.time(), -86400.0)
  monkeypatch.setattr(time, "time", lambda: next(now))
  commands.run(Config(**values, train_steps=12))
  assert next(now) < os.stat(run / "result.json").st_mtime - 10 * 86400  # it was asked
  assert_equal(weights(run, 12), weights(whole, 12))
  for name in ("result_6.json", "result_12.json"):
    assert (run / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_automatic_precision_is_that_of_the_beginning(quickest, monkeypatch, caplog):
  from conrec_tf.models import precision

  values = {**quickest, "mode": "train", "mixed_precision": "auto"}
  monkeypatch.setattr(precision, "_has_fast_bfloat16", lambda: False)
  commands.run(Config(**values, train_steps=1))
  stored = json.loads((pathlib.Path(quickest["model_dir"]) / "config.json").read_text())
  assert stored["mixed_precision"] == "float32"
  monkeypatch.setattr(precision, "_has_fast_bfloat16", lambda: True)
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(Config(**values, train_steps=2))
  assert "Computing in float32, as the run began" in caplog.text
  assert os.path.exists(os.path.join(quickest["model_dir"], "checkpoints/ckpt-2.index"))


def test_seeds_of_repetitions_stay_in_their_range(tmp_path):
  config = Config(
    train_mode="finetune", cv_folds=2, num_repeats=2, seed=2**31 - 1, model_dir=str(tmp_path)
  )
  folds = several._trainings(config)
  assert [fold.seed for _, fold in folds] == [2**31 - 1] * 2 + [0] * 2


def test_a_cross_validation_is_not_reported_as_one_run(tmp_path):
  config = Config(train_mode="finetune", cv_folds=2, mode="report", model_dir=str(tmp_path))
  RunDirectory(tmp_path).start(config)
  with pytest.raises(UsageError, match="folder of one training, e.g. repetition_0_fold_0"):
    commands.run(config)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
  """(settings, model_dir) of a training whose options all differ from the paper's."""
  folder = tmp_path_factory.mktemp("averaged")
  images = np.random.default_rng(0).integers(0, 256, (32, 30, 40, 3), np.uint8)
  labels = np.arange(32) % 4
  np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
  values = dict(
    TINY,
    export_format="saved_model",
    mode="train_then_eval",
    dataset="npz",
    data_dir=str(folder / "data.npz"),
    representation_levels="all",
    moving_average_decay=0.9,
    skip_connections="deep",
    contrastive_inputs="clean",
    contrastive_method="decoupled",
    optimizer="adamw",
    learning_rate=0.01,
    learning_rate_scaling="none",
    crop_min_area=0.3,
    random_flip="horizontal_and_vertical",
    random_rotation=30.0,
    standardize_embeddings=True,
  )
  commands.run(Config(**values, model_dir=str(folder / "run"), train_steps=6))
  return values, folder / "run"


@pytest.mark.slow
def test_what_is_exported_is_the_average_of_all_levels(averaged, rng):
  values, run = averaged
  images = rng.uniform(size=(3, 24, 24, 3)).astype(np.float32)
  embedding = tf.saved_model.load(str(run / "saved_model/6"))(images)
  assert embedding.shape == (3, 2 + 4)
  model = build_model(Config(**values), 3)
  load_network(resolve_checkpoint(run), model)
  np.testing.assert_allclose(embedding, model.embed(images), atol=1e-5)
  found = weights(run, 6)
  name = "{}/encoder/levels/0/0/convolution/kernel/.ATTRIBUTES/VARIABLE_VALUE"
  kernel = model.encoder.levels[0][0].convolution.kernel
  np.testing.assert_array_equal(kernel, found[name.format("average")])
  assert not np.array_equal(kernel, found[name.format("model")])


@pytest.mark.slow
def test_the_report_shows_the_average(averaged):
  values, run = averaged
  config = Config(**values, model_dir=str(run), train_steps=6)
  source = load_dataset(config)
  inspector = restore_inspector(
    config, RunDirectory(config.model_dir), source, load_eval_dataset(config, source), 6
  )
  kernel = inspector.model.encoder.levels[0][0].convolution.kernel
  name = "average/encoder/levels/0/0/convolution/kernel/.ATTRIBUTES/VARIABLE_VALUE"
  np.testing.assert_array_equal(kernel, weights(run, 6)[name])


@pytest.mark.slow
def test_the_untrained_network_is_read_at_its_strongest(averaged):
  _, run = averaged
  result = json.loads((run / "result.json").read_text())
  readings = {
    "raw": "eval/untrained_linear_top_1_accuracy",
    "standardised": "eval/untrained_standardised_linear_top_1_accuracy",
    "recomputed batch norm": "eval/untrained_recomputed_linear_top_1_accuracy",
    "recomputed batch norm, standardised": (
      "eval/untrained_recomputed_standardised_linear_top_1_accuracy"
    ),
  }
  strongest = result["eval/untrained_strongest"]
  assert strongest == max(result[name] for name in readings.values())
  assert result[readings[result["eval/untrained_strongest_reading"]]] == strongest
  assert result["eval/best_selected_by"] == "eval/standardised_linear_top_1_accuracy"


@pytest.mark.slow
def test_a_network_of_all_levels_is_finetuned_from_its_average(averaged, tmp_path):
  values, run = averaged
  command(
    *as_flags(
      dict(
        TINY,
        mode="train",
        train_mode="finetune",
        dataset="npz",
        data_dir=values["data_dir"],
        checkpoint=str(run),
        learning_rate=1e-9,
        train_steps=1,
        model_dir=str(tmp_path / "run"),
      )
    )
  )
  found, origin = weights(tmp_path / "run", 1), weights(run, 6)
  assert found["head/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"].shape == (2 + 4, 4)
  name = "{}/encoder/levels/0/0/convolution/kernel/.ATTRIBUTES/VARIABLE_VALUE"
  np.testing.assert_allclose(found[name.format("model")], origin[name.format("average")], atol=1e-6)


@pytest.mark.slow
def test_an_evaluation_that_fails_loses_no_step_and_is_made_up_for(tmp_path, rng, monkeypatch):
  images = rng.integers(0, 256, (16, 24, 24, 1), np.uint8)
  labels = np.arange(16) % 2
  np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
  values = dict(
    SIMCLR,
    dataset="npz",
    data_dir=str(tmp_path / "data.npz"),
    train_steps=4,
    eval_every_epochs=1,
    checkpoint_steps=100,
    mixed_precision="float32",
  )
  whole, run = tmp_path / "whole", tmp_path / "run"
  commands.run(Config(**values, model_dir=str(whole)))
  save = Results.save
  for failing in (2, 4):

    def save_or_fail(results, step, *args, failing=failing, **kwargs):
      if step == failing:
        raise UsageError("what is measured must be there. Received: nothing")
      return save(results, step, *args, **kwargs)

    monkeypatch.setattr(Results, "save", save_or_fail)
    with pytest.raises(UsageError, match="Received: nothing"):
      commands.run(Config(**values, model_dir=str(run)))
    assert resolve_checkpoint(run).step == failing
  monkeypatch.undo()
  commands.run(Config(**values, model_dir=str(run)))
  assert_equal(weights(run, 4), weights(whole, 4))
  for name in ("result_0.json", "result_2.json", "result_4.json", "result.json"):
    assert (run / name).read_text() == (whole / name).read_text()


@pytest.mark.slow
def test_what_is_written_below_the_data_is_no_data(tmp_path, rng, monkeypatch, caplog):
  for index in range(24):
    path = tmp_path / ("odd" if index % 2 else "even") / f"{index:02}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
  monkeypatch.chdir(tmp_path)
  values = dict(SIMCLR, dataset="image_folder", data_dir=".")
  page = Config(**{**values, "report": True}, mode="check_data")
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(page)
    commands.run(Config(**values, mode="train", train_steps=2))
    assert len(list(tmp_path.glob("runs/*/data/*.png"))) > 1  # the page's pictures
    caplog.clear()
    for steps in (2, 3):
      commands.run(Config(**values, mode="train", train_steps=steps))
    assert caplog.text.count("Passed over 1 folders that runs of this program have left") == 2
    assert "Continuing from step 2" in caplog.text
    caplog.clear()
    commands.run(page)
  assert "Passed over 1 folders" in caplog.text
  assert len(load_dataset(Config(**values, train_split="train+test")).train.names) == 24
