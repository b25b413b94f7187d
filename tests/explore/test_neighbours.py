import builtins

import numpy as np
import pytest

from conrec_tf.errors import UsageError
from conrec_tf.explore import neighbours as module
from conrec_tf.explore.neighbours import nearest, neighbours, unit_vectors

LIBRARIES = ("faiss", "scikit-learn")


def with_library(name, monkeypatch):
  """Lets neighbours be found by faiss, or as though it weren't installed."""
  if name == "faiss":
    pytest.importorskip("faiss", reason="needs requirements-explore.txt")
    return
  real = builtins.__import__

  def without_faiss(imported, *args, **kwargs):
    if imported == "faiss":
      raise ImportError(imported)
    return real(imported, *args, **kwargs)

  monkeypatch.setattr(builtins, "__import__", without_faiss)


def slow_neighbours(vectors, count):
  """All cosines, one by one: numbers and distances of the nearest others."""
  found = []
  for row, vector in enumerate(vectors):
    distances = [
      (1 - vector @ other / np.linalg.norm(vector) / np.linalg.norm(other), number)
      for number, other in enumerate(vectors)
      if number != row
    ]
    found.append(sorted(distances)[:count])
  return np.array(found)[..., 1].astype(int), np.array(found)[..., 0]


def test_unit_vectors_have_length_1_but_for_zeros():
  made = unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(made, [[0.6, 0.8], [0, 0]], rtol=1e-6)
  assert made.dtype == np.float32


@pytest.mark.parametrize("library", LIBRARIES)
def test_neighbours_are_those_of_a_slow_search(rng, library, monkeypatch):
  with_library(library, monkeypatch)
  vectors = rng.normal(size=(60, 5))
  found = neighbours(unit_vectors(vectors), 7, seed=0)
  others, distances = slow_neighbours(vectors, 7)
  np.testing.assert_array_equal(found.others, others)
  np.testing.assert_allclose(found.distance, distances, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_image_is_none_of_its_own_neighbours_among_copies(rng, library, monkeypatch):
  with_library(library, monkeypatch)
  units = unit_vectors(np.repeat(rng.normal(size=(3, 4)), 5, axis=0))
  found = neighbours(units, 3, seed=0)
  assert not np.any(found.others == np.arange(15)[:, np.newaxis])
  np.testing.assert_array_equal(found.others // 5, np.repeat(np.arange(15) // 5, 3).reshape(15, 3))
  np.testing.assert_array_equal(found.distance, 0)


def test_vectors_whose_lists_hold_too_few_are_searched_for_in_all(rng, monkeypatch):
  pytest.importorskip("faiss", reason="needs requirements-explore.txt")
  units = unit_vectors(rng.normal(size=(300, 5)))
  exact = neighbours(units, 20, seed=0)
  monkeypatch.setattr(module, "MOST_EXACT", 100)
  monkeypatch.setattr(module, "LISTS_SEARCHED", 1)  # of 69, with some four vectors each
  found = neighbours(units, 20, seed=0)
  np.testing.assert_array_equal(found.others, exact.others)
  np.testing.assert_array_equal(found.distance, exact.distance)


def test_few_vectors_have_all_others_as_neighbours(rng):
  assert neighbours(unit_vectors(rng.normal(size=(4, 3))), 30, seed=0).others.shape == (4, 3)
  assert neighbours(unit_vectors(rng.normal(size=(1, 3))), 30, seed=0).others.shape == (1, 0)


def test_the_nearest_of_a_query_is_the_image_itself(rng):
  units = unit_vectors(rng.normal(size=(20, 4)))
  found = nearest(units[[7, 2]], units, 3, seed=0)
  np.testing.assert_array_equal(found.others[:, 0], [7, 2])
  np.testing.assert_allclose(
    found.distance[:, 1:], np.sort(1 - units[[7, 2]] @ units.T)[:, 1:3], atol=1e-6
  )


def test_lists_of_very_many_find_nearly_all_neighbours(rng, monkeypatch):
  pytest.importorskip("faiss", reason="needs requirements-explore.txt")
  middles = rng.normal(size=(40, 8))
  units = unit_vectors(middles[rng.integers(0, 40, 3000)] + 0.3 * rng.normal(size=(3000, 8)))
  exact = neighbours(units, 10, seed=0).others
  monkeypatch.setattr(module, "MOST_EXACT", 1000)
  first, again = neighbours(units, 10, seed=0), neighbours(units, 10, seed=0)
  np.testing.assert_array_equal(first.others, again.others)
  shared = [len(np.intersect1d(*rows)) for rows in zip(exact, first.others, strict=True)]
  assert 0.95 < np.mean(shared) / 10 < 1


def test_very_many_need_faiss(rng, monkeypatch):
  with_library("scikit-learn", monkeypatch)
  monkeypatch.setattr(module, "MOST_EXACT", 10)
  with pytest.raises(UsageError, match=r"without faiss \(pip install .*\). Received: 11"):
    neighbours(unit_vectors(rng.normal(size=(11, 3))), 3, seed=0)
