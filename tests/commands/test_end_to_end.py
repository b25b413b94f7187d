"""The command as a user runs it, on a slice of the embedded data."""

import json
import pathlib
import re
import signal
import subprocess
import sys

from command_line import ROOT, as_flags, cold_command, command, start
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf


def test_help_explains_every_flag_without_tensorflow():
  done = cold_command("--help")
  assert done.returncode == 1  # as absl's
  for text in (
    "Optimization: Length of training, batch size, optimizer and learning rate.",
    "--temperature: Temperature of the contrastive loss. Paper: 0.5.",
    "Pooling of features to an embedding. (default: attention)\n      attention: by a mean",
  ):
    assert text in done.stdout
  code = (
    "import sys; sys.argv = ['run.py', '--help']; import run\n"
    "try: run.main()\nexcept SystemExit: print('tensorflow' in sys.modules)"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.endswith("False\n")


def test_train_then_eval_leaves_results_and_a_saved_model(tiny):
  model_dir = pathlib.Path(tiny["model_dir"])
  done = cold_command(
    *as_flags(tiny),
    "--train_steps=7",
    "--eval_every_epochs=1",
    "--log_steps=2",
    "--bootstrap_samples=0",
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  assert "step 7/7" in done.stdout
  *_, summary = done.stdout.partition("Step 7: ")
  summary = [line for line in summary.splitlines() if re.search(r"  step \d+", line)]
  assert len(summary) <= 7 and "untrained, strongest" in summary[0]
  assert max(map(len, summary)) < 80
  assert "untrained standardised linear" not in done.stdout  # in result.json
  rows = [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]
  assert [row["global_step"] for row in rows if "train/total_loss" in row] == [2, 4, 6, 7]
  assert [row["global_step"] for row in rows if "eval/linear_top_1_accuracy" in row] == [6, 7]
  # Training doesn't wait for the untrained network.
  assert [row["global_step"] for row in rows if "eval/untrained_strongest" in row] == [0]
  assert rows[0]["global_step"] == 2
  result = json.loads((model_dir / "result.json").read_text())
  assert result["global_step"] == 7 and result["eval/best_step"] in (6, 7)
  assert {
    "eval/linear_top_1_accuracy",
    "eval/best_standardised_linear_top_1_accuracy",
    "eval/untrained_linear_top_1_accuracy",
    "eval/untrained_standardised_linear_top_1_accuracy",
  } <= set(result)
  assert {path.name for path in (model_dir / "checkpoints").glob("*.index")} == {
    *("ckpt-6.index", "ckpt-7.index")  # one before each evaluation
  }
  loaded = tf.saved_model.load(str(model_dir / "saved_model/7"))
  assert loaded(np.zeros([2, 24, 24, 1], np.float32)).shape == (2, 2 * (2 + 4))


@pytest.mark.slow
def test_a_run_continues_and_its_flagfile_repeats_it(simclr):
  model_dir = pathlib.Path(simclr["model_dir"])
  flags = as_flags({**simclr, "export_format": "", "eval_every_epochs": 1, "log_steps": 2})
  done = command(*flags, "--train_steps=7")
  assert done.returncode == 0, done.stderr
  result = json.loads((model_dir / "result.json").read_text())
  # The same command again trains no more; a longer one continues.
  done = command(*flags, "--train_steps=7")
  assert done.returncode == 0 and "Nothing to train: step 7 of 7" in done.stdout
  assert json.loads((model_dir / "result.json").read_text()) == result
  done = command(*flags, "--train_steps=9")
  assert done.returncode == 0 and "Continuing from step 7" in done.stdout

  # Without an interruption it comes to the same numbers, from the flags that the run left.
  again = model_dir.with_name("again")
  done = command(f"--flagfile={model_dir / 'flags.cfg'}", f"--model_dir={again}")
  assert done.returncode == 0, done.stderr
  for name in ("result_6.json", "result_9.json"):
    assert (again / name).read_text() == (model_dir / name).read_text()
  assert_same_variables(again, model_dir, 9)


def assert_same_variables(first, second, step):
  """Compares the checkpoints of two runs to the bit."""
  values = [
    tf.train.load_checkpoint(str(path / f"checkpoints/ckpt-{step}")) for path in (first, second)
  ]
  names = [
    name
    for name in values[0].get_variable_to_shape_map()
    if "VARIABLE_VALUE" in name and name.split("/")[0] != "save_counter" and "waited" not in name
  ]
  assert len(names) > 50
  for name in names:
    np.testing.assert_array_equal(values[0].get_tensor(name), values[1].get_tensor(name), name)


def test_training_alone_evaluates_nothing(quickest):
  done = command(*as_flags(quickest), "--mode=train", "--train_steps=2")
  assert done.returncode == 0, done.stderr
  left = {
    path.name.split(".")[0] or path.name for path in pathlib.Path(quickest["model_dir"]).iterdir()
  }
  assert left == {
    ".conrec_tf",
    "checkpoints",
    "class_names",
    "config",
    "events",
    "flags",
    "images",
    "lock",
    "metrics",
    "processes",
  }


@pytest.mark.slow
def test_sigterm_saves_and_nobody_else_trains_meanwhile(quickest):
  flags = [*as_flags(quickest), "--mode=train", "--checkpoint_steps=1000000", "--log_steps=1"]
  process = start(*flags, "--train_steps=1000000")
  next(line for line in process.stdout if line.startswith("step "))
  done = command(*flags, "--train_steps=1000000")
  assert done.returncode == 1 and f"in use by process {process.pid} on " in done.stderr
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate()
  assert process.returncode == 143
  step = int(
    re.fullmatch(
      r"Stopped by SIGTERM after step (\d+); the same command continues.\n", errors
    ).group(1)
  )
  done = command(*flags, f"--train_steps={step + 1}")
  assert done.returncode == 0 and f"Continuing from step {step}" in done.stdout


@pytest.mark.slow
def test_unlabelled_folder_is_checked_trained_and_exported(tmp_path, rng):
  """From a look at a folder, one image of it bad, to a SavedModel."""
  for index in range(30):
    pixels = rng.integers(0, 256, (26, 30, 3)).astype(np.uint8)
    (tmp_path / "images").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(tmp_path / f"images/{index}.png")
  (tmp_path / "images/7.png").write_bytes(b"")
  flags = as_flags(
    dict(
      dataset="image_folder",
      data_dir=tmp_path / "images",
      image_size=24,
      base_filters=2,
      unet_depth=2,
      local_crops=0,
      train_batch_size=8,
      report=False,
    )
  )
  done = command("--mode=check_data", *flags)
  assert done.returncode == 0, done.stderr
  for text in ("train: 26 images", "test: 3 images", "3 in 26", "classes    none", "7.png: "):
    assert text in done.stdout
  assert [path.name for path in tmp_path.iterdir()] == ["images"]

  done = command(*flags, f"--model_dir={tmp_path / 'run'}", "--train_steps=3")
  assert done.returncode == 0, done.stderr
  result = json.loads((tmp_path / "run/result.json").read_text())
  assert {
    "eval/total_loss",
    "eval/contrast_loss",
    "eval/reconstruction_loss",
    "eval/untrained_total_loss",
    "eval/best_total_loss",
  } <= set(result)
  assert not any("linear" in name for name in result)
  assert "7.png: " in (tmp_path / "run/bad_images.txt").read_text()
  assert (tmp_path / "run/saved_model/3").is_dir()

  done = command("--train_mode=finetune", *flags, f"--model_dir={tmp_path / 'head'}")
  assert done.returncode == 1 and "dataset must have labels" in done.stderr


@pytest.mark.slow
def test_slices_of_volumes_are_checked_trained_continued_and_embedded(tmp_path, rng):
  nibabel = pytest.importorskip("nibabel")
  for label in "ab":
    folder = tmp_path / "scans" / label
    folder.mkdir(parents=True)
    for number in range(6):
      volume = rng.integers(0, 4096, (26, 30, 4)).astype(np.int16)
      nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / f"{label}{number}.nii.gz")
  (tmp_path / "scans/a/a9.nii.gz").write_bytes(b"nothing")
  flags = as_flags(
    dict(
      dataset="image_folder",
      data_dir=tmp_path / "scans",
      dicom_frames="all",
      image_size=24,
      base_filters=2,
      unet_depth=2,
      local_crops=0,
      train_batch_size=8,
      mixed_precision="float32",
      learning_rate_schedule="constant",
      export_format="",
      report=False,
      bootstrap_samples=0,
    )
  )
  done = command("--mode=check_data", *flags)
  assert done.returncode == 0, done.stderr
  assert "12 files of several images are 48 images" in done.stdout + done.stderr
  assert "a9.nii.gz: no NIfTI file" in done.stdout and ".nii.gz" in done.stdout
  runs = [tmp_path / "interrupted", tmp_path / "straight"]
  for run, steps, mode in (
    (runs[0], 4, "train"),
    (runs[0], 7, "train_then_eval"),
    (runs[1], 7, "train"),
  ):
    done = command(*flags, f"--model_dir={run}", f"--train_steps={steps}", f"--mode={mode}")
    assert done.returncode == 0, done.stderr
  assert_same_variables(*runs, 7)
  assert "eval/linear_top_1_accuracy" in json.loads((runs[0] / "result.json").read_text())
  done = command("--mode=embed", *flags, f"--model_dir={runs[0]}")
  assert done.returncode == 0, done.stderr
  embedded = "".join(path.read_text() for path in runs[0].rglob("*.csv"))
  for label in "ab":
    assert f",{label}/{label}0.nii.gz/0003," in embedded
  predictions = next(runs[0].rglob("predictions*.csv")).read_text().splitlines()
  assert predictions[0].startswith("image,group,")
  for line in predictions[1:]:
    image, group = line.split(",")[:2]
    assert image.rpartition("/")[0] == group


def presets(*names):
  return [f"--flagfile={name}.cfg" for name in names]


def run_presets(names, scale, *flags):
  """Runs presets at a tiny scale; returns (stdout, result.json)."""
  done = command(
    *presets(*names),
    *as_flags(scale),
    "--train_steps=2",
    "--eval_every_epochs=0",
    "--export_format=",
    *flags,
  )
  assert done.returncode == 0, done.stderr
  result = json.loads((pathlib.Path(scale["model_dir"]) / "result.json").read_text())
  assert all(np.isfinite(value) for value in result.values() if isinstance(value, float))
  return done.stdout, result


@pytest.mark.slow
@pytest.mark.parametrize(
  "method", ["conrec_ga_pool", "simclr", "simclr_attention", "reconstruction"]
)
def test_each_method_is_trained_and_evaluated(tiny, method):
  stdout, result = run_presets(["rectangle_triangle", method], tiny)
  assert f": {method} on rectangle_triangle" in stdout
  assert {"eval/linear_top_1_accuracy", "eval/knn_accuracy"} <= set(result)


@pytest.mark.slow
def test_pretrained_network_is_evaluated_and_finetuned(tiny, tmp_path):
  """ConRec, its evaluation again, and a head, first on the frozen then on the free network."""
  pretrained = tiny["model_dir"]
  _, result = run_presets(
    ["circles_square", "conrec"],
    {**tiny, "dataset": "rectangle_triangle"},
    "--lineareval_while_pretraining",
    "--warmup_epochs=0.1",
    "--learning_rate_schedule=cosine",
    "--select_best_on=validation",
  )
  assert {"eval/label_top_1_accuracy", "eval/validation_linear_top_1_accuracy"} <= set(result)
  assert result["eval/best_selected_by"] == "eval/validation_linear_top_1_accuracy"

  done = command(
    "--mode=eval",
    f"--model_dir={pretrained}",
    "--label_fractions=0.25,1.0",
    "--num_repeats=2",
    "--jit_compile",  # as a run on a GPU has it
  )
  assert done.returncode == 0, done.stderr
  again = json.loads((pathlib.Path(pretrained) / "result.json").read_text())
  assert [row["labels"] for row in again.pop("eval/label_fractions")] == [12, 48]
  assert again.pop("evaluated_with")["label_fractions"] == "0.25,1"
  assert not result.pop("evaluated_with")["label_fractions"]
  assert again == result

  scale = {**tiny, "checkpoint": pretrained, "dataset": "rectangle_triangle"}
  stdout, head = run_presets(
    ["oxford_flowers102_linear_head", "conrec"],
    {**scale, "model_dir": tmp_path / "head", "fine_tune_after_block": 2},
  )
  assert "finetune on rectangle_triangle" in stdout and "Network from" in stdout
  assert {"eval/label_top_1_accuracy", "eval/best_label_top_1_accuracy"} <= set(head)
  reader = tf.train.load_checkpoint
  before = reader(f"{pretrained}/checkpoints/ckpt-2")
  after = reader(f"{tmp_path}/head/checkpoints/ckpt-2")
  names = [
    name
    for name in before.get_variable_to_shape_map()
    if name.startswith(("model/encoder", "model/pooling"))
    and "VARIABLE_VALUE" in name
    and "OPTIMIZER_SLOT" not in name
  ]
  assert len(names) > 20
  for name in names:
    np.testing.assert_array_equal(before.get_tensor(name), after.get_tensor(name), name)

  run_presets(
    ["conrec"],
    {
      **scale,
      "model_dir": tmp_path / "free",
      "train_mode": "finetune",
      "fine_tune_after_block": 1,
      "ft_proj_selector": 2,
    },
  )


@pytest.mark.slow
def test_exported_network_is_evaluated_and_embeds_elsewhere(tiny, tmp_path):
  """Trained, exported best, and that SavedModel evaluated and used elsewhere."""
  done = command(
    *as_flags(tiny), "--train_steps=12", "--eval_every_epochs=1", "--export_checkpoint=best"
  )
  assert done.returncode == 0, done.stderr
  run = pathlib.Path(tiny["model_dir"])
  best = json.loads((run / "result.json").read_text())["eval/best_step"]
  exported = run / f"saved_model/{best}"
  result = json.loads((run / f"result_{best}.json").read_text())
  metadata = json.loads((exported / "assets/metadata.json").read_text())
  assert metadata["result"] == result and metadata["global_step"] == best

  data = as_flags({name: tiny[name] for name in ("data_dir", "train_split", "eval_split")})
  done = command(
    "--mode=eval", f"--checkpoint={exported}", f"--model_dir={tmp_path / 'eval'}", *data
  )
  assert done.returncode == 0, done.stderr
  again = json.loads((tmp_path / f"eval/result_{best}.json").read_text())
  assert again["eval/linear_top_1_accuracy"] == result["eval/linear_top_1_accuracy"]
  assert "untrained" not in done.stdout

  done = command("--mode=export", f"--model_dir={run}", "--export_format=tflite")
  assert done.returncode == 0 and done.stderr == ""
  assert (run / f"tflite/{best}.tflite").exists()  # as the run says
  done = command(
    "--mode=embed", f"--checkpoint={exported}", f"--model_dir={tmp_path / 'there'}", *data
  )
  assert done.returncode == 0 and done.stderr == ""
  assert "72 images in " in done.stdout


@pytest.mark.slow
def test_supervised_unet_trains_from_scratch(flowers, tmp_path):
  scale = {**flowers, "eval_split": "test", "model_dir": tmp_path / "run"}
  done = command(
    *presets("oxford_flowers102_supervised", "supervised_unet"), *as_flags(scale), "--train_steps=2"
  )
  assert done.returncode == 0, done.stderr
  assert "supervised_unet on tiny_flowers, 36 training images" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
  "names",
  [("stanford_dogs_supervised", "supervised_densenet121"), ("stanford_dogs", "simclr")],
)
def test_stanford_dogs_presets_train(tmp_path, names):
  """On random images with the true dataset's features and classes."""
  scale = dict(
    data_dir=tmp_path / "tfds",
    model_dir=tmp_path / "run",
    image_size=32,
    base_filters=2,
    local_crops=0,
    train_batch_size=4,
    train_steps=2,
    report=False,
  )
  script = ROOT / "tests/tfds_sets/mock_dogs.py"
  done = command(*presets(*names), *as_flags(scale), script=script)
  assert done.returncode == 0, done.stderr
  assert " on stanford_dogs" in done.stdout
  assert (tmp_path / "run/saved_model/2").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
  "names, left",
  [
    (("aptos2019", "conrec"), {"result.json", "flags.cfg"}),
    (
      ("aptos2019_supervised", "supervised_unet"),
      {"result.json", "flags.cfg", "repetition_0_fold_0", "repetition_0_fold_1"},
    ),
  ],
)
def test_aptos2019_presets_are_cross_validated(kaggle, tmp_path, names, left):
  scale = dict(
    data_dir=kaggle,
    model_dir=tmp_path / "run",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    local_crops=0,
    train_batch_size=4,
    cv_folds=2,
    num_repeats=1,
    report="supervised" not in names[1],
  )
  stdout, result = run_presets(names, scale)
  assert left <= {path.name for path in (tmp_path / "run").iterdir()}
  kappas = [name for name in result if name.endswith("quadratic_weighted_kappa")]
  assert kappas and all(-1 <= result[name] <= 1 for name in kappas)


