import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.metrics import FIRST_NON_FINITE_STEP, SKIPPED_UPDATES
from conrec_tf.models import build_model
from conrec_tf.models.heads import LinearHead
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep
from conrec_tf.training.update_step import FirstNonFiniteStep


def make_step(**values):
  config = Config(
    base_filters=2, unet_depth=2, image_size=24, local_crops=0, warmup_epochs=1, **values
  )
  model = build_model(config)
  head = LinearHead(3)
  head(tf.zeros([1, 2 * (2 + 4)]))
  optimizer = build_optimizer(config, 100, 10, head.trainable_variables)
  optimizer.build(model.trainable_variables + head.trainable_variables)
  step = PretrainStep(config, model, optimizer, head, skip_non_finite=config.on_nan == "skip")
  return step, model.variables + head.variables + optimizer.variables, optimizer


def make_batch(value=None):
  batch = {
    part: tf.random.stateless_uniform([4, 2, 24, 24, 1], [0, seed])
    for seed, part in enumerate(("corrupted", "target"))
  }
  if value is not None:
    batch["target"] = tf.fill([4, 2, 24, 24, 1], value)
  return {**batch, "label": tf.constant([0, 1, 2, 0], tf.int64)}


@pytest.fixture(scope="module")
def traced():
  """A step that skips what isn't finite, as a graph; its metrics, variables and their values."""
  step, variables, optimizer = make_step(on_nan="skip", lineareval_while_pretraining=True)
  return tf.function(step), step.metrics, variables, [v.numpy() for v in variables], optimizer


@pytest.fixture
def skipping(traced):
  """That step where it begins."""
  step, metrics, variables, before, optimizer = traced
  for variable, value in zip(variables, before, strict=True):
    variable.assign(value)
  return step, metrics(), variables, before, optimizer


@pytest.mark.parametrize("wrong", [np.float32("nan"), np.float32("inf")])
def test_a_skipped_step_leaves_everything_but_the_step_counter(skipping, wrong):
  step, metrics, variables, before, optimizer = skipping

  def log(values):
    for name, value in values.items():
      metrics[name].update_state(*(value if isinstance(value, tuple) else (value,)))
    return {name: float(metric.result()) for name, metric in metrics.items()}

  assert log(step(make_batch(wrong)))[SKIPPED_UPDATES] == 1
  for variable, value in zip(variables, before, strict=True):
    if variable is not optimizer.iterations:
      np.testing.assert_array_equal(variable, value)
  assert int(optimizer.iterations) == 1
  results = step(make_batch())
  logged = log(results)
  assert logged[SKIPPED_UPDATES] == 1  # still
  assert logged["train/total_loss"] == pytest.approx(float(results["train/total_loss"][0]))
  assert any(
    np.any(variable.numpy() != value) for variable, value in zip(variables, before, strict=True)
  )


@pytest.mark.parametrize(
  "values", [dict(moving_average_decay=0.5), dict(contrastive_method="moco", moco_momentum=0.5)]
)
def test_averages_of_weights_stay_at_a_skipped_step_and_follow_at_another(values):
  step, _, _ = make_step(on_nan="skip", lineareval_while_pretraining=True, **values)
  [average] = [part for name, part in step.loss.networks.items() if name in ("average", "momentum")]
  for weight in average.weights:
    weight.assign_add(tf.ones_like(weight))  # apart from the network's
  before = average.get_weights()
  taken = tf.function(step)
  taken(make_batch(np.float32("nan")))
  for found, value in zip(average.get_weights(), before, strict=True):
    np.testing.assert_array_equal(found, value)
  taken(make_batch())
  assert np.any(average.get_weights()[0] != before[0])


def test_a_good_step_is_the_same_either_way(skipping):
  step, _, variables, before, _ = skipping
  step(make_batch())
  other, others, _ = make_step(on_nan="stop", lineareval_while_pretraining=True)
  for value, at_first in zip(others, before, strict=True):
    np.testing.assert_array_equal(value, at_first)
  tf.function(other)(make_batch())
  for a, b in zip(variables, others, strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_gradient_that_is_not_finite_is_noticed():
  """The loss is finite, its derivative at 0 of a square root isn't."""
  step, _, optimizer = make_step(lineareval_while_pretraining=True)
  weight = step._variables[0]
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.sqrt(0.0 * weight))
  gradients = [tape.gradient(loss, weight)] + [tf.zeros_like(v) for v in step._variables[1:]]
  number, trouble = step._update(loss, gradients, [], {})[FIRST_NON_FINITE_STEP]
  assert np.isfinite(loss) and trouble and number == 1


def test_first_non_finite_step_is_kept():
  metric = FirstNonFiniteStep("first")
  for number, happened in enumerate([False, True, True, False], start=5):
    metric.update_state(tf.constant(number, tf.int64), tf.constant(happened))
  assert metric.result() == 6
  metric.reset_state()
  assert metric.result() == 0
