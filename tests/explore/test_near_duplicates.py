import numpy as np

from conrec_tf.data.duplicates import Duplicate
from conrec_tf.explore.duplicates import Pair, near_duplicates
from conrec_tf.explore.neighbours import neighbours, unit_vectors


def pairs_of(vectors, by_hash=()):
  units = unit_vectors(np.asarray(vectors))
  return near_duplicates(units, neighbours(units, 30, seed=0), by_hash)


def test_planted_duplicates_are_found_and_nothing_else(rng):
  vectors = rng.normal(size=(300, 16))
  vectors[200:220] = vectors[:20] + 0.01 * rng.normal(size=(20, 16))
  found = pairs_of(vectors)
  assert sorted((pair.first, pair.second) for pair in found) == [(at, at + 200) for at in range(20)]
  assert all(pair.is_near and pair.bits == -1 for pair in found)
  distances = [pair.distance for pair in found]
  assert distances == sorted(distances)


def test_pairs_by_hash_stand_beside_those_by_embedding():
  units = np.array([[1, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [0.6, 0.8]])
  found = pairs_of(units, [Duplicate(1, 0, 3), Duplicate(3, 2, 5)])
  assert found == [Pair(0, 1, 0.0, True, 3), Pair(2, 3, 1.0, False, 5)]


def test_one_image_has_no_duplicate():
  assert pairs_of([[1.0, 2.0]]) == []
