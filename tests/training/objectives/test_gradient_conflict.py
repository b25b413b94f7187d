import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.distribute.strategy import build_strategy
from conrec_tf.losses import view_major
from conrec_tf.metrics import GRADIENT_COSINE, level_cosine, metric_of
from conrec_tf.models import build_model
from conrec_tf.training.loop import StepRunner
from conrec_tf.training.objectives.gradient_conflict import gradient_cosines
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

NAMES = [GRADIENT_COSINE, "train/level_1_gradient_cosine", "train/level_2_gradient_cosine"]


def make_runner(interval, **values):
  config = Config(
    **dict(base_filters=4, unet_depth=2, train_batch_size=4, mixed_precision="float32")
    | dict(local_crops=0)
    | values
  )
  model = build_model(config)
  optimizer = build_optimizer(config, examples=100, last_step=10)
  step = PretrainStep(config, model, optimizer, last_step=10, conflict_interval=interval)
  return config, step, optimizer, StepRunner(build_strategy(config, config), step)


def make_batch():
  images = tf.random.stateless_uniform([4, 2, 16, 16, 1], [0, 1])
  return {"corrupted": tf.roll(images, 3, axis=2), "target": images}


def train(runner, steps):
  """Takes steps one by one; returns what each reports."""
  iterator, rows = iter(tf.data.Dataset.from_tensors(make_batch()).repeat()), []
  for _ in range(steps):
    runner(iterator, tf.constant(1))
    rows.append(runner.collect()[0])
  return rows


def test_cosines_by_hand():
  first = [[tf.constant([[3.0, 4.0]]), tf.constant([0.0])], [tf.constant([1.0])]]
  second = [[tf.constant([[4.0, 3.0]]), tf.constant([0.0])], [tf.constant([-2.0])]]
  together = (24 - 2) / (26 * 29) ** 0.5
  np.testing.assert_allclose(gradient_cosines(first, second), [together, 24 / 25, -1], rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_of_no_direction_there_is_no_cosine(value):
  found = gradient_cosines([[tf.constant([1.0])], [tf.constant([value])]], [[tf.ones(1)]] * 2)
  assert np.isnan(found[2]) and found[1] == 1
  assert np.isnan(found[0]) == (value != 0.0)


@pytest.mark.parametrize(
  "values",
  [
    dict(),
    dict(contrastive_inputs="clean", skip_connections="all", reconstruction_weight=7.0),
    dict(
      mixed_precision="mixed_float16",  # its losses are 2**15 times as large
      gradient_checkpointing=True,
      contrastive_weight=0.001,
      reconstruction_weight=0.001,
    ),
    dict(contrastive_method="moco"),
  ],
)
def test_a_step_reports_the_cosines_of_the_gradients_of_its_two_losses(values):
  config, step, _, _ = make_runner(1, **values)
  found = step(make_batch())
  model, batch = build_model(config), {name: view_major(x) for name, x in make_batch().items()}
  clean = batch["target"] if config.contrastive_inputs == "clean" else None
  gradients = []
  for part in ("contrastive", "reconstruction"):
    [objective] = [each for each in step.loss.objectives if each.part == part]
    objective = type(objective)(config, model, 1)
    objective.build(tf.Variable(0, dtype=tf.int64), 10, False)
    with tf.GradientTape() as tape:
      outputs, maps = model.with_maps(batch["corrupted"], True, [0, 0], 2, clean)
      loss = 2.0**10 * objective.loss(batch, outputs, maps, training=True)[0]
    levels = [
      [variable for block in level for variable in block.trainable_variables]
      for level in model.encoder.levels
    ]
    gradients.append(
      [np.concatenate([np.ravel(x) for x in level]) for level in tape.gradient(loss, levels)]
    )
  pairs = [tuple(map(np.concatenate, gradients)), *zip(*gradients, strict=True)]
  expected = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs]
  tolerance = 0.02 if config.mixed_precision == "mixed_float16" else 1e-4
  np.testing.assert_allclose([found[name] for name in NAMES], expected, atol=tolerance)
  assert np.max(np.abs(expected)) > 0.05


@pytest.mark.parametrize(
  "values",
  [
    dict(mixed_precision="mixed_bfloat16", on_nan="skip"),
    pytest.param(dict(optimizer="lars"), marks=pytest.mark.slow),
  ],
)
def test_the_weights_are_the_same_to_the_bit_with_and_without(values):
  found = []
  for interval in (0, 2):
    _, step, optimizer, runner = make_runner(interval, **values)
    rows = train(runner, 4)
    found.append([variable.numpy() for variable in step.loss.networks["model"].variables])
    found[-1] += [variable.numpy() for variable in optimizer.variables]
    assert [GRADIENT_COSINE in row for row in rows] == [False, bool(interval)] * 2
  assert len(found[0]) == len(found[1]) > 50
  for without, having in zip(*found, strict=True):
    np.testing.assert_array_equal(without, having)


def test_cosines_are_shown_as_numbers():
  assert [level_cosine(level) for level in (1, 2)] == NAMES[1:]
  assert [metric_of(name).form.format(-0.25) for name in NAMES] == ["-0.2500"] * 3


@pytest.mark.parametrize(
  "values",
  [dict(reconstruction_weight=0.0), dict(contrastive_weight=0.0), dict(train_mode="finetune")],
)
def test_it_needs_two_losses(values):
  with pytest.raises(ValueError, match="log_gradient_conflict must be false unless"):
    Config(log_gradient_conflict=True, **values)
  with pytest.raises(ValueError, match="log_gradient_conflict must be false with jit_compile"):
    Config(log_gradient_conflict=True, jit_compile=True)
