"""The presets against a literal copy of the paper's values."""

import dataclasses
import pathlib

import pytest

from conrec_tf.config import Config
from conrec_tf.config.options.data import Augmentation
from conrec_tf.config.options.objective import Objective
from conrec_tf.config.options.option import written
from conrec_tf.config.options.segmentation import Segmentation
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.run_dir.run_directory import flagfile

FLAGS = pathlib.Path(__file__).parents[2] / "flags"
FLOWERS = dict(
  dataset="oxford_flowers102",
  train_split="train+validation",
  eval_split="test",
  image_size=224,
  base_filters=64,
  unet_depth=4,
  cv_folds=0,
  ordinal_labels=False,
)
DOGS = {**FLOWERS, "dataset": "stanford_dogs", "train_split": "train"}
APTOS = {
  **FLOWERS,
  "dataset": "aptos2019",
  "train_split": "train",
  "eval_split": "train",
  "cv_folds": 5,
  "ordinal_labels": True,
}
PRETRAINING = dict(
  train_mode="pretrain",
  train_batch_size=16,
  optimizer="lars",
  learning_rate=0.075,
  learning_rate_scaling="sqrt",
  warmup_epochs=0.0,
  learning_rate_schedule="constant",
  weight_decay=1e-4,
  temperature=0.5,
  color_jitter_strength=1.0,
  eval_every_epochs=20,
)
SYNTHETIC = dict(
  PRETRAINING,
  image_size=128,
  base_filters=64,
  unet_depth=4,
  train_split="train",
  eval_split="test",
  train_epochs=1000,
)
DATASETS = {
  "rectangle_triangle": dict(SYNTHETIC, dataset="rectangle_triangle"),
  "circles_square": dict(SYNTHETIC, dataset="circles_square"),
  "oxford_flowers102": dict(PRETRAINING, **FLOWERS, train_epochs=2700),
  "stanford_dogs": dict(PRETRAINING, **DOGS, train_epochs=1200),
  "aptos2019": dict(PRETRAINING, **APTOS, train_epochs=1200),
}
LINEAR_HEAD = dict(
  train_mode="finetune",
  fine_tune_after_block=4,
  optimizer="momentum",
  momentum=0.9,
  learning_rate_scaling="none",
  weight_decay=0.0,
  train_batch_size=64,
  supervised_augmentation="crop",
)
LINEAR_HEADS = {
  "oxford_flowers102_linear_head": dict(
    LINEAR_HEAD, **FLOWERS, learning_rate=0.1, train_epochs=400
  ),
  "stanford_dogs_linear_head": dict(LINEAR_HEAD, **DOGS, learning_rate=0.01, train_epochs=500),
}
SCRATCH = dict(
  train_mode="finetune",
  fine_tune_after_block=-1,
  pooling="average",
  optimizer="lars",
  learning_rate=0.075,
  learning_rate_scaling="sqrt",
  train_batch_size=16,
  supervised_augmentation="crop",
)
SUPERVISED = {
  "oxford_flowers102_supervised": dict(SCRATCH, **FLOWERS, weight_decay=5e-4, train_epochs=1000),
  "stanford_dogs_supervised": dict(SCRATCH, **DOGS, weight_decay=1e-4, train_epochs=500),
  "aptos2019_supervised": dict(
    SCRATCH,
    **APTOS,
    optimizer="adam",
    learning_rate=5e-5,
    learning_rate_scaling="none",
    train_batch_size=32,
    train_epochs=25,
    num_repeats=5,
    supervised_augmentation="zoom",
  ),
}
METHODS = {
  "conrec": ("attention", "models_genesis", 1.0, 100.0),
  "conrec_ga_pool": ("average", "models_genesis", 1.0, 100.0),
  "simclr": ("average", "none", 1.0, 0.0),
  "simclr_attention": ("attention", "none", 1.0, 0.0),
  "reconstruction": ("average", "models_genesis", 0.0, 100.0),
}
RECIPE = "own_images"
TEACHER = "teacher"
FIELDS = ("photographs", "radiographs", "retinas", "histology")
NUMBERS = (int, float)
OTHER_METHODS = {"supervised_unet", "supervised_densenet121", "densenet121_imagenet"}


def parse(*names):
  """The `Config` of some flagfiles, the last value counting."""
  values = {}
  for name in names:
    for line in (FLAGS / f"{name}.cfg").read_text().splitlines():
      if not line.startswith("#"):
        flag, text = line.removeprefix("--").split("=", 1)
        kind = Config.__dataclass_fields__[flag].type
        values[flag] = text == "True" if kind is bool else kind(text) if kind in NUMBERS else text
  return Config(**values)


def check(names, expected):
  """The files give the expected values in either order."""
  config = parse(*names)
  assert config == parse(*reversed(names))
  assert {name: getattr(config, name) for name in expected} == expected
  return config


