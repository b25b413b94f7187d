"""Against scikit-learn with a tight tolerance: the same minimum of the same objective."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from conrec_tf.evaluation.logistic_regression import RotatedLogisticRegression


def objective(classifier, features, labels, C):
  """Cross entropies by C, plus half the sum of squares; by its definition, in float64."""
  logits = features @ classifier.coef_.T.astype(float) + classifier.intercept_
  if len(classifier.classes_) == 2:
    logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
  logits -= logits.max(axis=1, keepdims=True)
  logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  column = np.searchsorted(classifier.classes_, labels)
  return -C * logs[np.arange(len(labels)), column].sum() + 0.5 * np.sum(
    classifier.coef_.astype(float) ** 2
  )


def embeddings(rng, count, width, classes):
  """Not negative, with a large mean and a few strong directions, as a network's are."""
  labels = 3 * (np.arange(count) % classes)
  signal = rng.normal(size=(classes, 4))[labels // 3] + rng.normal(size=(count, 4))
  mixed = signal @ (rng.normal(size=(4, width)) * [[3], [1], [0.3], [0.1]])
  return np.maximum(5.0 + mixed + 0.1 * rng.normal(size=(count, width)), 0.0), labels


@pytest.mark.parametrize(
  "count, width, classes", [(200, 12, 5), (200, 12, 2), (30, 50, 4), (9, 3, 3)]
)
@pytest.mark.parametrize("C", [1.0, 0.01])
def test_minimum_and_predictions_are_scikit_learns(rng, count, width, classes, C):
  features, labels = embeddings(rng, count, width, classes)
  expected = LogisticRegression(C=C, tol=1e-8, max_iter=100000).fit(features, labels)
  found = RotatedLogisticRegression(C=C, tol=1e-12).fit(features, labels)
  values = [objective(one, features, labels, C) for one in (found, expected)]
  assert values[0] == pytest.approx(values[1], rel=1e-6)
  np.testing.assert_array_equal(found.classes_, expected.classes_)
  assert found.coef_.shape == expected.coef_.shape
  assert found.intercept_.shape == expected.intercept_.shape
  np.testing.assert_allclose(
    found.predict_proba(features), expected.predict_proba(features), atol=2e-3
  )
  # As it is used: within a thousandth of the minimum, in single precision too.
  for dtype in (np.float64, np.float32):
    used = RotatedLogisticRegression(C=C).fit(features.astype(dtype), labels)
    assert objective(used, features, labels, C) == pytest.approx(values[1], rel=1e-3)


def test_unequal_classes_and_constant_features_are_fitted(rng):
  labels = np.repeat([0, 1, 2], [90, 9, 1])
  features = np.concatenate(
    [labels[:, np.newaxis] + rng.normal(size=(100, 3)), np.full([100, 2], 7.0)], axis=1
  )
  expected = LogisticRegression(tol=1e-8, max_iter=100000).fit(features, labels)
  found = RotatedLogisticRegression(tol=1e-12).fit(features, labels)
  np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-3)
  np.testing.assert_allclose(found.coef_[:, 3:], 0.0, atol=1e-9)


def test_reaching_max_iter_warns(rng):
  split = embeddings(rng, 200, 12, 5)
  with pytest.warns(ConvergenceWarning):
    RotatedLogisticRegression(max_iter=1).fit(*split)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    RotatedLogisticRegression().fit(*split)
