import itertools

import numpy as np
import pytest

from conrec_tf.explore.coreset import k_center
from conrec_tf.explore.neighbours import unit_vectors


def slow_k_center(units, count, known):
  """Each choice by the definition: the largest of the least distances, one by one."""
  chosen, gaps = list(known), []
  for _ in range(count):
    free = [each for each in range(len(units)) if each not in chosen]
    if not chosen:
      scores = [units[each] @ units.mean(axis=0) for each in free]
    else:
      scores = [min(1 - units[each] @ units[other] for other in chosen) for each in free]
    chosen.append(free[int(np.argmax(scores))])
    gaps.append(max(scores) if len(chosen) > 1 else np.nan)
  return chosen[len(known) :], gaps


@pytest.mark.parametrize("known", [(), (4,), (4, 0, 9)])
def test_k_center_is_that_of_the_definition(rng, known):
  units = unit_vectors(rng.normal(size=(25, 4)))
  chosen, gaps = k_center(units, 8, np.array(known, int))
  expected, expected_gaps = slow_k_center(units, 8, known)
  np.testing.assert_array_equal(chosen, expected)
  np.testing.assert_allclose(gaps, expected_gaps, atol=1e-6)


def test_k_center_covers_at_most_twice_as_far_as_the_best_choice(rng):
  units = unit_vectors(rng.normal(size=(12, 3)))
  far = lambda chosen: np.linalg.norm(units[:, np.newaxis] - units[list(chosen)], axis=2)
  reach = lambda chosen: far(chosen).min(axis=1).max()
  best = min(map(reach, itertools.combinations(range(12), 3)))
  assert best <= reach(k_center(units, 3, np.zeros(0, int))[0]) <= 2 * best


def test_all_images_are_chosen_once_where_more_are_asked_for(rng):
  units = unit_vectors(np.repeat(rng.normal(size=(3, 4)), 2, axis=0))
  chosen, gaps = k_center(units, 100, np.array([1]))
  assert sorted(chosen) == [0, 2, 3, 4, 5]
  assert gaps[-1] == pytest.approx(0, abs=1e-6)
