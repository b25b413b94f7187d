"""A step that isn't finite says what it began with."""

import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands import train as command
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.run_dir.run_directory import prefixes, step_of
from conrec_tf.training import task
from conrec_tf.training.objectives import reconstruction
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.preemption import Preempted
from conrec_tf.training.pretrain_step import PretrainStep
from conrec_tf.training.update_step import first_non_finite

TINY = dict(
  image_size=24,
  unet_depth=2,
  base_filters=2,
  local_crops=0,
  train_batch_size=4,
  mixed_precision="float32",
)


def made():
  """A network, its step, and a batch."""
  config = Config(**TINY)
  model = build_model(config)
  step = PretrainStep(config, model, build_optimizer(config, 100, 10), last_step=10)
  rng = np.random.default_rng(0)
  batch = {
    name: rng.random([4, 2, 24, 24, 1]).astype(np.float32) for name in ("corrupted", "target")
  }
  return model, step, batch


def found(model, step, batch):
  tensors = {name: tf.constant(values) for name, values in batch.items()}
  return first_non_finite(step, tensors, model.variables)


def test_of_a_batch_its_part_and_image_are_named():
  model, step, batch = made()
  assert found(model, step, batch) == "none, when the step is taken again one operation at a time"
  batch["target"][2, 1, 3, 3, 0] = np.nan
  assert found(model, step, batch) == "target of the batch, image 2 of 4"


def test_of_the_weights_one_is_named():
  model, step, batch = made()
  variable = model.trainable_variables[3]
  variable.assign(tf.tensor_scatter_nd_update(variable, [[0] * variable.shape.rank], [np.inf]))
  assert found(model, step, batch) == f"the weight {variable.name} before the step"


def test_of_a_loss_the_operation_and_its_line_are_named(monkeypatch):
  model, step, batch = made()
  monkeypatch.setattr(
    reconstruction.losses, "reconstruction_loss", lambda *args: tf.math.log(tf.constant(0.0))
  )
  words = found(model, step, batch)
  line = (
    r"Infinity or NaN given by Log in conrec_tf/training/objectives/reconstruction.py, line \d+"
  )
  assert re.fullmatch(line, words)


@pytest.fixture
def spoilt_fourth_batch(monkeypatch):
  """Makes an image of the fourth batch of a training NaN."""
  batches = task.pretraining_batches

  def spoiled(config, source, shard, size):
    def spoil(step, batch):
      bad = tf.where(step == 3, np.nan, batch["corrupted"][1])
      return {**batch, "corrupted": tf.tensor_scatter_nd_update(batch["corrupted"], [[1]], [bad])}

    return batches(config, source, shard, size).enumerate(shard.first_step).map(spoil)

  monkeypatch.setattr(task, "pretraining_batches", spoiled)


@pytest.mark.usefixtures("spoilt_fourth_batch")
def test_a_run_says_it_of_a_step_after_some_good_ones(simclr):
  values = {**simclr, "mode": "train", "checkpoint_steps": 2}
  commands.run(Config(**values, train_steps=2))
  said = r"Received: step 4, .*, not finite first: corrupted of the batch, image 1 of 8$"
  with pytest.raises(UsageError, match=said):
    commands.run(Config(**values, train_steps=6, on_nan="explain"))


@pytest.mark.usefixtures("spoilt_fourth_batch")
def test_a_signal_while_it_is_looked_for_leaves_what_was_saved(simclr, monkeypatch):
  taken, train = [], command.train

  def stopped_again(*args, **kwargs):
    taken.append(kwargs["phases"])
    if len(taken) == 2:
      raise Preempted(signal.SIGTERM, 1)
    train(*args, **kwargs)

  monkeypatch.setattr(command, "train", stopped_again)
  config = Config(**simclr | {"mode": "train"}, checkpoint_steps=3, train_steps=6, on_nan="explain")
  with pytest.raises(UsageError, match="Received: step 4, learning rate"):
    commands.run(config)
  assert len(taken) == 2
  assert [step_of(path) for path in prefixes(f"{config.model_dir}/checkpoints")] == [3]


def test_only_one_device_explains():
  with pytest.raises(UsageError, match="on_nan must be stop or skip for strategy=mirrored"):
    Config(strategy="mirrored", on_nan="explain")
