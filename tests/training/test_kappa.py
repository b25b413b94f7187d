"""Quadratic weighted kappa while training: ours, and TensorFlow Addons' where it is installed."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
import tensorflow as tf

from conrec_tf.training.kappa import QuadraticWeightedKappa, quadratic_weighted_kappa


def updated(metric, labels, predictions):
  metric.update_state(tf.constant(labels), tf.constant(predictions))
  return metric


@pytest.mark.parametrize("make", [QuadraticWeightedKappa, quadratic_weighted_kappa])
def test_kappa_is_that_of_scikit_learn_over_batches(rng, make):
  labels, predictions = rng.integers(0, 5, [2, 60])
  predictions = np.where(rng.uniform(size=60) < 0.5, labels, predictions)
  metric = make(5)
  assert metric.result() == 0.0  # of nothing
  for part in np.split(np.arange(60), 3):
    updated(metric, labels[part], predictions[part])
  expected = cohen_kappa_score(labels, predictions, weights="quadratic")
  assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
  metric.reset_state()
  assert metric.result() == 0.0


@pytest.mark.parametrize("make", [QuadraticWeightedKappa, quadratic_weighted_kappa])
def test_kappa_of_one_grade_alone_is_0(make):
  assert updated(make(5), [2, 2, 2], [2, 2, 2]).result() == 0.0


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_kappa_and_its_checkpoints_are_those_of_addons(rng, tmp_path, classes):
  pytest.importorskip("tensorflow_addons")
  labels, predictions = rng.integers(0, classes, [2, 50])
  ours, addons = QuadraticWeightedKappa(classes), quadratic_weighted_kappa(classes)
  for metric in (ours, addons):
    updated(metric, labels, predictions)
  assert abs(float(ours.result()) - float(addons.result())) <= 1e-7
  for saved, restored in (
    (ours, quadratic_weighted_kappa(classes)),
    (addons, QuadraticWeightedKappa(classes)),
  ):
    path = tf.train.Checkpoint(kappa=saved).save(str(tmp_path / "kappa"))
    tf.train.Checkpoint(kappa=restored).restore(path).assert_consumed()
    assert restored.result() == saved.result() != 0.0
