import numpy as np
from oracles import algorithm_1, slow_segmentation_loss
import pytest
import tensorflow as tf

from conrec_tf import losses
from conrec_tf.segmentation.masks import IGNORED

CLASS_WEIGHTS = (1.0, 2.5, 0.5)


@pytest.mark.parametrize("images", [1, 2, 5, 16])
@pytest.mark.parametrize("width", [2, 128])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_nt_xent_is_twice_algorithm_1(rng, images, width, temperature):
  projections = rng.normal(size=(2 * images, width)).astype(np.float32)
  expected = 2 * algorithm_1(projections, temperature)
  np.testing.assert_allclose(
    losses.nt_xent(projections, temperature), expected, rtol=1e-5, atol=1e-6
  )
  np.testing.assert_allclose(
    tf.function(losses.nt_xent)(projections, temperature), expected, rtol=1e-5, atol=1e-6
  )


def test_nt_xent_of_equal_projections():
  np.testing.assert_allclose(losses.nt_xent(tf.ones([32, 7]), 0.5), 2 * np.log(31), rtol=1e-6)


def test_nt_xent_without_normalisation():
  # Two images; all products by hand: rows [1, 0], [0, 2] twice.
  projections = tf.constant([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 2.0]])
  first = np.log(np.exp(1) + 2) - 1
  second = np.log(np.exp(4) + 2) - 4
  np.testing.assert_allclose(
    losses.nt_xent(projections, 1.0, hidden_norm=False), first + second, rtol=1e-5
  )


def test_accuracy_and_entropy_look_at_the_block_between_views():
  a = np.eye(3, dtype=np.float32)
  b = a[[0, 2, 1]]  # only the first image finds its partner
  logits = losses.contrastive_logits(np.concatenate([a, b]), temperature=1.0)
  np.testing.assert_allclose(losses.contrastive_accuracy(logits), 1 / 3, rtol=1e-6)
  p = np.exp([1.0, 0.0, 0.0]) / np.exp([1.0, 0.0, 0.0]).sum()
  np.testing.assert_allclose(losses.contrastive_entropy(logits), -(p * np.log(p)).sum(), rtol=1e-5)


def test_reconstruction_losses():
  target = tf.zeros([2, 16, 16, 1])
  half = tf.fill([2, 16, 16, 1], 0.5)
  np.testing.assert_allclose(losses.reconstruction_loss(half, target), 0.25)
  np.testing.assert_allclose(losses.reconstruction_loss(half, target, "huber"), 0.125)
  np.testing.assert_allclose(losses.reconstruction_loss(half, half, "ssim"), 0.0, atol=1e-6)
  # SSIM of two constants is (2ab + c1) / (a^2 + b^2 + c1) with c1 = 0.01^2.
  np.testing.assert_allclose(
    losses.reconstruction_loss(half, target, "ssim"), 1 - 1e-4 / (0.25 + 1e-4), rtol=1e-4
  )
  with pytest.raises(ValueError, match="Received: mae"):
    losses.reconstruction_loss(half, target, "mae")


@pytest.mark.parametrize("images", [2, 5])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_decoupled_loss_leaves_the_pair_out_of_the_denominator(rng, images, temperature):
  projections = rng.normal(size=(2 * images, 6))
  rows = projections / np.linalg.norm(projections, axis=1, keepdims=True)
  similarities = np.exp(rows @ rows.T / temperature)
  expected = 0.0
  for row in range(2 * images):
    partner = (row + images) % (2 * images)
    others = [column for column in range(2 * images) if column not in (row, partner)]
    pair = similarities[row, partner]
    expected += np.log(sum(similarities[row, column] for column in others) / pair) / images
  logits = losses.contrastive_logits(projections.astype(np.float32), temperature)
  np.testing.assert_allclose(losses.decoupled_from_logits(logits), expected, rtol=1e-5)


def test_decoupled_loss_of_equal_projections():
  logits = losses.contrastive_logits(tf.ones([32, 7]), 0.5)
  np.testing.assert_allclose(losses.decoupled_from_logits(logits), 2 * np.log(30), rtol=1e-6)


@pytest.mark.parametrize(
  "method, images, queue, compared",
  [("nt_xent", 3, 0, 5), ("decoupled", 3, 0, 4), ("moco", 3, 0, 3), ("moco", 3, 7, 8)],
)
def test_projections_that_are_all_alike_are_one_of_those_they_are_compared_with(
  method, images, queue, compared
):
  expected = pytest.approx(2 * np.log(compared))
  assert losses.loss_of_equal_projections(method, images, queue) == expected


def test_grades_are_the_bits_above_a_half_less_one():
  logits = tf.constant([[2.0, 1.0, -1.0, -3.0], [-0.5, -1.0, -2.0, -2.0], [3.0, 2.0, 1.0, 0.5]])
  np.testing.assert_array_equal(losses.predictions(logits, ordinal=True), [1, 0, 3])
  np.testing.assert_array_equal(losses.predictions(logits), [0, 0, 0])
  accuracy = losses.supervised_accuracy(logits, tf.constant([1, 0, 0]), ordinal=True)
  assert float(accuracy) == pytest.approx(2 / 3)


def test_cross_entropy_of_grades_is_that_of_their_bits():
  logits = np.array([[2.0, 1.0, -1.0], [0.5, -1.0, -2.0]], np.float32)
  signs = np.array([[1, 1, -1], [1, -1, -1]])  # of grades 1 and 0
  found = losses.supervised_loss(tf.constant(logits), tf.constant([1, 0]), ordinal=True)
  assert float(found) == pytest.approx(np.log1p(np.exp(-signs * logits)).mean(), rel=1e-6)
  found = losses.supervised_loss(tf.constant(logits), tf.constant([1, 0]), ordinal=False)
  shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  assert float(found) == pytest.approx(-np.log(shares[[0, 1], [1, 0]]).mean(), rel=1e-6)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
@pytest.mark.parametrize("weights", [(), CLASS_WEIGHTS])
def test_segmentation_loss_against_loops(rng, kind, weights):
  logits = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
  classes = rng.choice([0, 1, 2, IGNORED], (2, 4, 5))
  found = losses.segmentation_loss(
    tf.constant(logits),
    tf.constant(classes, tf.int32),
    kind,
    class_weights=weights,
    dice_weight=0.7,
  )
  expected = slow_segmentation_loss(logits, classes, kind, np.array(weights or [1.0] * 3), 0.7)
  assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "cross_entropy_dice", "focal"])
def test_where_no_pixel_counts_nothing_is_learnt(kind):
  logits = tf.Variable(tf.random.stateless_normal([1, 4, 4, 2], [0, 1]))
  with tf.GradientTape() as tape:
    loss = losses.segmentation_loss(logits, tf.fill([1, 4, 4], IGNORED), kind)
  np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros([1, 4, 4, 2]))
  assert np.isfinite(loss)


def test_a_perfect_segmentation_costs_nothing():
  classes = tf.constant(np.arange(16).reshape(1, 4, 4) % 3, tf.int32)
  logits = 100.0 * tf.one_hot(classes, 3)
  for kind in ("cross_entropy", "dice", "focal"):
    assert float(losses.segmentation_loss(logits, classes, kind)) == pytest.approx(0.0, abs=1e-5)
