"""Local crops against slow NumPy, and what they leave alone."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.losses import view_major
from conrec_tf.models import build_model
from conrec_tf.training.objectives.local_crops import (
  LocalCrops,
  crop_logits,
  decoupled_from_crop_logits,
)
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

LOSS = "train/local_crop_loss"


def unit(rows):
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_loss(crops, views, temperature):
  """Crop by crop, in float64."""
  crops, views = unit(np.float64(crops)), unit(np.float64(views))
  images, total = len(views) // 2, 0.0
  for row, crop in enumerate(crops):
    similarities = views @ crop / temperature
    is_own = np.arange(2 * images) % images == row % images
    total += logsumexp(similarities[~is_own]) - similarities[is_own].mean()
  return 2.0 * total / len(crops)


@pytest.mark.parametrize("number", [1, 3])
def test_loss_against_loops(rng, number):
  crops = rng.normal(size=(number * 4, 5)).astype(np.float32)
  views = rng.normal(size=(8, 5)).astype(np.float32)
  logits = crop_logits(tf.constant(crops), tf.constant(views), 0.2)
  assert logits.shape == (number, 4, 2, 4)
  found = float(decoupled_from_crop_logits(logits))
  assert found == pytest.approx(slow_loss(crops, views, 0.2), rel=1e-5)
  alike = decoupled_from_crop_logits(crop_logits(tf.ones([number * 4, 5]), tf.ones([8, 5]), 0.2))
  assert float(alike) == pytest.approx(2 * math.log(2 * 4 - 2), rel=1e-6)


def make_step(**values):
  sizes = dict(base_filters=2, unet_depth=2, attention_dropout=0.0, weight_decay=0.0)
  config = Config(**{**sizes, "local_crops": 0, **values})
  model = build_model(config)
  optimizer = build_optimizer(config, examples=100, last_step=10)
  skip = config.on_nan == "skip"
  return model, PretrainStep(config, model, optimizer, last_step=10, skip_non_finite=skip)


def make_batch():
  batch = {
    name: tf.random.stateless_uniform([4, 2, 16, 16, 1], [0, seed])
    for seed, name in enumerate(("corrupted", "target"))
  }
  return {**batch, "local_crops": tf.random.stateless_uniform([4, 3, 8, 8, 1], [0, 2])}


@pytest.mark.parametrize("method", ["decoupled", "moco"])
def test_a_step_adds_their_loss_alone(method):
  """Batch norm's averages, and what is logged of whole views, are as without crops."""
  batch, found = make_batch(), {}
  for values in (dict(), dict(local_crops=3, local_crop_weight=0.5)):
    model, step = make_step(contrastive_method=method, **values)
    views = view_major(batch["corrupted"])
    statistics = model.get_weights()
    projections = model.with_maps(views, training=True, num_views=2)[0].projection.numpy()
    crops = tf.concat(tf.unstack(batch["local_crops"], axis=1), axis=0)
    features, _ = model.encoder(crops, training=True)
    of_crops = model.projection_head(model.pooling(features, training=True), training=True).numpy()
    model.set_weights(statistics)
    metrics = step(batch)
    found[bool(values)] = metrics, model
  (plain, without), (metrics, model) = found[False], found[True]
  assert set(metrics) == set(step.metrics()) == {*plain, LOSS}
  assert float(metrics[LOSS]) == pytest.approx(slow_loss(of_crops, projections, 0.2), rel=1e-4)
  expected = float(plain["train/total_loss"] + 0.5 * metrics[LOSS])
  assert float(metrics["train/total_loss"]) == pytest.approx(expected, rel=1e-6)
  for ours, other in zip(
    model.non_trainable_variables, without.non_trainable_variables, strict=True
  ):
    np.testing.assert_allclose(ours, other, rtol=1e-6)
  moved = [
    not np.allclose(ours, other, rtol=1e-5, atol=1e-7)
    for ours, other in zip(
      model.encoder.trainable_variables, without.encoder.trainable_variables, strict=True
    )
  ]
  assert any(moved)
  for ours, other in zip(
    model.decoder.trainable_variables, without.decoder.trainable_variables, strict=True
  ):
    np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)


def test_held_out_images_have_no_such_loss():
  model, step = make_step(local_crops=3)
  batch = {name: views for name, views in make_batch().items() if name != "local_crops"}
  _, metrics = step.loss.validation(model, batch)
  assert LOSS not in metrics and not LocalCrops.in_validation


@pytest.mark.parametrize(
  "values, message",
  [
    (
      dict(local_crops=0, local_crop_size=16),
      "local_crop_size must be left out unless there are local_crops",
    ),
    (dict(local_crops=0, local_crop_weight=1.0), "local_crop_weight must be left out unless"),
    (dict(local_crops=2, contrastive_weight=0.0), "local_crops must be 0 or left out unless a"),
    (dict(local_crops=2, train_mode="finetune"), "local_crops must be 0 or left out unless a"),
    (
      dict(local_crops=2, local_crop_min_area=0.6),
      r"local_crop_min_area must be below local_crop_max_area. Received: 0.6 and 0.5",
    ),
    (
      dict(local_crops=2, local_crop_min_area=0.5),
      r"local_crop_min_area must be below local_crop_max_area. Received: 0.5 and 0.5",
    ),
    (
      dict(local_crops=2, local_crop_size=20),
      "local_crop_size must be a multiple of 8 for unet_depth=4. Received: 20",
    ),
  ],
)
def test_contradictions_are_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)


@pytest.mark.parametrize("crops", [dict(), dict(local_crops=0)])
@pytest.mark.parametrize("values", [dict(contrastive_weight=0.0), dict(train_mode="finetune")])
def test_where_nothing_is_contrasted_there_are_none_and_need_none(values, crops):
  config = Config(unet_depth=7, image_size=64, **values, **crops)  # crops would be too small
  assert not (config.is_pretraining and "local_crops" in config.objectives)
