"""Measures and their intervals, against scikit-learn's with weights and against known laws."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from conrec_tf.errors import UsageError
from conrec_tf.evaluation import bootstrap, measures


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
  [weights] = bootstrap.resampled(200, 3, 1)
  found = measures.confusion_measures(probabilities, labels, weights)
  found |= bootstrap._weighted_ranks(probabilities, labels, weights)
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


@pytest.mark.parametrize("classes", [2, 5])
def test_measures_with_all_weights_1_are_the_measures(classes):
  probabilities, labels = made(300, classes)
  found = measures.class_measures(probabilities, labels)
  ones = np.ones([1, 300])
  weighted = measures.confusion_measures(probabilities, labels, ones)
  weighted |= bootstrap._weighted_ranks(probabilities, labels, ones)
  del weighted["top_1_accuracy"], found["calibration_error"]
  assert set(found) == set(weighted)
  for name, value in found.items():
    assert value == pytest.approx(weighted[name][0], abs=1e-9), name
  if classes == 2:
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(axis=1))
    assert found["sensitivity"] == matrix[1, 1] / matrix[1].sum()
    assert found["specificity"] == matrix[0, 0] / matrix[0].sum()


def test_calibration_error_by_hand():
  probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
  labels = np.array([0, 1, 0, 0])
  # Two of 0.95, one right; two of 0.55, one right.
  expected = 0.5 * abs(0.95 - 0.5) + 0.5 * abs(0.55 - 0.5)
  assert measures.class_measures(probabilities, labels)["calibration_error"] == pytest.approx(
    expected
  )


def test_a_class_without_images_does_not_count():
  probabilities, labels = made(90, 3)
  labels[labels == 2] = 0
  found = measures.class_measures(probabilities, labels)
  predicted = probabilities.argmax(axis=1)
  recalls = [np.mean(predicted[labels == c] == c) for c in (0, 1)]
  assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
  assert (predicted == 2).any()
  f1 = metrics.f1_score(labels, predicted, labels=[0, 1], average="macro")
  assert found["macro_f1"] == pytest.approx(f1)
  assert found["auroc"] == pytest.approx(
    np.mean([metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1)])
  )
  intervals = bootstrap.bootstrap_intervals(probabilities, labels, 50, 0)
  assert intervals["macro_f1"][0] < f1 < intervals["macro_f1"][1]
  assert all(np.isfinite(bounds).all() for bounds in intervals.values())


def test_one_class_alone_and_constant_scores():
  probabilities, labels = made(40, 2)
  alone = measures.class_measures(probabilities, np.zeros(40, int))
  assert "auroc" not in alone and "sensitivity" not in alone
  assert alone["specificity"] == pytest.approx(np.mean(probabilities[:, 0] >= 0.5))
  assert "auroc" not in bootstrap.bootstrap_intervals(probabilities, np.zeros(40, int), 20, 0)
  flat = measures.class_measures(np.full([40, 2], 0.5), labels)
  assert flat["auroc"] == 0.5 and flat["average_precision"] == pytest.approx(labels.mean())


@pytest.mark.parametrize("count, tolerance", [(500, 0.006), (6149, 0.002)])
def test_interval_of_accuracy_is_the_binomial_one(count, tolerance):
  right = round(0.87 * count)
  labels = np.zeros(count, int)
  probabilities = np.tile([0.9, 0.1], (count, 1))
  probabilities[right:] = [0.1, 0.9]
  low, high = bootstrap.bootstrap_intervals(probabilities, labels, 1000, 0)["top_1_accuracy"]
  expected = np.array(stats.binom.interval(0.95, count, right / count)) / count
  np.testing.assert_allclose([low, high], expected, atol=tolerance)
  assert bootstrap.bootstrap_intervals(probabilities, labels, 1000, 0)["top_1_accuracy"] == (
    low,
    high,
  )


def test_interval_of_kappa_holds_scikit_learns():
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 5, 400)
  predicted = np.clip(labels + rng.integers(-1, 2, 400), 0, 4)
  low, high = bootstrap.kappa_interval(labels, predicted, 5, 300, 0)
  value = metrics.cohen_kappa_score(labels, predicted, weights="quadratic")
  assert low < value < high and high - low < 0.06
  [weights] = bootstrap.resampled(400, 1, 0)
  chosen = np.repeat(np.arange(400), weights[0].astype(int))
  expected = metrics.cohen_kappa_score(labels[chosen], predicted[chosen], weights="quadratic")
  only, _ = bootstrap.kappa_interval(labels, predicted, 5, 1, 0)
  assert only == pytest.approx(expected)
  assert bootstrap.kappa_interval(np.zeros(9, int), np.zeros(9, int), 5, 10, 0) == (0.0, 0.0)


def made_labels(rng, count=150, labels=4):
  truth = (rng.random((count, labels)) < [0.5, 0.3, 0.1, 0.7]).astype(int)
  return np.clip(0.3 * truth + 0.7 * rng.random((count, labels)), 0, 1).round(2), truth


def test_several_labels_against_scikit_learn(rng):
  scores, labels = made_labels(rng)
  found = measures.multi_label_measures(scores, labels)
  assert found == pytest.approx(
    {
      "auroc": metrics.roc_auc_score(labels, scores, average="macro"),
      "average_precision": metrics.average_precision_score(labels, scores, average="macro"),
      "f1": metrics.f1_score(labels, scores > 0.5, average="macro"),
    }
  )
  labels[:, 2] = 0  # a label that no image has counts in no mean
  without = measures.multi_label_measures(scores, labels)
  kept = [0, 1, 3]
  assert without == pytest.approx(measures.multi_label_measures(scores[:, kept], labels[:, kept]))
  assert measures.label_measures(scores[:, 2], labels[:, 2]) == {}
  with pytest.raises(UsageError, match="images with and without some label"):
    measures.multi_label_measures(scores, np.ones_like(labels))


def test_intervals_of_several_labels_are_those_of_resamples(rng):
  scores, labels = made_labels(rng)
  [weights] = bootstrap.resampled(150, 1, 5)
  chosen = np.repeat(np.arange(150), weights[0].astype(int))
  expected = measures.multi_label_measures(scores[chosen], labels[chosen])
  found = bootstrap.multi_label_intervals(scores, labels, 1, 5)
  for name, (low, high) in found.items():
    assert low == high == pytest.approx(expected[name]), name
  auroc = bootstrap.auroc_of_weights(labels, scores)(weights)
  assert auroc == pytest.approx(expected["auroc"])
  wide = bootstrap.multi_label_intervals(scores, labels, 300, 0)
  whole = measures.multi_label_measures(scores, labels)
  assert all(low < whole[name] < high for name, (low, high) in wide.items())
