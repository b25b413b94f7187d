import numpy as np

from conrec_tf.explore import clusters as module
from conrec_tf.explore.clusters import cluster_count, clusters
from conrec_tf.explore.neighbours import unit_vectors

SIZES = (5, 12, 8)


def drawn(rng):
  """Three groups of vectors around axes, and the group of each."""
  group = np.repeat(np.arange(3), SIZES)
  return unit_vectors(np.eye(3)[group] + 0.05 * rng.normal(size=(25, 3))), group


def test_clusters_are_the_groups_the_largest_first(rng):
  units, group = drawn(rng)
  found = clusters(units, 3, seed=0)
  np.testing.assert_array_equal(found.label, np.array([2, 0, 1])[group])


def test_a_representative_is_the_nearest_to_the_mean(rng):
  units, group = drawn(rng)
  found = clusters(units, 3, seed=0)
  for number, of in enumerate((1, 2, 0)):
    members = np.flatnonzero(group == of)
    middle = units[members].mean(axis=0)
    nearest = members[np.argmin([np.linalg.norm(units[each] - middle) for each in members])]
    assert found.representative[number] == nearest


def test_clusters_depend_on_the_seed_alone(rng, monkeypatch):
  monkeypatch.setattr(module, "MOST_FITTED", 100)
  units = unit_vectors(rng.normal(size=(200, 6)))
  first, again, other = (clusters(units, 9, seed) for seed in (3, 3, 4))
  np.testing.assert_array_equal(first.label, again.label)
  assert np.any(first.label != other.label)


def test_there_are_no_empty_clusters():
  found = clusters(np.eye(3, dtype=np.float32)[[0, 0, 0, 1]], 2, seed=0)
  np.testing.assert_array_equal(found.label, [0, 0, 0, 1])
  assert clusters(np.ones([1, 3], np.float32), 5, seed=0).representative == [0]


def test_the_number_of_clusters_follows_classes_then_images():
  assert cluster_count(1000, 17) == 17
  assert cluster_count(200, 0) == 10
  assert cluster_count(10**6, 1000) == 50
  assert cluster_count(3, 17) == 3
