"""The wheel, in an empty folder."""

import os
import shutil
import subprocess
import sys
import venv

from command_line import ROOT
import pytest


def run(*command, cwd):
  """Runs a command to its end and returns its process."""
  env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
  return subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """The bin folder of an environment with the wheel; libraries are those of the tests."""
  folder = tmp_path_factory.mktemp("wheel")
  source = folder / "source"  # building leaves files
  shutil.copytree(
    ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "runs", "site")
  )
  done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source, cwd=folder)
  assert done.returncode == 0, done.stderr
  [wheel] = folder.glob("conrec_tf-*.whl")
  venv.create(folder / "venv")
  site = next(path for path in sys.path if path.endswith("site-packages"))
  packages = next((folder / "venv/lib").glob("python3*/site-packages"))
  (packages / "libraries.pth").write_text(site + "\n")
  pip = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python"]
  done = run(*pip, "install", "--no-deps", "--force-reinstall", wheel, cwd=folder)
  assert done.returncode == 0, done.stderr
  return folder / "venv/bin"


@pytest.mark.slow
def test_the_wheel_is_a_program_with_presets(installed, tmp_path):
  done = run(installed / "conrec", "--help", cwd=tmp_path)
  assert done.returncode == 1 and "  conrec --mode=train_then_eval" in done.stdout  # as absl's
  assert "rectangle_triangle" in done.stdout.split("Task:")[0]
  done = run(
    installed / "python", "-c", "import conrec_tf; print(conrec_tf.__file__)", cwd=tmp_path
  )
  assert str(installed.parent) in done.stdout
  scale = ["--image_size=24", "--unet_depth=2", "--base_filters=2", "--train_batch_size=8"]
  scale += ["--local_crops=0", "--train_steps=2", "--noreport", f"--data_dir={tmp_path / 'tfds'}"]
  scale += ["--train_split=train[:48]", "--eval_split=test[:24]"]
  done = run(
    installed / "conrec",
    "--flagfile=rectangle_triangle.cfg",
    "--flagfile=simclr.cfg",
    *scale,
    "--mode=train",
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  assert ": simclr on rectangle_triangle, 48 training images, 2 steps" in done.stdout
  done = run(installed / "python", "-m", "conrec_tf", *scale, "--model_dir=runs/a", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert ": conrec on rectangle_triangle" in done.stdout
  assert (tmp_path / "runs/a/saved_model/2").is_dir()
