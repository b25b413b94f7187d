import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conrec_tf.errors import UsageError
from conrec_tf.evaluation import probes
from conrec_tf.evaluation.label_kinds import Classes, Grades
from conrec_tf.evaluation.logistic_regression import RotatedLogisticRegression


@pytest.fixture
def splits(rng):
  centres = rng.normal(size=(7, 8))
  return [
    (centres[labels] + 1.5 * rng.normal(size=(len(labels), 8)), labels)
    for labels in (rng.integers(0, 7, 300), rng.integers(0, 7, 150))
  ]


def test_accuracy_is_scikit_learns(splits):
  train, test = splits
  expected = LogisticRegression(max_iter=10000, random_state=0).fit(*train).score(*test)
  accuracies = Classes(7).quick(train, test, standardise=False)
  assert list(accuracies) == [f"linear_top_{k}_accuracy" for k in (1, 3, 5)]
  first, third, fifth = accuracies.values()
  assert first == pytest.approx(expected)
  assert 0.4 < first < third < fifth < 1.0


def test_standardising_rescues_nearly_constant_features(rng):
  labels = np.arange(200) % 2
  features = 1.0 + 1e-6 * (labels[:, None] + 0.1 * rng.normal(size=(200, 3)))
  split = (features, labels)
  raw, standardised = (
    Classes(2).quick(split, split, flag)["linear_top_1_accuracy"] for flag in (False, True)
  )
  assert raw < 0.9 and standardised == 1.0


def test_labels_of_one_class_are_refused():
  split = (np.eye(4), np.zeros(4, int))
  with pytest.raises(UsageError, match="at least two classes .* Received: 1"):
    probes.class_classifier(split, 1)
  with pytest.raises(UsageError, match="at least two classes .* Received: 1"):
    probes.grade_classifier(split, 5)


def test_no_convergence_is_logged(splits, monkeypatch, caplog):
  monkeypatch.setattr(
    probes, "RotatedLogisticRegression", lambda C: RotatedLogisticRegression(C, max_iter=1)
  )
  with caplog.at_level(logging.WARNING):
    probes.class_classifier(splits[0], 7)
  assert "did not converge" in caplog.text


def test_knn_by_hand():
  train = (np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), np.array([0, 0, 1]))
  test = (np.array([[5.0, 0.0], [0.0, 9.0]]), np.array([0, 1]))
  assert probes.knn_accuracy(train, test, neighbours=1) == 1.0
  assert probes.knn_accuracy(train, test) == 0.5  # all three vote: class 0
  assert probes.knn_accuracy(train, test, temperature=0.07) == 1.0  # the nearest one weighs most


def test_weighed_neighbours_against_loops(splits):
  train, test = splits
  lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part, _ in splits]
  cosines = (test[0] / lengths[1]) @ (train[0] / lengths[0]).T
  right = 0
  for row, label in zip(cosines, test[1], strict=True):
    votes = np.zeros(7)
    for near in np.argsort(-row)[:9]:
      votes[train[1][near]] += np.exp(row[near] / 0.1)
    right += votes.argmax() == label
  found = probes.knn_accuracy(train, test, neighbours=9, temperature=0.1)
  assert found == pytest.approx(right / len(test[1]))


def test_votes_for_several_labels_by_hand():
  train = (np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), np.array([[1, 0], [1, 1], [0, 1]]))
  asked = np.array([[1.0, 0.02]])
  np.testing.assert_allclose(probes.neighbour_shares(train, asked, 2, 0.0), [[1.0, 0.5]])
  np.testing.assert_allclose(probes.neighbour_shares(train, asked, 9, 0.0), [[2 / 3, 2 / 3]])
  cosines = [1 / np.hypot(1, 0.02), (1 + 0.002) / np.hypot(1, 0.02) / np.hypot(1, 0.1)]
  weights = np.exp(np.array(cosines) / 0.01)
  expected = [[1.0, weights[1] / weights.sum()]]
  np.testing.assert_allclose(probes.neighbour_shares(train, asked, 2, 0.01), expected)


def test_several_labels_are_learnt_one_by_one(rng):
  features = rng.normal(size=(80, 5))
  labels = (features[:, :3] + 0.5 * rng.normal(size=(80, 3)) > 0).astype(int)
  labels[:, 1] = 1  # all images have it
  train, test = (features[:60], labels[:60]), (features[60:], labels[60:])
  found = probes.label_classifier(train).probabilities(test[0])
  for place in (0, 2):
    single = LogisticRegression(max_iter=10000, tol=1e-8).fit(train[0], train[1][:, place])
    expected = single.predict_proba(test[0])[:, 1]
    np.testing.assert_allclose(found[:, place], expected, atol=2e-3)
  np.testing.assert_array_equal(found[:, 1], 1)


