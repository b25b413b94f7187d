import numpy as np
import pytest

from conrec_tf.explore import label_errors
from conrec_tf.explore.label_errors import check, cross_fitted, neighbour_votes, suspects
from conrec_tf.explore.neighbours import neighbours, unit_vectors


def drawn(rng, count=400, noise=0.5):
  """Vectors of four classes, their labels, and their neighbours."""
  labels = rng.integers(0, 4, count)
  vectors = np.eye(4, 8)[labels] + noise * rng.normal(size=(count, 8)) / np.sqrt(8)
  return vectors, labels, neighbours(unit_vectors(vectors), 30, seed=0)


def test_votes_are_shares_of_the_neighbours_with_a_label():
  others = np.array([[1, 2, 3], [0, 2, 3], [3, 3, 3], [0, 1, 2]])
  shares = neighbour_votes(np.array([0, 1, 1, -1]), 3, others)
  np.testing.assert_allclose(shares, [[0, 1, 0], [0.5, 0.5, 0], [0, 0, 0], [1 / 3, 2 / 3, 0]])


def test_wrong_labels_are_found_with_the_right_one(rng):
  vectors, labels, found = drawn(rng)
  planted = rng.choice(len(labels), 12, replace=False)  # 3 %
  given = labels.copy()
  given[planted] = (labels[planted] + 1 + rng.integers(0, 3, 12)) % 4
  listed = suspects(vectors, given, 4, found, seed=0)
  first = listed.image[:12]
  assert len(np.intersect1d(first, planted)) >= 11
  right = np.isin(listed.image, planted)
  np.testing.assert_array_equal(listed.suggested[right], labels[listed.image[right]])
  assert np.all(np.diff(listed.score) <= 0) and np.all((listed.score > 0) & (listed.score <= 2))


def test_the_check_tells_how_many_changed_labels_are_found(rng):
  vectors, labels, found = drawn(rng)
  told = check(vectors, labels, 4, found, seed=0)
  assert told.changed == 12
  assert told.found > 0.9 and told.by_chance < 0.06


def test_where_labels_say_nothing_changed_ones_are_found_by_chance(rng, monkeypatch):
  monkeypatch.setattr(label_errors, "CHANGED", 0.5)
  vectors = rng.normal(size=(600, 8))
  labels, found = rng.integers(0, 4, 600), neighbours(unit_vectors(vectors), 30, seed=0)
  told = check(vectors, labels, 4, found, seed=0)
  assert told.by_chance > 0.1
  assert told.found == pytest.approx(told.by_chance, abs=0.08)  # 300: three deviations


def test_images_without_a_label_are_never_suspected(rng):
  vectors, labels, found = drawn(rng, 100)
  labels[::3] = -1
  labels[1] = (labels[1] + 1) % 4
  listed = suspects(vectors, labels, 4, found, seed=0)
  assert 1 in listed.image and np.all(labels[listed.image] >= 0)


def test_neighbours_without_labels_name_none(rng):
  """Few images have a label, so that the neighbours of many have none; class 0 isn't theirs."""
  vectors, labels, found = drawn(rng, 1500, noise=3.0)
  few = np.full_like(labels, -1)
  few[::20] = labels[::20]
  listed = suspects(vectors, few, 4, found, seed=0)
  votes = neighbour_votes(few, 4, found.others[listed.image, :10])
  assert len(listed.image) and np.all(votes[np.arange(len(votes)), listed.suggested] > 0)


def test_which_labels_are_doubted_does_not_depend_on_the_order_of_classes(rng):
  """Of ten votes many are five to five, where two classes are hard to tell apart."""
  vectors, labels, found = drawn(rng, 600, noise=3.0)
  labels %= 2
  listed, turned = (suspects(vectors, given, 2, found, seed=0) for given in (labels, 1 - labels))
  np.testing.assert_array_equal(np.sort(listed.image), np.sort(turned.image))
  votes = neighbour_votes(labels, 2, found.others[:, :10])
  own, other = (votes[listed.image, side[listed.image]] for side in (labels, 1 - labels))
  assert len(own) > 20 and np.all(own < other) and np.any(votes[:, 0] == 0.5)


def test_an_image_is_told_by_a_classifier_that_learnt_from_others(rng):
  """One that had seen these random labels would know them."""
  vectors, labels = rng.normal(size=(60, 200)), rng.integers(0, 2, 60)
  index, probabilities = map(np.concatenate, zip(*cross_fitted(vectors, labels, 2, 0), strict=True))
  assert sorted(index) == list(range(60))
  np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
  assert np.mean(probabilities.argmax(axis=1) == labels[index]) < 0.75


def test_nothing_is_suspected_where_a_fold_leaves_one_class(rng):
  vectors, _, found = drawn(rng, 20)
  labels = np.zeros(20, int)
  labels[3] = 1
  assert len(suspects(vectors, labels, 2, found, seed=0).image) == 0
