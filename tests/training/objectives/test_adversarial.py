"""The adversarial loss against NumPy, and a discriminator that learns beside the network."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.metrics import (
  ADVERSARIAL_LOSS,
  DISCRIMINATOR_ACCURACY,
  DISCRIMINATOR_LOSS,
  FIRST_NON_FINITE_STEP,
  SKIPPED_UPDATES,
  TOTAL_LOSS,
)
from conrec_tf.models import build_model
from conrec_tf.training.objectives.adversarial import (
  Adversarial,
  PatchDiscriminator,
  adversarial_loss,
  discriminator_accuracy,
  discriminator_loss,
)
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

KINDS = ["least_squares", "hinge"]


def test_losses_by_hand():
  real, made = tf.constant([1.0, 0.0, 2.0]), tf.constant([0.0, 1.0, -2.0])
  assert float(adversarial_loss(made, "least_squares")) == pytest.approx((1 + 0 + 9) / 3)
  assert float(adversarial_loss(made, "hinge")) == pytest.approx(1 / 3)
  assert float(discriminator_loss(real, made, "least_squares")) == pytest.approx((2 + 5) / 3 / 2)
  assert float(discriminator_loss(real, made, "hinge")) == pytest.approx((1 + 3) / 3 / 2)
  assert float(discriminator_accuracy(real, made, "least_squares")) == pytest.approx(4 / 6)
  assert float(discriminator_accuracy(real, made, "hinge")) == pytest.approx((2 + 2) / 6)


def test_a_judgement_is_of_34_pixels_and_of_both_images(rng):
  discriminator = PatchDiscriminator(4)
  pair = rng.uniform(size=(2, 1, 64, 64, 1)).astype(np.float32)
  with tf.GradientTape() as tape:
    inputs = [tf.Variable(image) for image in pair]
    # Instance norm looks at the whole image; what is asked is the window of the convolutions.
    discriminator.norms = [tf.keras.layers.Activation("linear")] * 2
    judgements = discriminator(inputs)
    assert judgements.shape == (1, 16, 16, 1)
    middle = judgements[0, 8, 8, 0]
  for gradient in tape.gradient(middle, inputs):
    rows, columns = np.nonzero(gradient.numpy()[0, :, :, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 34


@pytest.mark.parametrize("last_step, is_said", [(6, False), (5, True)])
def test_a_judgement_that_never_counts_is_said(last_step, is_said, caplog):
  config = Config(base_filters=2, adversarial_weight=1.0, adversarial_start_step=5)
  judged = Adversarial(config, None, 1)
  judged.build(tf.Variable(0), last_step, skip_non_finite=False)
  assert ("--adversarial_start_step=5" in caplog.text) == is_said


def make_step(**values):
  sizes = dict(base_filters=2, unet_depth=2, image_size=32, train_batch_size=4, local_crops=0)
  config = Config(**{**sizes, "attention_dropout": 0.0, **values})
  model = build_model(config)
  step = PretrainStep(
    config,
    model,
    build_optimizer(config, examples=100, last_step=10),
    skip_non_finite=config.on_nan == "skip",
  )
  return model, step.loss.objectives[-1], step


def make_batch(seed=0):
  images = tf.random.stateless_uniform([4, 2, 32, 32, 1], [seed, 1])
  return {"corrupted": tf.roll(images, 3, axis=2), "target": images}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_step_is_the_weighted_sum(kind):
  values = dict(contrastive_weight=0.0, weight_decay=0.0, reconstruction_weight=10.0)
  model, adversary, step = make_step(adversarial_weight=3.0, adversarial_loss=kind, **values)
  batch = make_batch()
  corrupted, target = (
    tf.concat([batch[name][:, 0], batch[name][:, 1]], axis=0) for name in ("corrupted", "target")
  )
  statistics = model.get_weights()
  made = model(corrupted, training=True).reconstruction
  model.set_weights(statistics)
  real_scores, made_scores = (
    adversary.discriminator([corrupted, images]).numpy() for images in (target, made)
  )
  reconstruction = np.mean((made.numpy() - target.numpy()) ** 2)
  judged = {
    "least_squares": np.mean((made_scores - 1) ** 2),
    "hinge": -np.mean(made_scores),
  }[kind]
  reported = step(batch)
  np.testing.assert_allclose(reported[ADVERSARIAL_LOSS], judged, rtol=1e-4)
  np.testing.assert_allclose(reported[TOTAL_LOSS], 10 * reconstruction + 3 * judged, rtol=1e-5)
  expected = {
    "least_squares": (np.mean((real_scores - 1) ** 2) + np.mean(made_scores**2)) / 2,
    "hinge": np.mean(np.maximum(0, 1 - real_scores) + np.maximum(0, 1 + made_scores)) / 2,
  }[kind]
  np.testing.assert_allclose(reported[DISCRIMINATOR_LOSS], expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminator_learns_to_tell(kind):
  _, _, step = make_step(
    **dict(adversarial_weight=1e-9, adversarial_loss=kind, contrastive_weight=0.0, unet_depth=3),
    discriminator_learning_rate=0.003,
  )
  call = tf.function(step)
  accuracies = [float(call(make_batch())[DISCRIMINATOR_ACCURACY]) for _ in range(60)]
  assert accuracies[0] < 0.8 and accuracies[-1] > 0.95


def test_before_its_start_the_network_learns_as_without():
  found = []
  for values in ({}, dict(adversarial_weight=5.0, adversarial_start_step=2)):
    model, adversary, step = make_step(contrastive_weight=0.0, **values)
    weights = []
    for number in range(3):
      step(make_batch(number))
      weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    found.append(weights)
  for without, with_it in zip(found[0][:2], found[1][:2], strict=True):
    np.testing.assert_allclose(with_it, without, rtol=1e-5, atol=1e-7)
  assert np.abs(found[0][2] - found[1][2]).max() > 1e-4
  assert int(adversary.optimizer.iterations) == 3  # it learnt from the first


def test_a_discriminator_that_is_not_finite_changes_neither_network():
  model, adversary, step = make_step(adversarial_weight=1.0, on_nan="skip")
  step(make_batch())
  bias = adversary.discriminator.convolutions[-1].bias
  bias.assign(bias * np.nan)
  before = model.get_weights() + adversary.discriminator.get_weights()
  assert float(step(make_batch(1))[SKIPPED_UPDATES]) == 1
  after = model.get_weights() + adversary.discriminator.get_weights()
  for weight, value in zip(before, after, strict=True):
    np.testing.assert_array_equal(weight, value)


def test_a_discriminator_that_is_not_finite_is_reported():
  _, adversary, step = make_step(adversarial_weight=1.0, adversarial_start_step=5, on_nan="stop")
  step(make_batch())
  kernel = adversary.discriminator.convolutions[0].kernel
  kernel.assign(kernel * np.nan)
  number, happened = step(make_batch(1))[FIRST_NON_FINITE_STEP]
  assert (int(number), bool(happened)) == (2, True)


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(adversarial_loss="hinge"), "adversarial_loss must be left out unless"),
    (dict(adversarial_start_step=3), "adversarial_start_step must be left out unless"),
    (dict(discriminator_learning_rate=0.1), "discriminator_learning_rate must be left out"),
    (
      dict(adversarial_weight=1.0, reconstruction_weight=0.0),
      "adversarial_weight must be 0 where nothing is reconstructed. Received: 1.0",
    ),
    (
      dict(adversarial_weight=1.0, train_mode="finetune"),
      "adversarial_weight must be 0 where nothing is reconstructed",
    ),
  ],
)
def test_what_is_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)
