"""Momentum contrast against slow NumPy, and its network when it is exported."""

import math

import numpy as np
import pytest
from scipy.special import log_softmax
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.losses import loss_of_equal_projections
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.training.objectives.momentum_contrast import (
  moco_from_logits,
  moco_logits,
  warn_of_long_queue,
)
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

STEPS = 10


def unit(rows):
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_loss(queries, keys, temperature, queue=None):
  """Row by row, in float64."""
  queries, keys = unit(np.float64(queries)), unit(np.float64(keys))
  images, total = len(queries) // 2, 0.0
  for row, query in enumerate(queries):
    image, other_view = row % images, 1 - row // images
    others = keys[other_view * images :][:images]
    if queue is None:
      logits, own = [query @ key / temperature for key in others], image
    else:
      logits, own = [query @ key / temperature for key in (others[image], *queue)], 0
    total -= log_softmax(logits)[own]
  return 2 * total / len(queries)


@pytest.mark.parametrize("length", [0, 7])
def test_loss_against_loops(rng, length):
  queries, keys = rng.normal(size=(2, 6, 5)).astype(np.float32)
  queue = unit(rng.normal(size=(length, 5))).astype(np.float32) if length else None
  logits, own = moco_logits(tf.constant(queries), tf.constant(keys), 0.2, queue=queue)
  assert logits.shape == (6, 1 + length if length else 3)
  found = float(moco_from_logits(logits, own))
  assert found == pytest.approx(slow_loss(queries, keys, 0.2, queue), rel=1e-5)
  alike = np.ones([6, 5], np.float32)
  logits, own = moco_logits(alike, alike, 0.2, queue=None if queue is None else unit(queue * 0 + 1))
  expected = loss_of_equal_projections("moco", 3, length)
  assert float(moco_from_logits(logits, own)) == pytest.approx(expected, rel=1e-6)
  assert expected == pytest.approx(2 * math.log(1 + length if length else 3))


def test_no_gradient_reaches_the_keys(rng):
  queries, keys = (tf.constant(rows) for rows in rng.normal(size=(2, 6, 5)))
  with tf.GradientTape() as tape:
    tape.watch([queries, keys])
    loss = moco_from_logits(*moco_logits(queries, keys, 0.2))
  gradients = tape.gradient(loss, [queries, keys])
  assert gradients[1] is None and np.abs(gradients[0]).max() > 0


def make_step(reconstruction_weight=0.0, **values):
  config = Config(
    base_filters=2,
    unet_depth=2,
    train_batch_size=4,
    local_crops=0,
    contrastive_method="moco",
    attention_dropout=0.0,
    weight_decay=0.0,
    reconstruction_weight=reconstruction_weight,
    **values,
  )
  model = build_model(config)
  step = PretrainStep(
    config,
    model,
    build_optimizer(config, examples=1000, last_step=STEPS),
    last_step=STEPS,
    skip_non_finite=config.on_nan == "skip",
  )
  return config, model, step.loss.objectives[0], step


def batches(count):
  return [
    {
      name: tf.random.stateless_uniform([4, 2, 16, 16, 1], [step, seed])
      for seed, name in enumerate(("corrupted", "target"))
    }
    for step in range(count)
  ]


