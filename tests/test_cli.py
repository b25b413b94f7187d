"""What the command line understands, without a training."""

import json
import re
import subprocess
import sys

from command_line import ROOT
import pytest

from conrec_tf.cli import USE_INSTEAD
from conrec_tf.config import Config
from conrec_tf.config.options.table import OPTIONS

PRINT_CONFIG = """
import json, sys
from conrec_tf import cli, commands
commands.command = lambda config: lambda config: print(json.dumps(config.settings))
sys.argv = ["run.py", *sys.argv[1:]]
cli.main()
"""


def parse(*flags, cwd=ROOT):
  """Returns the process of a command that only prints its options."""
  return subprocess.run(
    [sys.executable, "-c", PRINT_CONFIG, *map(str, flags)],
    cwd=cwd,
    capture_output=True,
    text=True,
    env={"PYTHONPATH": str(ROOT), "PATH": ""},
  )


@pytest.mark.parametrize("flags", [["--flagfile=simclr.cfg"], ["--flagfile", "simclr.cfg"]])
def test_a_preset_is_found_by_its_name_anywhere(tmp_path, flags):
  done = parse(*flags, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert '"corruption": "none"' in done.stdout and '"pooling": "average"' in done.stdout


def test_a_file_of_the_same_name_comes_before_a_preset(tmp_path):
  (tmp_path / "simclr.cfg").write_text("--temperature=0.25\n")
  done = parse("--flagfile=simclr.cfg", cwd=tmp_path)
  assert '"temperature": 0.25' in done.stdout and '"pooling": "attention"' in done.stdout


def test_flags_after_a_preset_change_it(tmp_path):
  done = parse("--flagfile=simclr.cfg", "--pooling=attention", cwd=tmp_path)
  assert '"pooling": "attention"' in done.stdout and '"corruption": "none"' in done.stdout


def test_a_flagfile_that_is_not_there_is_refused_in_a_line(tmp_path):
  done = parse("--flagfile=simclr", cwd=tmp_path)
  assert done.returncode == 1 and done.stderr == (
    "Error: flagfile must be a file that can be read or, on the command line, the name of a preset "
    "such as simclr.cfg (No such file or directory). Received: simclr\n"
  )


def test_settings_of_a_run_are_read_only_where_its_folder_is_given(tmp_path):
  """A config.json that happens to lie in the current folder is no run's."""
  stored = {"temperature": 0.25, "seeds": "0,1", "of_a_later_state": 1}
  (tmp_path / "config.json").write_text(json.dumps(stored))
  done = parse("--mode=eval", cwd=tmp_path)
  assert done.returncode == 0 and '"temperature": 0.2' in done.stdout, done.stderr
  done = parse("--mode=report", f"--model_dir={tmp_path}", cwd=tmp_path)
  assert done.returncode == 0 and '"temperature": 0.25' in done.stdout, done.stderr
  assert '"seeds": "0,1"' in done.stdout
  done = parse("--mode=report", f"--model_dir={tmp_path}", "--temperature=0.3", cwd=tmp_path)
  assert '"temperature": 0.3' in done.stdout


def test_the_data_of_a_run_is_checked_in_its_folder_unless_other_data_is_named(tmp_path):
  stored = Config(dataset="npz", data_dir="a.npz", image_size=36, unet_depth=3, seeds="0,1")
  (tmp_path / "config.json").write_text(json.dumps(stored.settings))
  check = ["--mode=check_data", f"--model_dir={tmp_path}"]
  for flags, expected in (
    ([], ("npz", "a.npz", 36, "")),
    (["--data_dir=b.npz"], ("npz", "b.npz", 36, "")),
    (["--dataset=circles_square"], ("circles_square", "", 64, "")),
  ):
    found = json.loads(parse(*check, *flags).stdout)
    names = "dataset", "data_dir", "image_size", "seeds"
    assert tuple(found[name] for name in names) == expected


def test_other_data_than_a_runs_lies_elsewhere_where_it_is_of_another_kind(tmp_path):
  run = ["--mode=eval", f"--model_dir={tmp_path}"]
  for stored, flags, expected in (
    ("image_folder", ["--dataset=circles_square"], ""),
    ("image_folder", ["--dataset=circles_square", "--data_dir=b"], "b"),
    ("image_folder", ["--dataset=webdataset"], "a"),
    ("circles_square", ["--dataset=oxford_flowers102"], "a"),
    ("circles_square", [], "a"),
  ):
    settings = Config(dataset=stored, data_dir="a").settings
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert json.loads(parse(*run, *flags).stdout)["data_dir"] == expected


def test_the_size_that_a_network_is_read_at_goes_with_its_own_image_size(tmp_path):
  settings = Config(image_size=32, eval_image_size=48).settings
  (tmp_path / "config.json").write_text(json.dumps(settings))
  run = ["--mode=eval", f"--model_dir={tmp_path}"]
  for flags, sizes in (
    ([], (32, 48)),
    (["--image_size=40"], (40, 0)),
    (["--image_size=40", "--eval_image_size=56"], (40, 56)),
  ):
    found = json.loads(parse(*run, *flags).stdout)
    assert (found["image_size"], found["eval_image_size"]) == sizes


def test_the_order_of_a_runs_labels_is_not_asked_of_other_images_to_predict(tmp_path):
  settings = Config(label_order="none,mild", ordinal_labels=True).settings
  (tmp_path / "config.json").write_text(json.dumps(settings))
  run = ["--mode=predict", f"--model_dir={tmp_path}"]
  for flags, expected in (([], ("none,mild", True)), (["--dataset=npz"], ("", False))):
    found = json.loads(parse(*run, *flags).stdout)
    assert (found["label_order"], found["ordinal_labels"]) == expected


def test_a_split_that_is_asked_for_comes_before_the_folds_of_a_run(tmp_path):
  run = ["--mode=eval", f"--model_dir={tmp_path}"]
  for stored in ({"train_mode": "finetune", "cv_fold": "0/5"}, {"cv_folds": 5}):
    (tmp_path / "config.json").write_text(json.dumps(stored))
    in_folds = json.loads(parse(*run, cwd=tmp_path).stdout)
    assert {name: in_folds[name] for name in stored} == stored
    measured = json.loads(parse(*run, "--eval_split=val", cwd=tmp_path).stdout)
    assert (measured["eval_split"], measured["cv_fold"], measured["cv_folds"]) == ("val", "", 0)
  flags = ["--eval_split=val", "--cv_folds=4"]
  assert json.loads(parse(*run, *flags, cwd=tmp_path).stdout)["cv_folds"] == 4
  several = {"train_mode": "finetune", "cv_folds": 5}
  (tmp_path / "config.json").write_text(json.dumps(several))
  assert json.loads(parse(*run, "--eval_split=val", cwd=tmp_path).stdout)["cv_folds"] == 5


@pytest.fixture
def networks(tmp_path):
  """A run that counts raw embeddings, and one that began from it with a size of its own."""
  first, second = tmp_path / "first", tmp_path / "second"
  for path, values in (
    (first, dict(image_size=32, standardize_embeddings=False)),
    (second, dict(image_size=40, checkpoint=str(first))),
  ):
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints/ckpt-5.index").touch()
    (path / "config.json").write_text(json.dumps(Config(**values).settings))
  return first, second


def test_a_network_tells_classes_by_its_own_reading(networks, tmp_path):
  network = f"--checkpoint={networks[0]}"
  for mode, model_dir, flags, standardise in (
    ("predict", tmp_path / "new", [], False),
    ("export", tmp_path / "new", ["--standardize_embeddings"], True),
    ("embed", networks[1], [], True),  # where an evaluation may have kept a classifier
    ("train", tmp_path / "new", [], True),
  ):
    done = parse(f"--mode={mode}", network, f"--model_dir={model_dir}", *flags)
    assert json.loads(done.stdout)["standardize_embeddings"] == standardise, mode


def test_a_network_segments_as_it_was_measured(tmp_path):
  (tmp_path / "run/checkpoints").mkdir(parents=True)
  (tmp_path / "run/checkpoints/ckpt-5.index").touch()
  own = dict(train_mode="segment", tile_size=128, test_time_flips=True, image_size=40)
  settings = Config(**own, dataset="image_folder").settings
  (tmp_path / "run/config.json").write_text(json.dumps(settings))
  run = ["--mode=segment", f"--checkpoint={tmp_path}/run", f"--model_dir={tmp_path}/masks"]
  for flags, flips in (([], True), (["--notest_time_flips"], False)):
    found = json.loads(parse(*run, "--dataset=image_folder", *flags).stdout)
    assert (found["tile_size"], found["test_time_flips"]) == (128, flips)
    assert (found["image_size"], found["train_mode"]) == (40, "pretrain")


def test_a_network_is_read_as_it_says_also_beside_what_began_from_it(networks):
  run = [f"--checkpoint={networks[0]}", f"--model_dir={networks[1]}"]
  for mode, size in (("embed", 32), ("eval", 32), ("train", 40), ("report", 40)):
    assert json.loads(parse(f"--mode={mode}", *run).stdout)["image_size"] == size, mode


@pytest.mark.parametrize("flag", ["--help", "-h", "-?"])
def test_help_names_the_program_as_it_was_called(flag, tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "conrec_tf", flag],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    env={"PYTHONPATH": str(ROOT), "PATH": ""},
  )
  assert "\n  python -m conrec_tf --mode=eval " in done.stdout and "run.py" not in done.stdout
  lines = done.stdout.splitlines()
  first = next(number for number, line in enumerate(lines) if line.startswith("A --flagfile"))
  presets = lines[first : lines.index("", first)]
  assert presets[-1].endswith("teacher.") and all(len(line) <= 88 for line in presets)


