"""What a step of each objective of pre-training has to keep to, whatever its loss is."""

import pathlib

from foreign_networks import WIDTH, quarters
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.metrics import SKIPPED_UPDATES
from conrec_tf.models import build_model
from conrec_tf.training.objectives import objective
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

pytestmark = pytest.mark.usefixtures("optimized_graphs")

LEVELS = dict(multi_level_contrastive_weight=0.5, multi_level_reconstruction_weight=30.0)
# Values of options that use an objective, beside those of the paper.
VALUES = {
  "paper": dict(),
  "moco": dict(contrastive_method="moco", moco_queue_length=16),
  "levels": dict(unet_depth=3, **LEVELS),
  "adversarial": dict(adversarial_weight=1.0),
  "local_crops": dict(local_crops=3),
  "teacher": dict(teacher_relation_weight=0.5),
}


@pytest.fixture(scope="module", autouse=True)
def _teacher(tmp_path_factory):
  VALUES["teacher"]["teacher"] = quarters(tmp_path_factory.mktemp("teacher") / "quarters")


def make_config(name, **values):
  sizes = dict(base_filters=2, unet_depth=2, image_size=32, train_batch_size=4)
  still = dict(attention_dropout=0.0, weight_decay=0.0, local_crops=0)
  return Config(**{**sizes, **still, **VALUES[name], **values})


def make_step(name, **values):
  config = make_config(name, **values)
  model, optimizer = build_model(config), build_optimizer(config, examples=100, last_step=10)
  skip = config.on_nan == "skip"
  return PretrainStep(config, model, optimizer, last_step=10, skip_non_finite=skip)


def make_batch(seed=0):
  images = tf.random.stateless_uniform([4, 2, 32, 32, 1], [seed, 1])
  crops = tf.random.stateless_uniform([4, 3, 8, 8, 1], [seed, 2])
  views = {"corrupted": tf.roll(images, 3, axis=2), "target": images, "local_crops": crops}
  return views | {"teacher_vector": tf.random.stateless_normal([4, WIDTH], [seed, 3])}


def state(step):
  """Every weight that a training keeps, by the name of its part: `{name: arrays}`."""
  parts = {**step.loss.networks, **step.loss.only_to_resume}
  return {
    name: [np.array(weight) for weight in getattr(part, "weights", None) or [part]]
    for name, part in parts.items()
    if not isinstance(part, tf.keras.optimizers.Optimizer)
  }


def test_each_objective_has_a_case():
  used = {objective for name in VALUES for objective in make_config(name).objectives}
  modules = {path.stem for path in pathlib.Path(objective.__file__).parent.glob("*.py")}
  assert modules - used == {
    *("__init__", "objective", "pretrain_loss"),
    *("supervised", "gradient_conflict"),  # beside them
  }


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "levels")) for name in VALUES]
)
def test_eager_equals_graph(name):
  found = []
  for wrap in (lambda step: step, tf.function):
    step = make_step(name)
    call = wrap(step)
    reported = [call(make_batch(number)) for number in range(2)]
    assert set(reported[0]) == set(step.metrics())
    found.append(state(step))
  assert found[0].keys() == found[1].keys()
  for part, weights in found[0].items():
    for eager, graph in zip(weights, found[1][part], strict=True):
      # Adam's first steps enlarge the rounding of small gradients, which differs by processor.
      np.testing.assert_allclose(eager, graph, rtol=5e-3, atol=1e-4, err_msg=part)


@pytest.mark.parametrize(
  "name, bad",
  [
    *((name, "corrupted") for name in VALUES),
    ("adversarial", "target"),
    ("local_crops", "local_crops"),
    ("teacher", "teacher_vector"),
  ],
)
def test_a_step_that_is_not_finite_changes_nothing(name, bad):
  step, batch = make_step(name, on_nan="skip"), make_batch(1)
  step(make_batch())
  before = state(step)
  reported = step({**batch, bad: batch[bad] * np.nan})
  assert float(reported[SKIPPED_UPDATES]) == 1
  after = state(step)
  follows = after.pop("momentum", ())  # it comes nearer to a network that stays
  assert all(np.isfinite(weight).all() for weight in follows)
  for part, weights in after.items():
    for weight, value in zip(weights, before[part], strict=True):
      np.testing.assert_array_equal(weight, value, part)
