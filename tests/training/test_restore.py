"""A training goes on from each of its steps to the same bits, whatever it learns, and from what."""

import pathlib

from foreign_networks import quarters
import kinds_of_data
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands.tasks import build_training, load_dataset
from conrec_tf.config import Config
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.stream import WorkerShard
from conrec_tf.distribute.strategy import build_strategy
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.loop import StepRunner

STEPS = 5  # of 2 an epoch
PAPER = dict(contrastive_method="nt_xent", optimizer="lars", learning_rate_scaling="sqrt")
SIMCLR = dict(reconstruction_weight=0.0, pooling="average", corruption="none")
# Each kind of data, objective and optimizer at least once: (data, options).
TRAININGS = {
  "conrec": ("tfds_in_memory", PAPER),
  "simclr": ("image_folder", dict(SIMCLR, optimizer="momentum", warmup_epochs=1.0)),
  "reconstruction": ("tfds_streamed", dict(contrastive_weight=0.0, optimizer="adam")),
  "average": (
    "label_table",
    dict(
      moving_average_decay=0.9,
      on_nan="skip",
      optimizer="adamw",
      contrastive_inputs="clean",
      representation_levels="all",
      skip_connections="deep",
      crop_min_area=0.3,
      random_flip="horizontal_and_vertical",
      random_rotation=30.0,
    ),
  ),
  "online_head": ("tfds_numbered", dict(lineareval_while_pretraining=True)),
  "queue": ("webdataset", dict(contrastive_method="moco", moco_queue_length=32)),
  "momentum": (
    "npz",
    dict(PAPER, contrastive_method="moco", moco_momentum_schedule="cosine", base_filters=4),
  ),
  "local_crops": ("npz", dict(local_crops=2, local_crop_size=16)),
  "teacher": ("tfds_streamed", dict(teacher="quarters", teacher_relation_weight=25.0)),
  "teacher_of_views": ("npz", dict(teacher="quarters", teacher_views=True)),
  "adversarial": ("npz", dict(adversarial_weight=1.0, adversarial_start_step=2, unet_depth=3)),
  "levels": (
    "image_folder",
    dict(multi_level_contrastive_weight=1.0, multi_level_reconstruction_weight=10.0, unet_depth=3),
  ),
  "float16": ("npz", dict(mixed_precision="mixed_float16", gradient_checkpointing=True)),
  "bfloat16": ("npz", dict(mixed_precision="mixed_bfloat16", global_bn=False)),
  "growing": (
    "image_folder",
    dict(
      image_size=32,
      image_size_schedule="24:0.4",
      contrastive_method="moco",
      moco_queue_length=32,
      adversarial_weight=1.0,
      multi_level_reconstruction_weight=10.0,
      unet_depth=3,
    ),
  ),
  "finetuned": (
    "tfds_streamed",
    dict(train_mode="finetune", optimizer="momentum", image_size_schedule="16:0.5"),
  ),
  "graded": ("parquet", dict(train_mode="finetune", ordinal_labels=True, optimizer="lars")),
  "segmented": ("masks", dict(optimizer="momentum")),
  "encoder_of_keras": (
    "npz",
    dict(
      encoder="mobilenetv3small", image_size=32, unet_depth=4, local_crops=2, local_crop_size=32
    ),
  ),
  "encoder_of_keras_segmented": (
    "masks",
    dict(encoder="efficientnetb0", image_size=32, unet_depth=4, optimizer="momentum"),
  ),
}
# What learns beside the network and its optimizer.
BESIDE = {
  "average": {"average"},
  "online_head": {"head"},
  "queue": {"momentum", "queue"},
  "momentum": {"momentum"},
  "teacher": {"teacher_head"},
  "teacher_of_views": {"teacher_head"},
  "adversarial": {"discriminator", "discriminator_optimizer"},
  "levels": {"level_heads"},
  "growing": {"level_heads", "momentum", "queue", "discriminator", "discriminator_optimizer"},
  "finetuned": {"head"},
  "graded": {"head"},
  "segmented": {"head"},
  "encoder_of_keras_segmented": {"head"},
}


def values_of(checkpoint, path):
  """`{name: array}` of all that it holds; how long a process waited is its own."""
  reader = tf.train.load_checkpoint(checkpoint.write(str(path)))
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if "VARIABLE_VALUE" in name and "waited" not in name and "save_counter" not in name
  }


@pytest.mark.slow
def test_a_run_saves_all_that_learns_beside_the_network(tiny):
  beside = dict(adversarial_weight=0.5, multi_level_reconstruction_weight=30.0, unet_depth=3)
  beside |= dict(contrastive_method="moco", moco_queue_length=32)
  commands.run(Config(**{**tiny, **beside, "mode": "train"}, train_steps=1))
  names = [name for name, _ in tf.train.list_variables(f"{tiny['model_dir']}/checkpoints/ckpt-1")]
  assert {name.split("/")[0] for name in names if "VARIABLE_VALUE" in name} == {
    *("model", "optimizer", "runner", "save_counter", "level_heads"),
    *("momentum", "queue", "discriminator", "discriminator_optimizer"),
  }
  assert not any("decoder" in name for name in names if name.startswith("momentum"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_goes_on_from_each_step(name, tmp_path, monkeypatch):
  kind, options = TRAININGS[name]
  data = tmp_path / "data"
  data.mkdir()
  values = (
    kinds_of_data.write_masks(data)
    if kind == "masks"
    else kinds_of_data.write(kind, data, monkeypatch)
  )
  if "teacher" in options:
    options = options | dict(teacher=quarters(tmp_path / options["teacher"]))
  sizes = dict(image_size=24, base_filters=2, unet_depth=2, train_batch_size=8, seed=3)
  sizes |= dict(local_crops=0)
  general = dict(mode="train", train_steps=STEPS, model_dir=str(tmp_path / "run"))
  config = Config(**(dict(mixed_precision="float32") | sizes | general | values | options))
  source = load_dataset(config)
  strategy = build_strategy(config, config)
  with strategy.scope():
    task = build_training(
      config,
      config,
      RunDirectory(config.run_directory),
      source,
      load_eval_dataset(config, source),
      STEPS,
    )
  runner = StepRunner(strategy, task.step)
  others = dict(optimizer=task.optimizer, runner=runner, **task.only_to_resume)
  checkpoints = Checkpoints(tmp_path / "run", STEPS + 1, task.networks, **others)
  everything = tf.train.Checkpoint(**task.networks, **others)

  batches = task.batches(tmp_path / "run")

  def train_from(step, save):
    for phase in config.size_phases(STEPS):
      if step >= phase.last_step:
        continue
      iterator = iter(batches(WorkerShard(first_step=step), phase.image_size))
      for taken in range(step, phase.last_step):
        save(taken)
        runner(iterator, tf.constant(1))
      step = phase.last_step
    return values_of(everything, tmp_path / "end")

  expected = train_from(0, checkpoints.save)
  assert len(expected) > 30
  parts = {key.split("/")[0] for key in expected}
  assert parts == {"model", "optimizer", "runner"} | BESIDE.get(name, set())
  for step in reversed(range(STEPS)):  # what learns is as the training before left it
    assert checkpoints.restore() == step
    found = train_from(step, lambda taken: None)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
      np.testing.assert_array_equal(found[key], value, key)
    for file in pathlib.Path(checkpoints.folder).glob(f"ckpt-{step}.*"):
      file.unlink()