@pytest.mark.parametrize(
  "values",
  [
    dict(moco_momentum=0.5),
    dict(moco_momentum=0.5, moco_queue_length=16),
    dict(moco_momentum=0.5, moco_momentum_schedule="cosine", moco_queue_length=8),
    dict(moco_momentum=0.5, contrastive_inputs="clean", reconstruction_weight=300.0),
  ],
)
def test_three_steps_against_numpy(values):
  config, model, momentum, step = make_step(**values)
  names = ("encoder", "pooling", "projection_head")
  followed = [w for name in names for w in getattr(model, name).trainable_weights]
  following = [w for name in names for w in getattr(momentum.network, name).trainable_weights]
  for weight, other in zip(following, followed, strict=True):
    np.testing.assert_array_equal(weight, other)
  expected = [weight.numpy() for weight in following]
  queue = None if momentum.queue is None else momentum.queue.numpy()
  for number, batch in enumerate(batches(3)):
    seen = batch["target" if config.contrastive_inputs == "clean" else "corrupted"]
    views = tf.concat([seen[:, 0], seen[:, 1]], axis=0)
    # What the networks make of it before the step, with the batch's statistics.
    statistics = [network.get_weights() for network in (momentum.network, model)]
    keys = momentum.keys(views, training=True).numpy()
    inputs = [tf.concat([batch[n][:, 0], batch[n][:, 1]], 0) for n in ("corrupted", "target")]
    clean = inputs[1] if config.contrastive_inputs == "clean" else None
    values = dict(num_views=2, contrastive_images=clean)
    outputs, _ = model.with_maps(inputs[0], training=True, **values)
    queries = outputs.projection.numpy()
    for network, before in zip((momentum.network, model), statistics, strict=True):
      network.set_weights(before)
    metrics = step(batch)
    loss = slow_loss(queries, keys, config.temperature, queue)
    assert float(metrics["train/contrast_loss"]) == pytest.approx(loss, rel=1e-4)
    if queue is not None:
      place = number * 8 % len(queue)
      queue[place : place + 8] = unit(keys)
      np.testing.assert_allclose(momentum.queue, queue, atol=1e-6)
    stays = 0.5
    if config.moco_momentum_schedule == "cosine":
      stays = 1 - 0.5 * (math.cos(math.pi * (number + 1) / STEPS) + 1) / 2
    expected = [
      stays * a + (1 - stays) * w.numpy() for a, w in zip(expected, followed, strict=True)
    ]
    for weight, value in zip(following, expected, strict=True):
      np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_momentum_network_is_exported_when_asked_for(tiny, tmp_path, rng):
  run = tmp_path / "run"
  values = dict(tiny, contrastive_method="moco", train_steps=2, moco_momentum=0.5)
  values |= dict(model_dir=str(run), adversarial_weight=0.1, adversarial_loss="hinge")
  commands.run(Config(**{**values, "mode": "train"}))
  images = rng.uniform(size=(3, 24, 24, 1)).astype(np.float32)
  found = {}
  for which in ("trained", "momentum"):
    folder = tmp_path / which
    commands.run(
      Config(mode="export", checkpoint=str(run), model_dir=str(folder), export_weights=which)
    )
    loaded = tf.saved_model.load(str(folder / "saved_model/2"))
    assert hasattr(loaded, "reconstruction") == (which == "trained")
    found[which] = loaded(images).numpy()
    # It is a network like any other: what embeds and finetunes takes it.
    pretrained = resolve_checkpoint(folder / "saved_model/2")
    model = build_model(Config(**pretrained.values), 1)
    load_network(pretrained, model)
    np.testing.assert_allclose(model.embed(images), found[which], atol=1e-5)
  assert not np.allclose(found["trained"], found["momentum"], atol=1e-4)
  reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-2"))
  kernel = "encoder/levels/0/0/convolution/kernel/.ATTRIBUTES/VARIABLE_VALUE"
  np.testing.assert_array_equal(
    model.encoder.levels[0][0].convolution.kernel, reader.get_tensor(f"momentum/{kernel}")
  )
  exported = str(tmp_path / "momentum/saved_model/2")
  commands.run(Config(mode="export", checkpoint=exported, model_dir=str(tmp_path / "again")))
  with pytest.raises(UsageError, match="export_weights must be trained, unless the network is of"):
    commands.run(
      Config(mode="export", checkpoint=exported, model_dir=str(tmp_path), export_weights="momentum")
    )


def test_a_long_queue_is_warned_of(caplog):
  warn_of_long_queue(100, 100)
  assert not caplog.records
  warn_of_long_queue(128, 100)
  assert "The queue holds 128 projections, two of an image, of 100 images" in caplog.text


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(moco_queue_length=32), "moco_queue_length must be left out unless"),
    (dict(moco_momentum=0.9), "moco_momentum must be left out unless"),
    (
      dict(contrastive_method="moco", moco_queue_length=30),
      "moco_queue_length must be a multiple of 32, twice train_batch_size. Received: 30",
    ),
    (dict(export_weights="momentum"), "export_weights must be trained unless contrastive_method"),
    (dict(contrastive_method="moco", proj_head_mode="none"), "proj_head_mode must be"),
    (
      dict(contrastive_method="moco", mode="eval", checkpoint="runs/a"),
      "contrastive_method must be nt_xent or decoupled to evaluate a checkpoint",
    ),
  ],
)
def test_what_is_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)


def test_a_schedule_of_the_momentum_needs_its_end():
  """Without one the second network would stay from the first step on."""
  config, model, _, _ = make_step(moco_momentum_schedule="cosine")
  with pytest.raises(ValueError, match="last_step must be positive .*=cosine. Received: 0"):
    PretrainStep(config, model, build_optimizer(config, examples=1000, last_step=STEPS))
