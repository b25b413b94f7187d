import sys

import numpy as np
import pytest

from conrec_tf.explore import embedding_map as module
from conrec_tf.explore.embedding_map import embedding_map, placed
from conrec_tf.explore.neighbours import Neighbours, neighbours, unit_vectors


def drawn(rng, count=90):
  """Vectors of three groups, and the group of each."""
  group = np.arange(count) % 3
  return unit_vectors(np.eye(3, 6)[group] + 0.05 * rng.normal(size=(count, 6))), group


def mapped(units, library, monkeypatch, seed=0):
  if library == "openTSNE":
    pytest.importorskip("openTSNE", reason="needs requirements-explore.txt")
  else:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
  return embedding_map(units, neighbours(units, 30, seed=0), seed)


def share_of_own_group(places, group):
  """How often the nearest on the map is of the same group."""
  apart = np.linalg.norm(places[:, np.newaxis] - places, axis=2)
  np.fill_diagonal(apart, np.inf)
  return np.mean(group[apart.argmin(axis=1)] == group)


@pytest.mark.parametrize("library", ["openTSNE", "scikit-learn"])
def test_groups_lie_apart_and_the_seed_fixes_all(rng, library, monkeypatch):
  units, group = drawn(rng)
  first, again = (mapped(units, library, monkeypatch) for _ in range(2))
  assert first.by == library and first.fitted == 90
  assert share_of_own_group(first.places, group) == 1
  np.testing.assert_array_equal(first.places, again.places)


def test_images_beyond_the_limit_are_placed_among_their_nearest(rng, monkeypatch, caplog):
  caplog.set_level("INFO", "conrec_tf")
  monkeypatch.setattr(module, "MOST_FITTED_BY_SKLEARN", 60)
  units, group = drawn(rng)
  found = mapped(units, "scikit-learn", monkeypatch)
  assert "fitted to 60 of 90 images; for more: pip install" in caplog.text
  assert found.fitted == 60 and np.isfinite(found.places).all()
  assert share_of_own_group(found.places, group) == 1


def test_a_place_is_the_mean_of_neighbours_by_their_nearness():
  found = Neighbours(np.array([[0, 1], [2, 1]]), np.array([[0.1, 0.3], [0.0, 0.5]]))
  places = placed(found, np.array([[0.0, 0.0], [4.0, 8.0], [1.0, 1.0]]))
  np.testing.assert_allclose(places, [[1, 2], [1, 1]], atol=1e-4)


@pytest.mark.parametrize("library", ["openTSNE", "scikit-learn"])
def test_vectors_of_one_number_have_places(rng, library, monkeypatch):
  units = unit_vectors(rng.normal(size=(20, 1)))
  places = mapped(units, library, monkeypatch).places
  assert places.shape == (20, 2) and np.isfinite(places).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_equal_images_have_places_too(rng, count):
  units = unit_vectors(rng.normal(size=(count, 5)))
  assert embedding_map(units, neighbours(units, 30, 0), 0).places.shape == (count, 2)
  equal = np.repeat(units[:1], 8, axis=0)
  assert np.isfinite(embedding_map(equal, neighbours(equal, 30, 0), 0).places).all()
