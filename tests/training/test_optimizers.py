import numpy as np
import oracles
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.models import build_model
from conrec_tf.training.lars import LARS, lars_update
from conrec_tf.training.optimizers import (
  AdamW,
  WarmupCosine,
  build_optimizer,
  penalized_variables,
  scaled_learning_rate,
)


def test_three_lars_steps_by_hand():
  # |w| = 5, |g| = 0.5: trust 0.001 * 10 = 0.01; learning rate 1.
  w, v = tf.constant([[3.0, 4.0]]), tf.zeros([1, 2])
  g = tf.constant([[0.3, 0.4]])
  settings = dict(learning_rate=1.0, momentum=0.5, weight_decay=0.0, trust_coefficient=0.001)
  w, v = lars_update(w, g, v, **settings)
  np.testing.assert_allclose(v, [[0.003, 0.004]], rtol=1e-6)
  np.testing.assert_allclose(w, [[2.997, 3.996]], rtol=1e-6)
  w, v = lars_update(w, g, v, **settings)  # |w| = 4.995
  np.testing.assert_allclose(v, [[0.0015 + 0.002997, 0.002 + 0.003996]], rtol=1e-6)
  w, v = lars_update(w, tf.zeros([1, 2]), v, **settings)  # no gradient: trust 1, only momentum
  np.testing.assert_allclose(v, [[0.0022485, 0.002998]], rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_100_lars_steps_equal_numpy(rng, decay):
  shapes = [(3, 3, 2, 4), (5, 6), (6,), (4, 4), (2, 3)]
  variables = [tf.Variable(rng.normal(size=shape), dtype=tf.float64) for shape in shapes]
  variables[4].assign(tf.zeros([2, 3], tf.float64))  # zero norm at first
  optimizer = LARS(0.3, momentum=0.9, lars_decay=decay, excluded=[variables[3]])
  optimizer.build(variables)
  expected = [v.numpy() for v in variables]
  velocities = [np.zeros(shape) for shape in shapes]
  step = tf.function(
    lambda gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True))
  )
  for round in range(100):
    gradients = [rng.normal(size=shape) for shape in shapes]
    if round % 10 == 0:
      gradients[1][:] = 0.0  # decay alone
    step([tf.constant(g) for g in gradients])
    for i, gradient in enumerate(gradients):
      excluded = i in (2, 3)
      expected[i], velocities[i] = oracles.lars(
        expected[i],
        gradient,
        velocities[i],
        np.float32(0.3),
        0.9,
        0.0 if excluded else decay,
        None if excluded else 0.001,
      )
  for variable, value in zip(variables, expected, strict=True):
    np.testing.assert_allclose(variable, value, rtol=1e-9)


def test_lars_excludes_biases_and_batch_norm():
  model = build_model(Config(base_filters=4))
  optimizer = build_optimizer(Config(optimizer="lars"), examples=100, last_step=10)
  optimizer.build(model.trainable_variables)
  excluded = {v.name.split("/")[-1] for v in model.trainable_variables if optimizer.is_excluded(v)}
  decayed = {
    v.name.split("/")[-1] for v in model.trainable_variables if not optimizer.is_excluded(v)
  }
  assert excluded == {"bias:0", "beta:0", "gamma:0"}
  assert decayed == {"kernel:0"}


def test_keras_adds_no_decay_of_its_own():
  variable = tf.Variable([[1.0, -np.inf]])  # of which a decay by 0 would make NaN
  optimizer = LARS(0.1, lars_decay=0.5, excluded=[variable])
  optimizer.build([variable])
  optimizer.apply_gradients([(tf.zeros([1, 2]), variable)])
  np.testing.assert_array_equal(variable, [[1.0, -np.inf]])


@pytest.mark.parametrize(
  "scaling, expected", [("sqrt", 0.3), ("linear", 0.075 / 16), ("none", 0.075)]
)
def test_learning_rate_scaling(scaling, expected):
  assert scaled_learning_rate(0.075, scaling, 16) == pytest.approx(expected)


def test_lars_is_made_again_from_its_config():
  optimizer = LARS(0.3, momentum=0.8, lars_decay=0.1, trust_coefficient=0.01)
  clone = LARS.from_config(optimizer.get_config())
  assert clone.get_config() == optimizer.get_config()


