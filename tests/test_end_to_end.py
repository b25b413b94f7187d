"""The command as a user runs it, on a slice of the embedded data."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parent.parent


def command(*flags, cwd=ROOT):
  return subprocess.run([sys.executable, str(ROOT / "run.py"), *flags], cwd=cwd,
                        capture_output=True, text=True)


def as_flags(values):
  return [f"--{name}={value}" for name, value in values.items()]


def test_help_explains_every_flag_without_tensorflow():
  done = command("--help")
  assert done.returncode == 1  # as absl's
  for text in ("Optimization: How long, how fast.", "--temperature: Temperature of NT-Xent.",
               "One of attention, average. (default: attention)"):
    assert text in done.stdout
  code = ("import sys; sys.argv = ['run.py', '--help']; import run\n"
          "try: run.cli.main(run.run)\nexcept SystemExit: print('tensorflow' in sys.modules)")
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.endswith("False\n")


def test_train_then_eval_continue_and_repeat(tiny):
  model_dir = pathlib.Path(tiny["model_dir"])
  done = command(*as_flags(tiny), "--train_steps=7", "--eval_every_epochs=1", "--log_steps=2")
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  assert "step 7/7" in done.stdout and "untrained, standardised" in done.stdout
  rows = [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]
  assert [row["global_step"] for row in rows if "train/total_loss" in row] == [2, 4, 6, 7]
  assert [row["global_step"] for row in rows if "eval/linear_top_1_accuracy" in row] == [6, 7]
  result = json.loads((model_dir / "result.json").read_text())
  assert result["global_step"] == 7 and result["eval/best_step"] in (6, 7)
  assert {"eval/linear_top_1_accuracy", "eval/best_linear_top_1_accuracy",
          "eval/untrained_linear_top_1_accuracy",
          "eval/untrained_standardised_linear_top_1_accuracy"} <= set(result)
  assert {path.name for path in (model_dir / "checkpoints").glob("*.index")} == {"ckpt-7.index"}
  loaded = tf.saved_model.load(str(model_dir / "saved_model/7"))
  assert loaded(np.zeros([2, 24, 24, 1], np.float32)).shape == (2, 8)

  # The same command again trains no more; a longer one continues.
  done = command(*as_flags(tiny), "--train_steps=7", "--eval_every_epochs=1", "--log_steps=2")
  assert done.returncode == 0 and "Nothing to train: step 7 of 7" in done.stdout
  assert json.loads((model_dir / "result.json").read_text()) == result
  done = command(*as_flags(tiny), "--train_steps=9", "--eval_every_epochs=1", "--log_steps=2")
  assert done.returncode == 0 and "Continuing from step 7" in done.stdout

  # Without an interruption it comes to the same numbers, from the flags that the run left.
  again = model_dir.with_name("again")
  done = command(f"--flagfile={model_dir / 'flags.cfg'}", f"--model_dir={again}")
  assert done.returncode == 0, done.stderr
  for name in ("result_6.json", "result_9.json"):
    assert (again / name).read_text() == (model_dir / name).read_text()
  values = [tf.train.load_checkpoint(str(path / "checkpoints/ckpt-9"))
            for path in (model_dir, again)]
  names = [name for name in values[0].get_variable_to_shape_map() if "VARIABLE_VALUE" in name
           and name.split("/")[0] != "save_counter" and "waited" not in name]
  assert len(names) > 100
  for name in names:
    np.testing.assert_array_equal(values[0].get_tensor(name), values[1].get_tensor(name), name)


def test_training_alone_evaluates_nothing(tiny):
  done = command(*as_flags(tiny), "--mode=train", "--train_steps=2",
                 "--reconstruction_weight=0", "--corruption=none", "--pooling=average")
  assert done.returncode == 0, done.stderr
  left = {path.name.split(".")[0] for path in pathlib.Path(tiny["model_dir"]).iterdir()}
  assert left == {"checkpoints", "config", "events", "flags", "metrics"}


@pytest.mark.parametrize("flags, message", [
    (["--no_such_flag=1"], "Unknown command line flag 'no_such_flag'"),
    (["--resnet_depth=50"], "Use --unet_depth."),
    (["--mode=dance"], "mode must be one of train, train_then_eval. Received: 'dance'"),
    (["--train_epochs=many"], "flag --train_epochs=many: invalid literal"),
    (["--train_epochs=0"], "train_epochs must be at least 1. Received: 0"),
    (["--image_size=50"], "image_size must be a multiple of 8 for unet_depth=4. Received: 50"),
    (["--contrastive_weight=0", "--reconstruction_weight=0"],
     "contrastive_weight or reconstruction_weight must be positive. Received: 0 and 0"),
    (["--flagfile=nowhere.cfg"], "nowhere.cfg"),
    (["trian"], "arguments must be flags such as --mode=train. Received: trian"),
    (["--dataset=no_such_data"], "Received: no_such_data"),
    (["--train_split=trane"], "train_split must be made of test, train"),
    (["--train_batch_size=1001"], "train_batch_size must be at most 1000"),
])
def test_bad_input_is_one_line(data_dir, tmp_path, flags, message):
  done = command(f"--data_dir={data_dir}", f"--model_dir={tmp_path / 'run'}", *flags)
  assert done.returncode == 1
  assert message in done.stderr and done.stderr.startswith("Error: ")
  assert done.stderr.count("\n") == 1, done.stderr
  assert list(tmp_path.iterdir()) == []
