"""Measures and their intervals, against scikit-learn's with weights and against known laws."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from conrec_tf.errors import UsageError
from conrec_tf.evaluation import measures
from conrec_tf.evaluation.label_kinds import Classes, Grades

OF_CLASSES = (measures.accuracies, *Classes.final_measures)
SEVERAL = (measures.multi_label_measures,)


def made(count, classes, seed=0, ties=False):
  """Probabilities that know something of the labels."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, classes, count)
  logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
  if ties:
    logits = np.round(logits)
  scores = np.exp(logits)
  return scores / scores.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_weighted_measures_are_those_of_scikit_learn(classes, ties):
  probabilities, labels = made(200, classes, ties=ties)
  [weights] = measures.resampled(200, 3, 1)
  found = {}
  for measure in OF_CLASSES:
    found |= measure(probabilities, labels, weights)
  predicted = probabilities.argmax(axis=1)
  columns = [1] if classes == 2 else range(classes)
  for row, weight in enumerate(weights):
    expected = {
      "top_1_accuracy": metrics.accuracy_score(labels, predicted, sample_weight=weight),
      "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted, sample_weight=weight),
      "macro_f1": metrics.f1_score(
        labels,
        predicted,
        labels=np.unique(labels[weight > 0]),
        average="macro",
        sample_weight=weight,
      ),
      "auroc": np.mean(
        [
          metrics.roc_auc_score(labels == c, probabilities[:, c], sample_weight=weight)
          for c in columns
        ]
      ),
      "average_precision": np.mean(
        [
          metrics.average_precision_score(labels == c, probabilities[:, c], sample_weight=weight)
          for c in columns
        ]
      ),
    }
    for name, value in expected.items():
      assert found[name][row] == pytest.approx(value, abs=1e-9), name


def test_top_k_by_hand():
  scores = np.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.3, 0.4, 0.3]])
  labels, weights = np.array([2, 0, 0, 2]), np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 1.0]])
  found = measures.accuracies(scores, labels, weights, (1, 2, 3))
  assert set(found) == {"top_1_accuracy", "top_2_accuracy"}  # 3 of 3 says nothing
  np.testing.assert_allclose(found["top_1_accuracy"], [1 / 4, 3 / 4])
  np.testing.assert_allclose(found["top_2_accuracy"], [2 / 4, 3 / 4])  # of alike ones the first


def test_sensitivity_and_specificity_are_recalls():
  probabilities, labels = made(300, 2)
  found = measures.numbers([measures.binary_measures], probabilities, labels)
  matrix = metrics.confusion_matrix(labels, probabilities.argmax(axis=1))
  assert found == {
    "sensitivity": matrix[1, 1] / matrix[1].sum(),
    "specificity": matrix[0, 0] / matrix[0].sum(),
  }
  assert measures.numbers([measures.binary_measures], *made(30, 3)) == {}


def test_calibration_error_by_hand():
  probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
  labels = np.array([0, 1, 0, 0])
  # Two of 0.95, one right; two of 0.55, one right.
  expected = 0.5 * abs(0.95 - 0.5) + 0.5 * abs(0.55 - 0.5)
  [found] = measures.numbers([measures.calibration_error], probabilities, labels).values()
  assert found == pytest.approx(expected)


def test_calibration_is_of_15_bins_the_last_with_1():
  confidences = np.array([1.0, 0.9, 0.67, 0.66])  # a bin each
  probabilities = np.stack([confidences, 1 - confidences], axis=1)
  labels, weights = np.array([1, 0, 1, 0]), np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0]])
  [found] = measures.calibration_error(probabilities, labels, weights).values()
  np.testing.assert_allclose(found, [(1 + 0.1 + 0.67 + 0.34) / 4, (2 + 0.67 + 0.34) / 4])


