"""The presets against the paper's values."""

import pathlib

import pytest

from conrec_tf.config import Config
from conrec_tf.runs import flagfile

FLAGS = pathlib.Path(__file__).parent.parent / "flags"
DATASETS = {
    "rectangle_triangle": dict(image_size=128, train_epochs=1000, train_split="train"),
    "oxford_flowers102": dict(image_size=224, train_epochs=2700, train_split="train+validation"),
}
METHODS = {
    "conrec": ("attention", "models_genesis", 1.0, 100.0),
    "conrec_ga_pool": ("average", "models_genesis", 1.0, 100.0),
    "simclr": ("average", "none", 1.0, 0.0),
    "simclr_attention": ("attention", "none", 1.0, 0.0),
    "reconstruction": ("average", "models_genesis", 0.0, 100.0),
}


def parse(*paths):
  """The `Config` of some flagfiles, the last value counting."""
  values = {}
  for path in paths:
    for line in path.read_text().splitlines():
      if not line.startswith("#"):
        name, text = line.removeprefix("--").split("=", 1)
        kind = Config.__dataclass_fields__[name].type
        values[name] = text == "True" if kind is bool else kind(text)
  return Config(**values)


def test_every_preset_is_known_and_explained():
  assert {path.stem for path in FLAGS.glob("*.cfg")} == set(DATASETS) | set(METHODS)
  for path in FLAGS.glob("*.cfg"):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_dataset_and_method_compose(dataset, method):
  paths = [FLAGS / f"{dataset}.cfg", FLAGS / f"{method}.cfg"]
  config = parse(*paths)
  assert config == parse(*reversed(paths))
  assert (config.dataset, config.method) == (dataset, method)
  paper = dict(base_filters=64, unet_depth=4, train_batch_size=16, eval_every_epochs=20,
               **DATASETS[dataset])
  assert {name: getattr(config, name) for name in paper} == paper
  assert (config.pooling, config.corruption, config.contrastive_weight,
          config.reconstruction_weight) == METHODS[method]


def test_a_runs_flagfile_repeats_it(tmp_path):
  config = Config(seed=4, use_blur=False, temperature=0.1)
  (tmp_path / "flags.cfg").write_text(flagfile(config))
  assert parse(tmp_path / "flags.cfg") == config
