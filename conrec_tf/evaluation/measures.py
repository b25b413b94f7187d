"""What a classifier's probabilities are worth.

Classes that the measured images lack don't count in means over classes, as they have no recall.
"""

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from conrec_tf.errors import UsageError

BINS = 15  # of confidence, in the calibration error


def class_measures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns measures in [0, 1] by name; what isn't defined for these labels is left out.

  Beside balanced accuracy and macro F1: area under the ROC curve and average precision, of the
  second class where there are two, else means over one class against the rest; the expected
  calibration error, 15 bins; with two classes sensitivity (the second's recall) and specificity.

  Args:
    probabilities: float `[N, K]`, K at least 2.
    labels: int `[N]` in [0, K).
  """
  whole = confusion_measures(probabilities, labels, np.ones([1, len(labels)]))
  found = {name: float(value) for name, (value,) in whole.items() if not np.isnan(value)}
  measures = {name: found.pop(name) for name in ("balanced_accuracy", "macro_f1")}
  for name, score in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
    values = [
      score(labels == column, probabilities[:, column])
      for column in ranked_columns(probabilities.shape[1])
      if 0 < np.sum(labels == column) < len(labels)
    ]
    if values:
      measures[name] = float(np.mean(values))
  measures["calibration_error"] = _calibration_error(probabilities, labels)
  found.pop("top_1_accuracy")
  return measures | found


def confusion_measures(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns what follows from confusions by name, each `[B]`: one function for number and interval.

  Means over classes are over those that the weighted images have; what isn't defined is NaN.

  Args:
    probabilities: float `[N, K]`.
    labels: int `[N]`.
    weights: how often each image counts, float `[B, N]`.
  """
  classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
  hit = labels == predicted
  true, guessed = (_sums_by_class(weights, column, classes) for column in (labels, predicted))
  right = _sums_by_class(weights[:, hit], labels[hit], classes)
  with np.errstate(invalid="ignore"):
    recalls = right / true
    f1 = np.where(true > 0, 2 * right / (true + guessed), np.nan)
  measures = {
    "top_1_accuracy": right.sum(axis=1) / weights.sum(axis=1),
    "balanced_accuracy": np.nanmean(recalls, axis=1),
    "macro_f1": np.nanmean(f1, axis=1),
  }
  if classes == 2:
    measures |= {"sensitivity": recalls[:, 1], "specificity": recalls[:, 0]}
  return measures


def _sums_by_class(weights: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
  """Returns sums of weights `[B, N]` by class, `[B, classes]`."""
  places = np.arange(len(labels) + 1)
  one_hot = csr_matrix((np.ones(len(labels)), labels, places), (len(labels), classes))
  return (one_hot.T @ weights.T).T


def label_measures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns area under the ROC curve, average precision and F1 at 0.5 of one label.

  Nothing is defined of a label that all or none of the images have.

  Args:
    scores: float `[N]`, in [0, 1].
    labels: int `[N]`, 0 or 1.
  """
  if len(np.unique(labels)) < 2:
    return {}
  return {
    "auroc": float(roc_auc_score(labels, scores)),
    "average_precision": float(average_precision_score(labels, scores)),
    "f1": float(f1_score(labels, scores > 0.5, zero_division=0)),
  }


def multi_label_measures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns means of `label_measures` over the labels where they are defined.

  Args:
    scores: float `[N, L]`.
    labels: int `[N, L]`, 0 or 1.

  Raises:
    UsageError: they are for none.
  """
  found = [label_measures(*column) for column in zip(scores.T, labels.T, strict=True)]
  rows = [row for row in found if row]
  if not rows:
    raise UsageError(
      "eval_split must have images with and without some label. "
      f"Received: {len(labels)} images that are all alike"
    )
  return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def ranked_columns(classes: int) -> list[int]:
  """Returns the classes whose ranks count: the second of two, else all."""
  return [1] if classes == 2 else list(range(classes))


def _calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Returns the expected calibration error (arXiv 1706.04599, equation 5)."""
  confidence = probabilities.max(axis=1)
  surplus = confidence - (probabilities.argmax(axis=1) == labels)
  bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
  return float(np.abs(np.bincount(bins, surplus, BINS)).sum() / len(labels))