def test_help_may_be_cut_off():
  done = subprocess.run(
    f"{sys.executable} run.py --help | head -1",
    shell=True,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.stdout.startswith("ConRec") and done.stderr == ""


@pytest.mark.parametrize(
  "flag, instead",
  [
    ("--tpu_name=a", "Use --strategy, for GPUs and processors; TPUs are not supported."),
    ("--norecompute", "Use --gradient_checkpointing."),
  ],
)
def test_an_unknown_flag_is_refused_with_what_to_use(tmp_path, flag, instead):
  done = parse(flag, cwd=tmp_path)
  assert done.returncode == 1 and done.stderr.endswith(f"{instead}\n")


def test_flags_of_an_earlier_run_are_read(tmp_path):
  (tmp_path / "flags.cfg").write_text("--temperature=0.25\n--tpu_name=\n")
  done = parse("--flagfile=flags.cfg", cwd=tmp_path)
  assert done.returncode == 0 and '"temperature": 0.25' in done.stdout, done.stderr


def test_what_is_used_instead_of_an_unknown_flag_is_one():
  for unknown, instead in USE_INSTEAD.items():
    assert unknown not in OPTIONS
    assert re.match(r"--(\w+)", instead)[1] in OPTIONS


def test_the_table_of_a_run_says_nothing_of_other_images_unless_it_is_named(tmp_path):
  """Cameras call their files alike: labels would be joined to images that they aren't of."""
  settings = Config(dataset="image_folder", data_dir="a", label_table="a.csv").settings
  (tmp_path / "config.json").write_text(json.dumps(settings))
  for mode in ("eval", "explore"):
    run = [f"--mode={mode}", f"--model_dir={tmp_path}"]
    done = parse(*run, "--data_dir=b")
    assert done.returncode == 1 and done.stderr == (
      "Error: label_table must be named anew, or left out (--label_table=), for another data_dir "
      "than the run's. Received: a.csv of the run for b\n"
    )
    for flags, expected in (
      ([], "a.csv"),
      (["--data_dir=./a"], "a.csv"),
      (["--data_dir=b", "--label_table=a.csv"], "a.csv"),
      (["--data_dir=b", "--label_table="], ""),
    ):
      assert json.loads(parse(*run, *flags).stdout)["label_table"] == expected
  found = json.loads(parse("--mode=predict", f"--model_dir={tmp_path}", "--data_dir=b").stdout)
  assert found["label_table"] == ""
