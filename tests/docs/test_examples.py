"""The examples of README and documentation: Python is run, commands are parsed.

What needs tools that aren't installed here stands under `py` in place of `python`.
"""

import functools
import pathlib
import re
import shlex

from command_line import ROOT, as_flags, command
import numpy as np
from PIL import Image
import pytest

import conrec_tf
from conrec_tf import cli
from conrec_tf.config import Config
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.pretrained.find import EXTERNAL

PAGES = [ROOT / "README.md", ROOT / "flags/README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_ABSL = {"flagfile", "verbosity"}
NUMBERS = (int, float)
PLACEHOLDERS = {"<model_dir>": "runs/a", "<another folder>": "runs/b"}


def blocks(page, language):
  """Returns the fenced examples of a page in one language."""
  return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands():
  """Yields (page, flags) for each command of ours."""
  for page in PAGES:
    for block in blocks(page, ""):
      for line in block.replace("\\\n", " ").splitlines():
        for words, text in PLACEHOLDERS.items():
          line = line.replace(words, text)
        match = re.search(r"(?:python run\.py|^conrec|-m conrec_tf) +(--.*)", line)
        if match:
          text = match.group(1)
          if text.count("'") % 2:  # the end of what a shell is told
            text = text.removesuffix("'")
          yield pytest.param(shlex.split(text, comments=True), id=f"{page.name}: {line}")


def option_values(flags):
  """Returns `{option: value}` of flags, presets included; other flagfiles are not read."""
  values = {}
  for flag in flags:
    name, _, text = flag.removeprefix("--").partition("=")
    if name == "flagfile":
      if not text.endswith("flags.cfg"):
        lines = cli.presets()[text].read_text().splitlines()
        values |= option_values([line for line in lines if line.startswith("--")])
    elif name.startswith("no") and name not in OPTIONS:
      values[name.removeprefix("no")] = False
    elif name not in OF_ABSL and text != "...":
      kind = OPTIONS[name].type
      values[name] = text != "False" if kind is bool else kind(text) if kind in NUMBERS else text
  return values


@pytest.mark.parametrize("flags", commands())
def test_a_command_has_flags_and_values_that_exist(flags):
  values = option_values(flags)
  Config(**(EXTERNAL if values.get("checkpoint", "").endswith(".onnx") else {}) | values)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with all that the examples name: photos, a run, its exports and embeddings."""
  folder = tmp_path_factory.mktemp("examples")
  rng = np.random.default_rng(0)
  for label in ("iris", "rose"):
    (folder / "photos" / label).mkdir(parents=True)
    for index in range(24):
      pixels = rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f"photos/{label}/{index}.png")
  Image.fromarray(pixels).save(folder / "photo.jpg")
  values = dict(dataset="image_folder", data_dir="photos", image_size=64, base_filters=2)
  values |= dict(unet_depth=2, local_crops=0)
  flags = as_flags({**values, "train_batch_size": 4, "model_dir": "runs/flowers"})
  done = command(*flags, "--train_steps=2", "--noreport", "--log_steps=1", cwd=folder)
  assert done.returncode == 0, done.stderr
  (folder / "runs/flowers/saved_model/2").rename(folder / "runs/flowers/saved_model/2540")
  done = command("--mode=embed", *as_flags(values), "--model_dir=runs/flowers", cwd=folder)
  assert done.returncode == 0, done.stderr
  (folder / "networks").symlink_to(ROOT / "networks")
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(
  "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_examples_run(place, page, monkeypatch):
  monkeypatch.chdir(place)
  monkeypatch.setenv("HOME", str(place))
  small = dict(base_filters=2, unet_depth=2, local_crops=0, report=False)  # no example shows it
  small["image_size_schedule"] = ""
  monkeypatch.setattr(conrec_tf, "pretrain", functools.partial(conrec_tf.pretrain, **small))
  for number, example in enumerate(blocks(page, "python")):
    exec(compile(example, f"{page.name}, example {number}", "exec"), {"__name__": "__main__"})


def test_the_readme_is_a_front_door():
  assert len((ROOT / "README.md").read_bytes()) < 9000
  text = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text(), flags=re.M | re.S)
  for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
    assert link.startswith("http") or pathlib.Path(ROOT, link).exists(), link
