import numpy as np

from conrec_tf.explore.neighbours import neighbours, unit_vectors
from conrec_tf.explore.outliers import isolation


def test_isolation_is_the_mean_of_ten_distances_in_medians():
  distance = np.arange(1, 13)[np.newaxis] * np.array([[1.0], [2.0], [4.0]])
  np.testing.assert_allclose(isolation(distance), [0.5, 1, 2])


def test_isolation_of_copies_and_of_one_image_is_0():
  np.testing.assert_array_equal(isolation(np.zeros([3, 5])), 0)
  np.testing.assert_array_equal(isolation(np.zeros([1, 0])), 0)


def test_nine_of_ten_planted_outliers_come_first(rng):
  middles = rng.normal(size=(5, 16))
  vectors = middles[rng.integers(0, 5, 500)] + 0.3 * rng.normal(size=(500, 16))
  planted = rng.choice(500, 10, replace=False)
  vectors[planted] = rng.normal(size=(10, 16))
  found = neighbours(unit_vectors(vectors), 30, seed=0)
  first = np.argsort(-isolation(found.distance))[:10]
  assert len(np.intersect1d(first, planted)) >= 9