def test_a_class_without_images_does_not_count():
  probabilities, labels = made(90, 3)
  labels[labels == 2] = 0
  found = measures.numbers(OF_CLASSES, probabilities, labels)
  predicted = probabilities.argmax(axis=1)
  recalls = [np.mean(predicted[labels == c] == c) for c in (0, 1)]
  assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
  assert (predicted == 2).any()
  f1 = metrics.f1_score(labels, predicted, labels=[0, 1], average="macro")
  assert found["macro_f1"] == pytest.approx(f1)
  assert found["auroc"] == pytest.approx(
    np.mean([metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1)])
  )
  intervals = measures.intervals(OF_CLASSES, probabilities, labels, 50, 0)
  assert intervals["macro_f1"][0] < f1 < intervals["macro_f1"][1]
  assert all(np.isfinite(bounds).all() for bounds in intervals.values())


def test_one_class_alone_and_constant_scores():
  probabilities, labels = made(40, 2)
  alone = measures.numbers(OF_CLASSES, probabilities, np.zeros(40, int))
  assert "auroc" not in alone and "sensitivity" not in alone
  assert alone["specificity"] == pytest.approx(np.mean(probabilities[:, 0] >= 0.5))
  assert "auroc" not in measures.intervals(OF_CLASSES, probabilities, np.zeros(40, int), 20, 0)
  flat = measures.numbers(OF_CLASSES, np.full([40, 2], 0.5), labels)
  assert flat["auroc"] == 0.5 and flat["average_precision"] == pytest.approx(labels.mean())


@pytest.mark.parametrize("count, tolerance", [(500, 0.006), (6149, 0.002)])
def test_interval_of_accuracy_is_the_binomial_one(count, tolerance):
  right = round(0.87 * count)
  labels = np.zeros(count, int)
  probabilities = np.tile([0.9, 0.1], (count, 1))
  probabilities[right:] = [0.1, 0.9]
  low, high = measures.intervals(OF_CLASSES, probabilities, labels, 1000, 0)["top_1_accuracy"]
  expected = np.array(stats.binom.interval(0.95, count, right / count)) / count
  np.testing.assert_allclose([low, high], expected, atol=tolerance)
  assert measures.intervals(OF_CLASSES, probabilities, labels, 1000, 0)["top_1_accuracy"] == (
    low,
    high,
  )


@pytest.mark.parametrize("value, lowest", [(0.5, 0.0), (0.0, -1.0)])
def test_interval_of_groups_by_hand(value, lowest):
  drawn = value + (1 - lowest) * np.array([-0.1, 0.0, np.nan, 0.1])
  low, high = measures.interval_of_groups(value, drawn, 4, lowest)
  # The deviation is a tenth of the range, of four groups larger by 4 / 3, and log odds move four
  # times as far from the middle.
  reach = stats.t(3).ppf(0.975) * 0.1 * np.sqrt(4 / 3) * 4
  expected = lowest + (1 - lowest) / (1 + np.exp([reach, -reach]))
  np.testing.assert_allclose([low, high], expected)


def test_an_interval_of_groups_at_the_end_of_its_range_has_a_width():
  low, high = measures.interval_of_groups(1.0, np.array([1.0, 0.9]), 2, 0.0)
  assert low < 1e-9 and 1 - 1e-8 < high <= 1.0


def test_resamples_in_parts_are_those_at_once(monkeypatch):
  [whole] = measures.resampled(30, 7, 5)
  assert whole.shape == (7, 30) and set(whole.sum(axis=1)) == {30.0}
  monkeypatch.setattr(measures, "NUMBERS_AT_ONCE", 60)
  parts = list(measures.resampled(30, 7, 5))
  assert list(map(len, parts)) == [2, 2, 2, 1]
  np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("at_most, taken", [(6, 10), (20, 20), (50, 40)])
def test_measures_that_sort_take_fewer_resamples(monkeypatch, at_most, taken):
  counts = []

  def counting(outputs, labels, weights):
    counts.append(len(weights))
    return {"number": weights[:, 0]}

  monkeypatch.setattr(measures, "SORTING", (counting,))
  monkeypatch.setattr(measures, "FEWEST_RESAMPLES", 10)
  monkeypatch.setattr(measures, "RANKED_NUMBERS", at_most * 5 * 3)
  measures.intervals([counting], np.zeros([5, 3]), np.zeros(5, int), 40, 0)
  assert counts == [taken]


