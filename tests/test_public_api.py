"""What `import conrec_tf` gives, and that it imports no library for it."""

import functools
import inspect
import json
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest

import conrec_tf
import conrec_tf.commands
import conrec_tf.commands.tasks
import conrec_tf.config
from conrec_tf.errors import UsageError
import conrec_tf.models

PAGE = (pathlib.Path(__file__).parents[1] / "docs/api.md").read_text()
DECIDED = re.findall(r"^\| `([\w.]+)(?:\(([\w, ]*)\))?`", PAGE, flags=re.MULTILINE)


def loaded_after(code):
  """Returns which of the heavy libraries a fresh process has imported after some code."""
  script = (
    f"import sys\n{code}\nprint(sorted({{'tensorflow', 'numpy', 'absl'}} & set(sys.modules)))"
  )
  done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
  return done.stdout.strip()


def test_public_names_are_those_of_their_modules():
  assert conrec_tf.Config is conrec_tf.config.Config
  assert conrec_tf.build_model is conrec_tf.models.build_model
  assert conrec_tf.load_dataset is conrec_tf.commands.tasks.load_dataset
  assert set(conrec_tf.__all__) <= set(dir(conrec_tf))
  with pytest.raises(AttributeError, match="no attribute 'train'"):
    conrec_tf.train  # noqa: B018


def test_pretraining_is_the_command_and_returns_its_run(monkeypatch, tmp_path):
  asked = []
  monkeypatch.setattr(conrec_tf.commands, "run", asked.append)
  found = conrec_tf.pretrain(tmp_path / "photos", tmp_path / "run", train_epochs=3)
  [config] = asked
  assert (config.mode, config.dataset, config.train_epochs) == (
    "train_then_eval",
    "image_folder",
    3,
  )
  assert config.data_dir == str(tmp_path / "photos")
  assert found.path == tmp_path / "run" == pathlib.Path(config.model_dir)
  conrec_tf.pretrain("images.npz", train_split="test")
  assert asked[1].dataset == "npz" and asked[1].train_split == "test"


def test_pretraining_from_a_checkpoint_takes_what_describes_its_network(monkeypatch, tmp_path):
  asked = []
  monkeypatch.setattr(conrec_tf.commands, "run", asked.append)
  of_network = dict(image_size=32, eval_image_size=48, base_filters=4, pooling="average")
  before = conrec_tf.Config(**of_network, train_epochs=7, model_dir=str(tmp_path / "before"))
  for folder in ("before", "run"):
    (tmp_path / folder / "checkpoints").mkdir(parents=True)
  (tmp_path / "before/config.json").write_text(json.dumps(before.settings))
  (tmp_path / "before/checkpoints/ckpt-7.index").touch()
  pretrain = functools.partial(conrec_tf.pretrain, "photos", tmp_path / "run")
  pretrain(checkpoint=tmp_path / "before")
  pretrain(checkpoint=str(tmp_path / "before"), image_size=40)
  found = [tuple(getattr(config, name) for name in of_network) for config in asked]
  assert found == [(32, 48, 4, "average"), (40, 0, 4, "average")]
  assert {config.train_epochs for config in asked} == {conrec_tf.Config().train_epochs}
  # A run that goes on is as it began, also where what it began from is gone.
  (tmp_path / "run/config.json").write_text(json.dumps(asked[1].settings))
  (tmp_path / "run/checkpoints/ckpt-5.index").touch()
  (tmp_path / "before").rename(tmp_path / "elsewhere")
  pretrain(checkpoint=tmp_path / "before", image_size=40)
  assert asked[2].settings == asked[1].settings
  with pytest.raises(UsageError, match="checkpoint must be of type str. Received: None"):
    pretrain(checkpoint=None)


def test_pretraining_goes_on_as_an_earlier_version_began(monkeypatch, tmp_path):
  asked = []
  monkeypatch.setattr(conrec_tf.commands, "run", asked.append)
  settings = conrec_tf.Config().settings
  for name in ("local_crops", "image_size_schedule"):
    del settings[name]
  (tmp_path / "config.json").write_text(json.dumps(settings))
  conrec_tf.pretrain("photos", tmp_path)
  conrec_tf.pretrain("photos", tmp_path, local_crops=2)
  assert [(it.local_crops, it.image_size_schedule) for it in asked] == [(0, ()), (2, ())]


@pytest.mark.parametrize("name, arguments", DECIDED)
def test_decided_names_take_the_arguments_that_are_documented(name, arguments):
  found = pkgutil.resolve_name(name)
  wanted = [argument.strip() for argument in arguments.split(",") if argument]
  assert list(inspect.signature(found).parameters)[: len(wanted)] == wanted


def test_importing_and_configuring_imports_no_library():
  assert loaded_after("import conrec_tf; conrec_tf.Config()") == "[]"