def test_a_classifier_keeps_what_it_standardises_by(splits):
  train, test = splits
  pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10000, tol=1e-8))
  expected = pipeline.fit(*train).predict_proba(test[0])
  found = probes.class_classifier(train, 9, standardise=True)
  np.testing.assert_allclose(found.probabilities(test[0])[:, :7], expected, atol=2e-3)
  np.testing.assert_array_equal(found.probabilities(test[0])[:, 7:], 0)


def test_of_two_classes_the_probabilities_are_those_of_the_second_and_its_rest(rng):
  labels = np.arange(90) % 2 + 1  # of three, the first of which was never seen
  features = labels[:, None] + rng.normal(size=(90, 2))
  expected = LogisticRegression(tol=1e-8).fit(features, labels).predict_proba(features)
  found = probes.class_classifier((features, labels), 3).probabilities(features)
  np.testing.assert_allclose(found[:, 1:], expected, atol=2e-3)


def test_distances_to_known_images_against_loops(rng, monkeypatch):
  monkeypatch.setattr(probes, "IMAGES_AT_ONCE", 7)
  embeddings, asked = 5 + 3 * rng.normal(size=(30, 4)), 5 + 3 * rng.normal(size=(9, 4))
  known = probes.KnownImages.of_embeddings(embeddings, np.array([f"{n}.png" for n in range(30)]))
  asked[4] = embeddings[12]

  def distance(one, other):
    return np.sqrt(np.mean(((one - other) / embeddings.std(axis=0)) ** 2))

  distances, places = known.nearest(asked)
  for row, found, place in zip(asked, distances, places, strict=True):
    by_hand = [distance(row, each) for each in embeddings]
    assert found == pytest.approx(min(by_hand), abs=2e-3)  # they are kept in half precision
    assert known.names[place] == f"{np.argmin(by_hand)}.png"
  assert distances[4] < 1e-3
  others = [
    min(distance(one, other) for at, other in enumerate(embeddings) if at != place)
    for place, one in enumerate(embeddings)
  ]
  assert known.limit == pytest.approx(np.percentile(others, 99), abs=2e-3)


def test_many_known_images_are_kept_evenly(rng, monkeypatch):
  monkeypatch.setattr(probes, "MOST_KNOWN", 5)
  known = probes.KnownImages.of_embeddings(rng.normal(size=(41, 2)), np.arange(41))
  assert known.names.tolist() == ["0", "10", "20", "30", "40"] and len(known.vectors) == 5


def test_cumulative_bits_by_hand():
  np.testing.assert_array_equal(
    probes.cumulative_bits([0, 2, 4], 5), [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
  )


def test_decoding_counts_probabilities_over_one_half():
  probabilities = [
    [0.9, 0.8, 0.6, 0.2, 0.1],
    [0.9, 0.4, 0.6, 0.2, 0.1],
    [0.5, 0.5, 0.4, 0.2, 0.1],
    [0.1, 0.1, 0.1, 0.1, 0.1],
    [1.0, 1.0, 1.0, 1.0, 1.0],
  ]
  np.testing.assert_array_equal(probes.decode_bits(probabilities), [2, 1, 0, 0, 4])


def test_ordinal_regression_recovers_an_order(rng, recwarn):
  grades = rng.integers(0, 5, 400)
  features = grades[:, None] + 0.2 * rng.normal(size=(400, 1))
  train, held = (features[:300], grades[:300]), (features[300:], grades[300:])
  assert Grades(5).quick(train, held, standardise=False)["quadratic_weighted_kappa"] > 0.9
  assert not list(recwarn)


def test_folds_are_the_same_for_every_method(rng):
  labels = rng.integers(0, 3, 50)
  seen = []
  for width in (4, 9):  # two methods, two embeddings
    features = np.concatenate([np.arange(50)[:, None], rng.normal(size=(50, width))], axis=1)
    seen.append(
      probes.cross_validate(
        lambda train, held: held[0][:, 0].tolist(), (features, labels), folds=5, seed=3
      )
    )
  assert seen[0] == seen[1]
  assert sorted(sum(seen[0], [])) == list(range(50))


def test_folds_beyond_the_examples_are_refused_and_rare_classes_named(caplog):
  split = (np.zeros((6, 1)), np.array([0, 0, 0, 0, 0, 1]))
  with pytest.raises(UsageError, match="folds must be at most 6.* Received: 7"):
    probes.cross_validate(lambda *_: 0, split, 7, 0)
  probes.cross_validate(lambda *_: 0, split, 3, 0)
  assert "Class 1 has 1 images, fewer than the 3 folds" in caplog.text
