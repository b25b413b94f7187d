import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Config
from conrec_tf.models import build_model
from conrec_tf.models.heads import LinearHead
from conrec_tf.training.finetune_step import FinetuneStep
from conrec_tf.training.optimizers import build_optimizer

pytestmark = pytest.mark.usefixtures("optimized_graphs")


def make_step(**values):
  sizes = dict(base_filters=2, unet_depth=2)
  config = Config(**sizes, train_mode="finetune", learning_rate=0.01, **values)
  model, head = build_model(config), LinearHead(3)
  head(model.representation(tf.zeros([1, 16, 16, 1]), layer=config.ft_proj_selector))
  model.freeze(config.fine_tune_after_block)
  optimizer = build_optimizer(config, 100, 10, head.trainable_variables)
  optimizer.build(model.trainable_variables + head.trainable_variables)
  skip = config.on_nan == "skip"
  return model, head, FinetuneStep(config, model, head, optimizer, skip)


def values_of(model):
  """Values by variable."""
  return {id(weight): weight.numpy() for weight in model.weights}


def make_batch():
  labels = tf.constant([0, 1, 2, 0, 1, 2], tf.int64)
  images = tf.random.stateless_uniform([6, 16, 16, 1], [0, 0]) * 0.2
  return {"image": images + tf.cast(labels, tf.float32)[:, None, None, None] / 4, "label": labels}


def test_supervised_losses_by_hand():
  logits = tf.constant([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
  labels = tf.constant([0, 2])
  expected = (np.log(np.exp(2) + 2) - 2 + np.log(3)) / 2
  np.testing.assert_allclose(losses.supervised_loss(logits, labels), expected, rtol=1e-6)
  # Grades: bits 1 0 0 and 1 1 1; the first image's first bit has logit 2, all others 0.
  expected = (np.log(1 + np.exp(-2)) + 5 * np.log(2)) / 6
  np.testing.assert_allclose(losses.supervised_loss(logits, labels, True), expected, rtol=1e-6)
  np.testing.assert_array_equal(
    losses.predictions(tf.constant([[1.0, -1, 1], [-1, -1, -1]]), True), [1, 0]
  )
  assert losses.supervised_accuracy(logits, labels) == 0.5


@pytest.mark.parametrize(
  "values",
  [
    dict(),
    dict(optimizer="adam"),
    dict(optimizer="momentum"),
    dict(ordinal_labels=True),
    dict(fine_tune_after_block=2),
    dict(fine_tune_after_block=1),
    dict(ft_proj_selector=1),
  ],
)
def test_finetune_step_learns_and_reports(values):
  model, head, step = make_step(**values)
  before = values_of(model)
  run = tf.function(step)
  seen = [run(make_batch()) for _ in range(25)]
  assert set(seen[0]) == set(step.metrics())
  assert seen[-1]["train/supervised_loss"] < seen[0]["train/supervised_loss"]
  after = values_of(model)
  moved = {name for name in before if not np.array_equal(before[name], after[name])}
  frozen = values.get("fine_tune_after_block", -1)
  assert bool(moved) == (frozen != 2)
  if frozen == 1:  # level 0 stays, its moving statistics included
    still = {
      id(weight)
      for level in model.encoder.levels[:1]
      for block in level
      for weight in block.weights
    }
    assert still and not moved & still


def test_a_frozen_network_is_in_inference_mode():
  model, _, _ = make_step(fine_tune_after_block=2)
  images = make_batch()["image"]
  np.testing.assert_allclose(
    model.representation(images, training=True), model.embed(images), atol=1e-6
  )


def test_kappa_while_training():
  _, _, step = make_step(ordinal_labels=True)
  metric = step.metrics()["train/quadratic_weighted_kappa"]
  metric.update_state(tf.constant([0, 1, 2]), tf.constant([0, 1, 2]))
  assert metric.result() == 1.0


def test_heads_kernel_decays_through_the_loss_under_lars():
  _, head, step = make_step(optimizer="lars", weight_decay=0.5)
  expected = 0.25 * np.sum(head.dense.kernel.numpy() ** 2)
  np.testing.assert_allclose(step(make_batch())["train/weight_decay"], expected, rtol=1e-5)


def test_zero_init_head_starts_at_0():
  head = LinearHead(3, zero_init=True)
  assert not np.any(head(tf.ones([2, 4])))


def test_a_step_that_is_left_out_counts_in_no_kappa():
  _, _, step = make_step(ordinal_labels=True, on_nan="skip")
  metric = step.metrics()["train/quadratic_weighted_kappa"]
  batch = make_batch()
  for images in (batch["image"], batch["image"] * np.nan):
    metric.update_state(*step({**batch, "image": images})["train/quadratic_weighted_kappa"])
    assert np.sum(metric.conf_mtx) == 6
