import itertools

import numpy as np
import pytest

from conrec_tf.explore import coreset as module
from conrec_tf.explore.coreset import coreset, k_center
from conrec_tf.explore.neighbours import unit_vectors


def slow_k_center(units, count, known):
  """Each choice by the definition: the largest of the least distances, one by one."""
  chosen = list(known)
  for _ in range(count):
    free = [each for each in range(len(units)) if each not in chosen]
    scores = [min(1 - units[each] @ units[other] for other in chosen) for each in free]
    chosen.append(free[int(np.argmax(scores))])
  return chosen[len(known) :]


def drawn(rng):
  """Groups of 12, 8 and 5 vectors around axes, and the group of each."""
  group = np.repeat(np.arange(3), (12, 8, 5))
  return unit_vectors(np.eye(3)[group] + 0.05 * rng.normal(size=(25, 3))), group


@pytest.mark.parametrize("known", [(4,), (4, 0, 9)])
def test_k_center_is_that_of_the_definition(rng, known):
  units = unit_vectors(rng.normal(size=(25, 4)))
  chosen = k_center(units, 8, np.array(known))
  np.testing.assert_array_equal(chosen, slow_k_center(units, 8, known))


def test_k_center_covers_at_most_twice_as_far_as_the_best_choice(rng):
  units = unit_vectors(rng.normal(size=(12, 3)))

  def reach(chosen):
    apart = np.linalg.norm(units[:, np.newaxis] - units[[0, *chosen]], axis=2)
    return apart.min(axis=1).max()

  best = min(map(reach, itertools.combinations(range(12), 2)))
  assert best <= reach(k_center(units, 2, np.array([0]))) <= 2 * best


def test_a_coreset_takes_the_middle_of_each_group_the_largest_first(rng):
  units, group = drawn(rng)
  found = coreset(units, 3, np.zeros(0, int), seed=0)
  np.testing.assert_array_equal(group[found.image], [0, 1, 2])
  np.testing.assert_array_equal(found.stands_for, [12, 8, 5])
  members = np.flatnonzero(group == 1)
  middle = units[members].mean(axis=0)
  assert found.image[1] == members[np.linalg.norm(units[members] - middle, axis=1).argmin()]


def test_a_group_with_a_label_gets_no_other_before_all_have_one(rng):
  units, group = drawn(rng)
  found = coreset(units, 2, np.flatnonzero(group == 0)[:1], seed=0)
  np.testing.assert_array_equal(group[found.image], [1, 2])


def test_beyond_the_groups_the_farthest_images_are_chosen(rng, monkeypatch):
  monkeypatch.setattr(module, "MOST_GROUPS", 3)
  units, _ = drawn(rng)
  found = coreset(units, 6, np.zeros(0, int), seed=0)
  np.testing.assert_array_equal(found.image[3:], slow_k_center(units, 3, list(found.image[:3])))
  np.testing.assert_array_equal(found.stands_for[3:], 0)


def test_all_images_are_chosen_once_where_more_are_asked_for(rng):
  units = unit_vectors(np.repeat(rng.normal(size=(3, 4)), 2, axis=0))
  assert sorted(coreset(units, 100, np.array([1]), seed=0).image) == [0, 2, 3, 4, 5]
  assert len(coreset(units, 5, np.arange(6), seed=0).image) == 0
