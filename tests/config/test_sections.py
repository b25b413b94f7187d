"""Sections of options are types: a type checker refuses to read an option of another section."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SNIPPET = """
from conrec_tf.config import Config, Data, Objective


def own(objective: Objective) -> float:
  return objective.temperature


def of_another(objective: Objective) -> int:
  return objective.image_size


def of_two(data: Data, objective: Objective) -> float:
  return own(objective) + data.image_size


of_two(Config(), Config())
"""


def test_an_option_can_only_be_read_from_its_section(tmp_path):
  pytest.importorskip("mypy", reason="needs requirements-dev.txt")
  path = tmp_path / "snippet.py"
  path.write_text(SNIPPET)
  # It follows no import beyond the package's own: those of TensorFlow take their time.
  command = [
    sys.executable,
    "-m",
    "mypy",
    "--no-incremental",
    "--ignore-missing-imports",
    str(path),
  ]
  command += ["--config-file="]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  line = next(i for i, text in enumerate(SNIPPET.splitlines(), 1) if "objective.image_size" in text)
  errors = [text for text in done.stdout.splitlines() if ": error:" in text]
  assert len(errors) == 1, done.stdout + done.stderr
  assert f'snippet.py:{line}: error: "Objective" has no attribute "image_size"' in errors[0]
