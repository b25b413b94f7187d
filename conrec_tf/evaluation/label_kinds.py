"""Kinds of labels, and how a classifier of each is learnt and measured.

Each kind has the same methods. `quick` gives the measures of every evaluation, by names without
where they come from, the first of which is what counts. `final` gives the same and those of the
end, by whole names, with intervals and predictions; `groups`, object `[N]`, are what the measured
images belong together by, or None. `vote` gives what the nearest neighbours reach.
`metric` is the name of what counts, of raw embeddings.
"""

import dataclasses
from typing import Any

import numpy as np

from conrec_tf.evaluation import probes
from conrec_tf.evaluation.final_measures import (
  all_classes,
  measures_of_grades,
  measures_of_labels,
  measures_of_probabilities,
)
from conrec_tf.evaluation.measures import multi_label_measures
from conrec_tf.evaluation.probes import Labelled
from conrec_tf.metrics import (
  EVAL,
  KAPPA,
  KNN_ACCURACY,
  KNN_AUROC,
  LINEAR_ACCURACY,
  LINEAR_AUROC,
  scaling_prefix,
)

LINEAR = "linear_"  # what names of measures of logistic regression begin with


@dataclasses.dataclass(frozen=True)
class Classes:
  """One class of each image, int `[N]`."""

  count: int

  @property
  def metric(self) -> str:
    """Top 1 accuracy."""
    return LINEAR_ACCURACY

  def quick(
    self, train: Labelled, test: Labelled, standardise: bool, strength: float = 1.0
  ) -> dict[str, float]:
    """Returns top 1, 3 and 5 accuracy."""
    scores, columns = probes.linear_scores(train, test, standardise, strength)
    return self._accuracies(scores, columns, test[1])

  def _accuracies(
    self, scores: np.ndarray, columns: np.ndarray, labels: np.ndarray
  ) -> dict[str, float]:
    found = probes.top_k_accuracies(scores, columns, labels)
    return {f"{LINEAR}top_{k}_accuracy": value for k, value in found.items()}

  def final(
    self,
    train: Labelled,
    test: Labelled,
    standardise: bool,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Returns accuracies, `class_measures`, intervals and the predictions."""
    scores, columns = probes.linear_scores(train, test, standardise)
    reading = scaling_prefix(standardise)
    accuracies = self._accuracies(scores, columns, test[1])
    return {reading + name: value for name, value in accuracies.items()} | (
      measures_of_probabilities(
        all_classes(scores, columns, self.count), test[1], reading + LINEAR, resamples, seed, groups
      )
    )

  def vote(
    self, train: Labelled, test: Labelled, neighbours: int, temperature: float
  ) -> dict[str, float]:
    """Returns the accuracy of the vote."""
    value = probes.knn_accuracy(train, test, neighbours, temperature)
    return {KNN_ACCURACY: value}

  def agreement(self, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the accuracy of classes int `[N]`."""
    return float(np.mean(labels == predicted))


@dataclasses.dataclass(frozen=True)
class Grades:
  """One grade of each image, int `[N]`, whose order matters (paper, section 3.2)."""

  count: int

  @property
  def metric(self) -> str:
    """Quadratic weighted kappa."""
    return KAPPA

  def quick(
    self, train: Labelled, test: Labelled, standardise: bool, strength: float = 1.0
  ) -> dict[str, float]:
    """Returns quadratic weighted kappa."""
    grades = probes.ordinal_predictions(train, test, self.count, standardise, strength)
    return {KAPPA.removeprefix(EVAL): self.agreement(test[1], grades)}

  def final(
    self,
    train: Labelled,
    test: Labelled,
    standardise: bool,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Returns kappa, its interval and the predictions."""
    bits = probes.ordinal_scores(train, test, self.count, standardise)
    prefix = scaling_prefix(standardise)
    name = KAPPA.replace(EVAL, prefix)
    return {name: self.agreement(test[1], probes.decode_bits(bits))} | (
      measures_of_grades(bits, test[1], self.count, prefix, resamples, seed, groups)
    )

  def vote(
    self, train: Labelled, test: Labelled, neighbours: int, temperature: float
  ) -> dict[str, float]:
    """Returns the accuracy of the vote, which doesn't know that order matters."""
    return Classes(self.count).vote(train, test, neighbours, temperature)

  def agreement(self, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns quadratic weighted kappa of grades int `[N]`."""
    return probes.quadratic_weighted_kappa(labels, predicted, self.count)


@dataclasses.dataclass(frozen=True)
class MultiLabel:
  """Any number of labels of each image, 0 or 1 of each, int `[N, count]`."""

  names: tuple[str, ...]

  @property
  def count(self) -> int:
    """How many labels there are."""
    return len(self.names)

  @property
  def metric(self) -> str:
    """Mean area under the ROC curve."""
    return LINEAR_AUROC

  def quick(
    self, train: Labelled, test: Labelled, standardise: bool, strength: float = 1.0
  ) -> dict[str, float]:
    """Returns means over labels."""
    probabilities = probes.multi_label_scores(train, test, standardise, strength)
    means = multi_label_measures(probabilities, test[1])
    return {LINEAR + name: value for name, value in means.items()}

  def final(
    self,
    train: Labelled,
    test: Labelled,
    standardise: bool,
    resamples: int,
    seed: int,
    groups: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Returns means over labels, measures of each, intervals of the means, and the predictions."""
    probabilities = probes.multi_label_scores(train, test, standardise)
    prefix = scaling_prefix(standardise) + LINEAR
    means = multi_label_measures(probabilities, test[1])
    return {prefix + name: value for name, value in means.items()} | (
      measures_of_labels(probabilities, test[1], self.names, prefix, resamples, seed, groups)
    )

  def vote(
    self, train: Labelled, test: Labelled, neighbours: int, temperature: float
  ) -> dict[str, float]:
    """Returns the mean area under the ROC curve of the shares of votes."""
    shares = probes.neighbour_shares(train, test[0], neighbours, temperature)
    return {KNN_AUROC: multi_label_measures(shares, test[1])["auroc"]}


LabelKind = Classes | Grades | MultiLabel