def test_warmup_cosine_by_hand():
  schedule = WarmupCosine(0.4, warmup_steps=4, last_step=12)
  expected = [0.0, 0.1, 0.2, 0.3, 0.4] + [0.2 * (1 + np.cos(np.pi * k / 8)) for k in range(1, 9)]
  np.testing.assert_allclose([schedule(step) for step in range(13)], expected, atol=1e-7)
  np.testing.assert_allclose(WarmupCosine(0.4, 2)(1000), 0.4)
  np.testing.assert_allclose(WarmupCosine(0.4, 0, 10)(0), 0.4)


@pytest.mark.parametrize(
  "name, kind",
  [("lars", LARS), ("momentum", tf.keras.optimizers.SGD), ("adam", tf.keras.optimizers.Adam)],
)
def test_optimizers_follow_the_schedule(name, kind):
  # SimCLR's warm-up: 1.5 epochs of 32 images are 3 steps of 16.
  config = Config(
    optimizer=name,
    warmup_epochs=1.5,
    learning_rate_schedule="cosine",
    learning_rate_scaling="none",
    learning_rate=0.3,
  )
  optimizer = build_optimizer(config, examples=32, last_step=9)
  assert isinstance(optimizer, kind)
  variable = tf.Variable([[1.0]])
  optimizer.build([variable])
  for step in range(4):
    before = variable.numpy()
    optimizer.apply_gradients([(tf.ones([1, 1]), variable)])
    np.testing.assert_allclose(optimizer.learning_rate, 0.1 * step, atol=1e-6)
    assert np.array_equal(variable, before) == (step == 0)


@pytest.mark.parametrize("last_step, is_said", [(4, False), (3, True), (2, True)])
def test_a_warm_up_as_long_as_the_training_is_said(last_step, is_said, caplog):
  build_optimizer(Config(warmup_epochs=1.5), examples=32, last_step=last_step)  # 3 steps of 16
  said = f"rises for 3 steps (--warmup_epochs=1.5), and the training has {last_step}"
  assert (said in caplog.text) == is_said


def test_momentum_is_nesterov():
  variable = tf.Variable([[1.0]])
  optimizer = build_optimizer(
    Config(optimizer="momentum", learning_rate=0.1, learning_rate_scaling="none"), 100, 10
  )
  optimizer.apply_gradients([(tf.ones([1, 1]), variable)])
  np.testing.assert_allclose(variable, [[1 - 0.1 * 1.9]], rtol=1e-6)


def test_adamw_decays_matrices_apart_from_the_gradient():
  config = Config(
    optimizer="adamw", learning_rate=0.1, learning_rate_scaling="none", weight_decay=0.5
  )
  optimizer = build_optimizer(config, examples=100, last_step=10)
  matrix, vector = tf.Variable([[2.0]]), tf.Variable([2.0])
  optimizer.build([matrix, vector])
  optimizer.apply_gradients([(tf.constant([[3.0]]), matrix), (tf.constant([3.0]), vector)])
  # Adam's first step is the rate; decay takes 0.1 * 0.5 of the weight.
  np.testing.assert_allclose(vector, [1.9], rtol=1e-5)
  np.testing.assert_allclose(matrix, [[2.0 - 0.1 - 0.1]], rtol=1e-5)
  assert penalized_variables("adamw", [matrix, vector], []) == []


@pytest.mark.parametrize("in_graph", [True, False])
def test_adamw_equals_numpy(rng, in_graph):
  shapes = [(3, 3, 2, 4), (5, 6), (6,)]
  variables = [tf.Variable(rng.normal(size=shape), dtype=tf.float64) for shape in shapes]
  optimizer = AdamW(0.01, weight_decay=0.1)
  optimizer.build(variables)
  expected = [v.numpy() for v in variables]
  moments = [(np.zeros(shape), np.zeros(shape)) for shape in shapes]
  rate = float(np.float32(0.01))

  def step(gradients):
    optimizer.apply_gradients(zip(gradients, variables, strict=True))

  step = tf.function(step) if in_graph else step
  for t in range(1, 21):
    gradients = [rng.normal(size=shape) for shape in shapes]
    step([tf.constant(g) for g in gradients])
    for i, g in enumerate(gradients):
      m, v = moments[i]
      moments[i] = m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
      if g.ndim > 1:
        expected[i] = expected[i] - rate * 0.1 * expected[i]
      rate_now = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
      expected[i] = expected[i] - rate_now * m / (np.sqrt(v) + 1e-7)
  for variable, value in zip(variables, expected, strict=True):
    np.testing.assert_allclose(variable, value, rtol=1e-9)
