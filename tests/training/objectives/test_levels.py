"""Losses of inner levels against slow NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.metrics import (
  CONTRAST_LOSS,
  LEVELS_CONTRAST_LOSS,
  LEVELS_RECONSTRUCTION_LOSS,
  RECONSTRUCTION_LOSS,
  TOTAL_LOSS,
)
from conrec_tf.models import build_model
from conrec_tf.training.objectives.levels import Levels, reduced_target
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

BOTH = dict(multi_level_contrastive_weight=0.5, multi_level_reconstruction_weight=30.0)


def make_config(**values):
  sizes = dict(base_filters=2, unet_depth=4, image_size=32, train_batch_size=4, local_crops=0)
  return Config(**{**sizes, "attention_dropout": 0.0, "weight_decay": 0.0, **values})


def test_reduced_target_is_the_mean_of_its_pixels(rng):
  target = rng.uniform(size=(2, 8, 8, 3)).astype(np.float32)
  expected = target.reshape(2, 2, 4, 2, 4, 3).mean(axis=(2, 4))
  np.testing.assert_allclose(reduced_target(target, tf.zeros([2, 2, 2, 3])), expected, rtol=1e-5)


@pytest.mark.parametrize("values", [BOTH, *({name: value} for name, value in BOTH.items())])
def test_heads_and_losses_against_numpy(rng, values):
  config = make_config(**values)
  model = build_model(config, 3)
  objective = Levels(config, model, 3)
  heads = objective.heads
  images = rng.uniform(size=(8, 32, 32, 3)).astype(np.float32)
  target = rng.uniform(size=(8, 32, 32, 3)).astype(np.float32)
  outputs, maps = model.with_maps(images)
  projections, reconstructions = heads(maps)
  expected, metrics = 0.0, {}
  if config.multi_level_contrastive_weight:
    assert [head.dense[0].kernel.shape[0] for head in heads.projection_heads] == [2, 4, 8]
    found = []
    for level, head in zip(maps.encoder, heads.projection_heads, strict=True):
      projection = head(tf.constant(level.numpy().mean(axis=(1, 2))))
      found.append(
        float(losses.decoupled_from_logits(losses.contrastive_logits(projection, 0.2, True)))
      )
    metrics[LEVELS_CONTRAST_LOSS] = np.mean(found)
    expected += 0.5 * np.mean(found)
  if config.multi_level_reconstruction_weight:
    assert [part.shape[1:] for part in reconstructions] == [(8, 8, 3), (16, 16, 3)]
    found = []
    for reconstruction in reconstructions:
      side = reconstruction.shape[1]
      means = target.reshape(8, side, 32 // side, side, 32 // side, 3).mean(axis=(2, 4))
      found.append(np.mean((reconstruction.numpy() - means) ** 2))
    for convolution, level, reconstruction in zip(
      heads.output_convolutions,
      maps.decoder,
      reconstructions,
      strict=False,
    ):
      logits = level.numpy() @ convolution.kernel.numpy()[0, 0] + convolution.bias.numpy()
      np.testing.assert_allclose(reconstruction, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    metrics[LEVELS_RECONSTRUCTION_LOSS] = np.mean(found)
    expected += 30 * np.mean(found)
  total, reported = objective.loss({"target": tf.constant(target)}, outputs, maps, training=False)
  assert float(total) == pytest.approx(expected, rel=1e-4)
  assert {name: float(value) for name, value in reported.items()} == pytest.approx(
    metrics, rel=1e-4
  )


def test_without_the_options_there_is_nothing():
  assert "levels" not in make_config().objectives


def make_step(**values):
  config = make_config(**values)
  model = build_model(config)
  step = PretrainStep(
    config,
    model,
    build_optimizer(config, examples=100, last_step=10),
    skip_non_finite=config.on_nan == "skip",
  )
  return model, step.loss.objectives[-1].heads, step


def make_batch(seed=0):
  images = tf.random.stateless_uniform([4, 2, 32, 32, 1], [seed, 1])
  return {"corrupted": tf.roll(images, 3, axis=2), "target": images}


def test_a_step_adds_them_and_trains_the_heads_and_all_levels():
  model, heads, step = make_step(contrastive_inputs="clean", **BOTH)
  before = heads.get_weights(), model.encoder.get_weights()
  reported = {name: value for name, value in step(make_batch()).items() if "first" not in name}
  total = (
    reported[CONTRAST_LOSS]
    + 300 * reported[RECONSTRUCTION_LOSS]
    + 0.5 * reported[LEVELS_CONTRAST_LOSS]
    + 30 * reported[LEVELS_RECONSTRUCTION_LOSS]
  )
  assert float(reported[TOTAL_LOSS]) == pytest.approx(float(total), rel=1e-5)
  for weights, network in zip(before, (heads, model.encoder), strict=True):
    changed = [np.any(a != b) for a, b in zip(weights, network.get_weights(), strict=True)]
    assert np.mean(changed) > 0.7  # biases before batch norm stay


@pytest.mark.parametrize(
  "values, message",
  [
    (
      dict(multi_level_reconstruction_weight=1.0, unet_depth=2),
      "multi_level_reconstruction_weight must be 0 unless images are reconstructed in three",
    ),
    (
      dict(multi_level_reconstruction_weight=1.0, reconstruction_weight=0.0),
      "multi_level_reconstruction_weight must be 0 unless images are reconstructed in three",
    ),
    (
      dict(multi_level_contrastive_weight=1.0, contrastive_method="moco"),
      "multi_level_contrastive_weight must be 0 unless an encoder with skip connections learns by",
    ),
    (
      dict(multi_level_contrastive_weight=1.0, contrastive_weight=0.0),
      "multi_level_contrastive_weight must be 0 unless",
    ),
  ],
)
def test_what_is_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)
