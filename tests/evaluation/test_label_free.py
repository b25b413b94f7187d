"""Measures without labels against their definitions."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.evaluation import label_free
from conrec_tf.metrics import (
  ALIGNMENT,
  DEAD_DIMENSIONS,
  EFFECTIVE_RANK,
  RANK_ME,
  SHARPNESS,
  UNIFORMITY,
)
from conrec_tf.models import build_model


def by_definition(embeddings):
  """RankMe as its paper has it."""
  values = np.linalg.svd(embeddings, compute_uv=False)
  shares = values / np.sum(np.abs(values)) + 1e-7
  return np.exp(-sum(share * np.log(share) for share in shares))


@pytest.mark.parametrize("shape", [(200, 12), (12, 200), (50, 50)])
def test_rank_me_is_its_definition(rng, shape):
  embeddings = rng.normal(size=shape) * np.linspace(1, 20, shape[1]) + 3
  assert label_free.rank_me(embeddings) == pytest.approx(by_definition(embeddings), rel=1e-6)


def test_rank_of_known_embeddings(rng):
  found = label_free.label_free_measures(np.eye(16, dtype=np.float32))
  assert found[RANK_ME] == pytest.approx(16, rel=1e-4)
  assert found[EFFECTIVE_RANK] == pytest.approx(15, rel=1e-4)
  assert found[DEAD_DIMENSIONS] == 0
  assert found[UNIFORMITY] == pytest.approx(-4)  # all at right angles
  plane = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 30))
  assert label_free.rank_me(plane) <= 2.001
  plane[:, :6] = 5
  assert label_free.label_free_measures(plane)[DEAD_DIMENSIONS] == 0.2


def test_a_single_image_has_no_spread_and_is_no_collapse(caplog):
  found = label_free.label_free_measures(np.ones([1, 4], np.float32))
  label_free.warn_of_collapse(found)
  assert found == {} and not caplog.text


def test_uniformity_does_not_depend_on_the_order_of_classes(rng):
  classes = np.repeat(np.eye(8), 1000, axis=0) + 0.01 * rng.normal(size=(8000, 8))
  found = [
    label_free.label_free_measures(embeddings)[UNIFORMITY]
    for embeddings in (classes, rng.permutation(classes))
  ]
  assert found[0] == pytest.approx(found[1], abs=0.05)


def test_alignment_by_hand():
  first, second = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[5.0, 0.0], [3.0, 0.0]])
  assert label_free.alignment(first, first) == 0
  assert label_free.alignment(first, second) == pytest.approx((0 + 2) / 2)
  assert label_free.alignment(first, -first) == pytest.approx(4)


def test_uniformity_against_loops(rng):
  embeddings = rng.normal(size=(20, 5))
  directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
  pairs = [
    np.exp(-2 * np.sum((directions[i] - directions[j]) ** 2)) for i in range(20) for j in range(i)
  ]
  assert label_free.uniformity(embeddings) == pytest.approx(np.log(np.mean(pairs)))


@pytest.mark.parametrize("alike, warns", [(True, True), (False, False)])
def test_a_collapse_is_said_in_one_line(rng, caplog, alike, warns):
  embeddings = rng.normal(size=(50, 8)) * (1e-3 if alike else 1) + 1.0
  label_free.warn_of_collapse(label_free.label_free_measures(embeddings))
  assert ("have collapsed: RankMe is 1.0" in caplog.text) == warns


def test_embeddings_that_are_all_zeros():
  found = label_free.label_free_measures(np.zeros([10, 4]))
  assert np.all(np.isfinite(list(found.values()))) and found[DEAD_DIMENSIONS] == 1


def test_gradient_energy_by_hand():
  even = np.full([4, 6, 2], 0.3)
  columns = np.tile([0.0, 1.0], [4, 3])[..., np.newaxis].repeat(2, axis=-1)
  half = np.zeros([4, 6, 2])
  half[2:] = 1.0
  np.testing.assert_allclose(
    label_free.gradient_energy(np.stack([even, columns, half])), [0.0, 1.0, 1 / 3], atol=1e-12
  )


@pytest.mark.parametrize("reconstruction_weight", [0.0, 100.0])
def test_view_measures_of_a_network(rng, reconstruction_weight):
  model = build_model(Config(base_filters=2, reconstruction_weight=reconstruction_weight))
  batches = [
    {
      name: tf.constant(rng.uniform(size=(3, 2, 32, 32, 1)).astype(np.float32))
      for name in ("corrupted", "target")
    }
    for _ in range(2)
  ]
  found = label_free.view_measures(model, batches, layer=0)
  views = [np.concatenate([batch["target"][:, side] for batch in batches]) for side in (0, 1)]
  aligned = label_free.alignment(*(model.embed(images).numpy() for images in views))
  assert found[ALIGNMENT] == pytest.approx(aligned, rel=1e-4)
  if not reconstruction_weight:
    assert SHARPNESS not in found
    return
  corrupted = np.concatenate([batch["corrupted"][:, 0] for batch in batches])
  made = model(corrupted).reconstruction.numpy()
  expected = label_free.gradient_energy(made).mean() / label_free.gradient_energy(views[0]).mean()
  assert found[SHARPNESS] == pytest.approx(expected, rel=1e-4)