def test_kappa_by_hand():
  # Weights (i - j)^2 / 4. Observed 1/4 * 1/4; expected of margins (2,1,1)/4 and (2,2,0)/4:
  # sum of p_i q_j (i - j)^2 / 4 = (1/8 * 0 + ...) = 0.1875.
  labels, predictions = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])
  observed = (1 / 4) * (1 / 4)
  p, q = np.array([2, 1, 1]) / 4, np.array([2, 2, 0]) / 4
  expected = sum(p[i] * q[j] * (i - j) ** 2 / 4 for i in range(3) for j in range(3))
  assert Grades(3).agreement(labels, predictions) == pytest.approx(1 - observed / expected)
  assert Grades(5).agreement(np.array([0, 4]), np.array([4, 0])) == pytest.approx(-1.0)
  assert Grades(5).agreement(np.array([0, 1, 4]), np.array([0, 1, 4])) == 1.0


def test_kappa_of_a_single_grade_is_0_with_a_warning(caplog):
  alike = np.array([2, 2])
  assert Grades(5).agreement(alike, alike) == 0.0
  assert "isn't defined" in caplog.text


def test_kappa_and_its_interval_against_scikit_learn(rng):
  labels = rng.integers(0, 5, 400)
  predicted = np.clip(labels + rng.integers(-1, 2, 400), 0, 4)
  bits, kind = (np.arange(5) <= predicted[:, np.newaxis]).astype(float), Grades(5)
  [(low, high)] = measures.intervals(kind.quick_measures, bits, labels, 300, 0).values()
  value = metrics.cohen_kappa_score(labels, predicted, weights="quadratic")
  assert kind.agreement(labels, predicted) == pytest.approx(value, abs=1e-12)
  assert low < value < high and high - low < 0.06
  [weights] = measures.resampled(400, 1, 0)
  chosen = np.repeat(np.arange(400), weights[0].astype(int))
  expected = metrics.cohen_kappa_score(labels[chosen], predicted[chosen], weights="quadratic")
  [(only, _)] = measures.intervals(kind.quick_measures, bits, labels, 1, 0).values()
  assert only == pytest.approx(expected)
  assert measures.intervals(kind.quick_measures, np.zeros([9, 5]), np.zeros(9, int), 10, 0) == {}


def made_labels(rng, count=150, labels=4):
  truth = (rng.random((count, labels)) < [0.5, 0.3, 0.1, 0.7]).astype(int)
  return np.clip(0.3 * truth + 0.7 * rng.random((count, labels)), 0, 1).round(2), truth


def test_several_labels_against_scikit_learn(rng):
  scores, labels = made_labels(rng)
  found = measures.numbers(SEVERAL, scores, labels)
  assert found == pytest.approx(
    {
      "auroc": metrics.roc_auc_score(labels, scores, average="macro"),
      "average_precision": metrics.average_precision_score(labels, scores, average="macro"),
      "f1": metrics.f1_score(labels, scores > 0.5, average="macro"),
    }
  )
  labels[:, 2] = 0  # a label that no image has counts in no mean
  without = measures.numbers(SEVERAL, scores, labels)
  kept = [0, 1, 3]
  assert without == pytest.approx(measures.numbers(SEVERAL, scores[:, kept], labels[:, kept]))
  assert np.isnan(measures.label_measures(scores, labels, np.ones([1, 150]))["f1"][2])
  with pytest.raises(UsageError, match="images with and without some label"):
    measures.numbers(SEVERAL, scores, np.ones_like(labels))


def test_intervals_of_several_labels_are_those_of_resamples(rng):
  scores, labels = made_labels(rng)
  [weights] = measures.resampled(150, 1, 5)
  chosen = np.repeat(np.arange(150), weights[0].astype(int))
  expected = measures.numbers(SEVERAL, scores[chosen], labels[chosen])
  found = measures.intervals(SEVERAL, scores, labels, 1, 5)
  for name, (low, high) in found.items():
    assert low == high == pytest.approx(expected[name]), name
  wide = measures.intervals(SEVERAL, scores, labels, 300, 0)
  whole = measures.numbers(SEVERAL, scores, labels)
  assert all(low < whole[name] < high for name, (low, high) in wide.items())


def test_deviation_is_that_of_a_sample():
  assert measures.mean_and_deviation([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
  assert measures.mean_and_deviation([4.0]) == (4.0, 0.0)
