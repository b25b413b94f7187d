"""Losses of segmentation against loops in NumPy."""

import numpy as np
import pytest
from scipy.special import log_softmax
import tensorflow as tf

from conrec_tf.data.masks import IGNORED
from conrec_tf.segmentation_losses import segmentation_loss

WEIGHTS = (1.0, 2.5, 0.5)


def slow_loss(logits, classes, kind, weights, dice_weight=1.0, gamma=2.0):
  """Pixel by pixel, in float64."""
  logs = log_softmax(np.float64(logits), axis=-1)
  total = counted = 0.0
  both, made, true = np.zeros([3, len(weights)])
  for place in np.ndindex(classes.shape):
    label = classes[place]
    if label >= len(weights):
      continue
    share = np.exp(logs[place])
    modulation = (1 - share[label]) ** gamma if kind == "focal" else 1.0
    total -= weights[label] * modulation * logs[place][label]
    counted += weights[label]
    made += share
    true[label] += 1
    both[label] += share[label]
  pixels = total / counted if counted else 0.0
  dice = np.sum(weights * (1 - (2 * both + 1) / (made + true + 1))) / np.sum(weights)
  return {"dice": dice, "cross_entropy_dice": pixels + dice_weight * dice}.get(kind, pixels)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_against_loops(rng, kind, weights):
  logits = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
  classes = rng.choice([0, 1, 2, IGNORED], (2, 4, 5))
  found = segmentation_loss(
    tf.constant(logits),
    tf.constant(classes, tf.int32),
    kind,
    class_weights=weights,
    dice_weight=0.7,
  )
  expected = slow_loss(logits, classes, kind, np.array(weights or [1.0] * 3), 0.7)
  assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
def test_where_nothing_counts_nothing_is_learnt(kind):
  logits = tf.Variable(tf.random.stateless_normal([1, 4, 4, 2], [0, 1]))
  with tf.GradientTape() as tape:
    loss = segmentation_loss(logits, tf.fill([1, 4, 4], IGNORED), kind)
  np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros([1, 4, 4, 2]))
  assert np.isfinite(loss)


def test_a_perfect_answer_costs_nothing():
  classes = tf.constant(np.arange(16).reshape(1, 4, 4) % 3, tf.int32)
  logits = 100.0 * tf.one_hot(classes, 3)
  for kind in ("cross_entropy", "dice", "focal"):
    assert float(segmentation_loss(logits, classes, kind)) == pytest.approx(0.0, abs=1e-5)