@pytest.mark.slow
def test_densenet_with_weights_from_a_file_is_evaluated(tiny, tmp_path):
  network = tf.keras.applications.DenseNet121(include_top=False, weights=None)
  network.save_weights(tmp_path / "densenet.h5")
  _, result = run_presets(
    ["rectangle_triangle", "densenet121_imagenet"],
    {**tiny, "image_size": 32, "encoder_weights": tmp_path / "densenet.h5"},
  )
  assert "eval/knn_accuracy" in result and not any("untrained" in name for name in result)


@pytest.mark.parametrize(
  "flags, message",
  [
    (["--no_such_flag=1"], "Unknown command line flag 'no_such_flag'"),
    (["--resnet_depth=50"], "Use --unet_depth."),
    (
      ["--mode=dance"],
      "mode must be one of train, train_then_eval, eval, report, verdict, embed, explore, predict, "
      "segment, export, check_data. Received: 'dance'",
    ),
    (["--train_epochs=many"], "flag --train_epochs=many: invalid literal"),
    (["--train_epochs=0"], "train_epochs must be at least 1. Received: 0"),
    (["--image_size=50"], "image_size must be a multiple of 8 for unet_depth=4. Received: 50"),
    (
      ["--contrastive_weight=0", "--reconstruction_weight=0"],
      "contrastive_weight or reconstruction_weight must be positive without a teacher. "
      "Received: 0 and 0",
    ),
    (["--flagfile=nowhere.cfg"], "nowhere.cfg"),
    (["--flagfile", "nowhere.cfg"], "nowhere.cfg"),
    (["trian"], "arguments must be flags such as --mode=train. Received: trian"),
    (["--dataset=no_such_data"], "Received: no_such_data"),
    (["--train_split=trane"], "train_split must be made of test, train"),
    (["--train_batch_size=1001"], "train_batch_size must be at most 1000"),
    (["--label_fractions=0.1,two"], "label_fractions must be numbers above 0 and up to 1"),
    (["--checkpoint=runs/a"], "checkpoint must be a model_dir with a checkpoint in it"),
    (["--mode=embed"], "model_dir or checkpoint must be a model_dir with a checkpoint in it"),
    (
      ["--export_format=onnx,caffe"],
      "export_format must be made of saved_model, onnx, tflite. Received: onnx,caffe",
    ),
    (["--train_mode=finetune", "--checkpoint=nowhere"], "checkpoint must be a model_dir with a"),
    (["--train_mode=finetune", "--fine_tune_after_block=5"], "must be at most 4"),
    (["--encoder=densenet121"], "reconstruction_weight must be 0 for encoder=densenet121"),
    (
      ["--encoder=densenet121", "--reconstruction_weight=0", "--encoder_weights=no.h5"],
      "encoder_weights must be imagenet, with densenet121_weights_tf_dim_ordering",
    ),
    (["--mode=eval"], "model_dir must be the folder of a run, for mode=eval"),
    (
      ["--train_mode=finetune", "--cv_folds=100", "--train_split=train[:6%]"],
      "cv_folds must be at most 60, the labelled images. Received: 100",
    ),
  ],
)
def test_bad_input_is_one_line(data_dir, tmp_path, flags, message):
  done = command(f"--data_dir={data_dir}", f"--model_dir={tmp_path / 'run'}", *flags)
  assert done.returncode == 1
  assert message in done.stderr and done.stderr.startswith("Error: ")
  assert done.stderr.count("\n") == 1, done.stderr
  assert list(tmp_path.iterdir()) == []