def test_every_preset_is_known_and_explained():
  names = {path.stem for path in FLAGS.glob("*.cfg")}
  assert names == {
    *DATASETS,
    *LINEAR_HEADS,
    *SUPERVISED,
    *METHODS,
    *OTHER_METHODS,
    *FIELDS,
    RECIPE,
    TEACHER,
  }
  for name in names:
    assert (FLAGS / f"{name}.cfg").read_text().startswith("# ")
    assert (
      name.replace("_linear_head", "").replace("_supervised", "")
      in (FLAGS / "README.md").read_text()
    )


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_pretraining_presets_have_the_papers_values(dataset, method):
  config = check([dataset, method], DATASETS[dataset])
  assert config.method == method
  assert (
    config.pooling,
    config.corruption,
    config.contrastive_weight,
    config.reconstruction_weight,
  ) == METHODS[method]


@pytest.mark.parametrize("dataset", DATASETS)
def test_imagenet_presets_have_the_papers_values(dataset):
  config = check(
    [dataset, "densenet121_imagenet"],
    {
      **DATASETS[dataset],
      "mode": "eval",
      "encoder": "densenet121",
      "pooling": "average",
      "encoder_weights": "imagenet",
    },
  )
  assert config.method == "densenet121_imagenet"


@pytest.mark.parametrize("protocol", LINEAR_HEADS)
@pytest.mark.parametrize("method", METHODS)
def test_linear_head_presets_have_the_papers_values(protocol, method):
  config = check([protocol, method], LINEAR_HEADS[protocol])
  assert config.pooling == METHODS[method][0]


@pytest.mark.parametrize("protocol", SUPERVISED)
@pytest.mark.parametrize("method", ["supervised_unet", "supervised_densenet121"])
def test_supervised_presets_have_the_papers_values(protocol, method):
  config = check([protocol, method], SUPERVISED[protocol])
  assert config.method == method


def test_the_recipe_is_that_of_the_bare_command():
  assert parse(RECIPE) == Config(dataset="image_folder")
  stated = {line.partition("=")[0] for line in (FLAGS / f"{RECIPE}.cfg").read_text().splitlines()}
  for section in (Augmentation, Objective):
    for field in dataclasses.fields(section):
      elsewhere = field.name in ("supervised_augmentation", "lineareval_while_pretraining")
      if not elsewhere and field.metadata["before"] != field.default:
        assert f"--{field.name}" in stated, field.name


def test_each_field_states_all_of_its_augmentation():
  elsewhere = {"supervised_augmentation", "corruption"}
  wanted = {field.name for field in dataclasses.fields(Augmentation)} - elsewhere
  for name in FIELDS:
    lines = (FLAGS / f"{name}.cfg").read_text().splitlines()
    stated = {line[2:].partition("=")[0] for line in lines if line.startswith("--")}
    assert stated == wanted, name
    parse(name)
  assert parse("photographs") == Config()
  assert parse("own_images", "retinas").random_rotation == 180


def test_flagfile_of_a_run_repeats_its_config(tmp_path):
  config = Config(seed=4, use_blur=False, temperature=0.1)
  (tmp_path / "flags.cfg").write_text(flagfile(config.settings))
  assert parse(tmp_path / "flags") == config


ELSEWHERE = {  # options of the other axis, of the machine, and those that don't change the method
  "pooling",
  "corruption",
  "encoder",
  "encoder_weights",
  "external_scaling",
  "external_output",
  "contrastive_weight",
  "reconstruction_weight",
  "checkpoint",
  "seed",
  "train_steps",
  "label_mode",
  "cache_dataset",
  "max_undecodable",
  "image_channels",
  "image_bits",
  "dicom_window",
  "drop_duplicates",
  "image_key",
  "label_key",
  "label_order",
  "label_table",
  "label_columns",
  "window_size",
  "moco_momentum",
  "moco_momentum_schedule",
  "moco_queue_length",
  "multi_level_contrastive_weight",
  "multi_level_reconstruction_weight",
  "adversarial_weight",
  "adversarial_loss",
  "adversarial_start_step",
  "discriminator_learning_rate",
  "deterministic",
  "jit_compile",
  "global_bn",
}


@pytest.mark.parametrize("name", [*DATASETS, *LINEAR_HEADS, *SUPERVISED])
def test_no_default_can_change_what_a_preset_is(name):
  stated = {
    line.removeprefix("--").split("=")[0]
    for line in (FLAGS / f"{name}.cfg").read_text().splitlines()
    if line.startswith("--")
  }
  pretraining = name in DATASETS
  needed = {
    option
    for option, field in OPTIONS.items()
    if field.metadata["changes_training"]
    and option not in ELSEWHERE
    and field.metadata["before"] != written(field.default)  # which changed nothing when it came
  }
  if pretraining:
    needed -= {"supervised_augmentation", "zero_init_logits_layer", "fine_tune_after_block"}
  else:
    needed -= {option for option in vars(Augmentation) if option in OPTIONS}
    needed -= {option for option in vars(Objective) if option in OPTIONS}
    needed -= {"skip_connections", "attention_dropout", "proj_head_mode", "num_proj_layers"}
    needed -= {"proj_out_dim", "select_best_on"}
    needed |= {"supervised_augmentation"}
  needed -= {option for option in vars(Segmentation) if option in OPTIONS}
  assert needed <= stated, needed - stated
