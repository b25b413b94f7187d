"""What a new user begins with beside README: the notebook, and the container."""

import json
import os
import re
import shutil
import subprocess
import sys

from command_line import ROOT
import pytest

DOCKERFILE = ROOT / "Dockerfile"
TINY = [
  "--image_size=24",
  "--unet_depth=2",
  "--base_filters=2",
  "--local_crops=0",
  "--train_batch_size=8",
  "--train_split=train[:48]",
  "--eval_split=test[:24]",
  "--noreport",
]
IGNORED = ROOT / ".dockerignore"


def cells():
  """Returns the code of each cell of the notebook."""
  notebook = json.loads((ROOT / "docs/start.ipynb").read_text())
  return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs_from_a_checkout(tmp_path):
  text = "\n".join(cells())
  few = text.replace("STEPS = 200", "STEPS = 3").replace("]\nprocess =", f"] + {TINY}\nprocess =")
  assert few.count("STEPS = 3") == few.count("--unet_depth") == 1
  env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
  done = subprocess.run(
    [sys.executable, "-c", few], cwd=tmp_path, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert re.search(r"^untrained_strongest +\d+\.\d+%$", done.stdout, re.MULTILINE)
  assert re.search(r"^\(8, \d+\)$", done.stdout, re.MULTILINE)


def test_the_notebook_holds_no_outputs():
  notebook = json.loads((ROOT / "docs/start.ipynb").read_text())
  for cell in notebook["cells"]:
    assert not cell.get("outputs") and cell.get("execution_count") is None


def copied():
  """Returns what the Dockerfile copies, as patterns."""
  lines = re.findall(r"^COPY (.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
  return " ".join(lines).split()


def test_the_container_copies_what_is_there_and_not_ignored():
  allowed = [line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")]
  assert len(copied()) > 5
  for pattern in copied():
    assert list(ROOT.glob(pattern)), pattern
    assert pattern in allowed or "requirements*.txt" in allowed and "requirements" in pattern
  text = (ROOT / "pyproject.toml").read_text()
  for name in {*re.findall(r'"([\w-]+\.txt)"', text), "README.md", "LICENSE"}:
    assert any((ROOT / name) in ROOT.glob(pattern) for pattern in copied()), name


def test_the_container_has_a_python_that_the_package_takes():
  minor = re.search(r"^FROM python:3\.(\d+)-", DOCKERFILE.read_text(), re.MULTILINE)[1]
  low, high = re.search(
    r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()
  ).groups()
  assert int(low) <= int(minor) < int(high)


def answer(*command):
  """Runs a command and returns its exit code and its output; None where it isn't installed."""
  if not shutil.which(command[0]):
    return None
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  return done.returncode, done.stdout


@pytest.mark.slow
def test_the_container_is_built_or_linted():
  runs = answer("docker", "info")
  if runs and runs[0] == 0:
    built = answer("docker", "build", "--quiet", "--tag=conrec_tf_test", ".")
    assert built[0] == 0
    assert "train_then_eval" in answer("docker", "run", "--rm", "conrec_tf_test", "--help")[1]
  elif shutil.which("hadolint"):
    assert answer("hadolint", str(DOCKERFILE)) == (0, "")
  else:
    pytest.skip("there is neither docker nor hadolint")
