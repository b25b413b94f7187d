import numpy as np
import pytest

from conrec_tf.reporting.figures.embedding_map import project


@pytest.mark.parametrize("count", [1, 3, 12])
def test_constant_embeddings_of_a_collapsed_network_are_one_point(count):
  points = project(np.full([count, 5], 0.3, np.float32), seed=0)
  assert points.shape == (count, 2)
  np.testing.assert_allclose(points, 0.0, atol=1e-6)


def test_clusters_stay_apart(rng):
  labels = np.arange(40) % 2
  embeddings = np.eye(2)[labels] + 0.01 * rng.normal(size=(40, 2))
  points = project(embeddings, seed=0)
  centres = [points[labels == label].mean(axis=0) for label in (0, 1)]
  spread = max(points[labels == label].std() for label in (0, 1))
  assert np.linalg.norm(centres[0] - centres[1]) > spread
