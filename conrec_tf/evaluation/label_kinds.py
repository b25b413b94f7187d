"""Kinds of labels, and how a classifier of each is learnt and measured."""

import abc
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax

from conrec_tf.evaluation import measures, probes
from conrec_tf.evaluation.logistic_regression import LinearClassifier
from conrec_tf.evaluation.measures import Measure
from conrec_tf.evaluation.probes import Labelled
from conrec_tf.metrics import (
  EVAL,
  INTERVALS,
  KAPPA,
  KNN_ACCURACY,
  KNN_AUROC,
  LABELS,
  LINEAR_ACCURACY,
  LINEAR_AUROC,
  PREDICTIONS,
)


class LabelKind(abc.ABC):
  """A kind of labels.

  Attributes:
    name: what it is called in files.
    metric: the name of the number that counts, of raw embeddings.
    prefix: what names of measures of logistic regression begin with.
    final_measures: those that are taken once, at the end.
  """

  name: ClassVar[str]
  metric: ClassVar[str]
  prefix: ClassVar[str] = "linear_"
  final_measures: ClassVar[tuple[Measure, ...]] = ()

  @property
  @abc.abstractmethod
  def quick_measures(self) -> tuple[Measure, ...]:
    """The measures of every evaluation, whose first number is the one that counts."""

  @abc.abstractmethod
  def fit(self, train: Labelled, standardise: bool, strength: float = 1.0) -> LinearClassifier:
    """Returns logistic regression of `train`; see `probes.class_classifier`."""

  @abc.abstractmethod
  def predicted(self, outputs: np.ndarray) -> np.ndarray:
    """Returns the classes or grades int `[N]` that outputs say; of several labels the outputs."""

  @abc.abstractmethod
  def confidence(self, outputs: np.ndarray) -> np.ndarray:
    """Returns the probability of what is predicted, float `[N]`; of several labels of each."""

  @abc.abstractmethod
  def predictions(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what is predicted for each image, an array by name."""

  def of_each_label(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns what is measured of each of several labels; nothing of any other kind."""
    return {}

  def vote(
    self, train: Labelled, test: Labelled, neighbours: int, temperature: float
  ) -> dict[str, float]:
    """Returns the accuracy of the nearest neighbours' vote; see `probes.knn_accuracy`."""
    return {KNN_ACCURACY: probes.knn_accuracy(train, test, neighbours, temperature)}

  def agreement(self, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the accuracy of predicted classes or grades, int `[N]`."""
    return float(np.mean(labels == predicted))

  def outputs(
    self, train: Labelled, embeddings: np.ndarray, standardise: bool, strength: float = 1.0
  ) -> np.ndarray:
    """Returns what logistic regression says of embeddings float `[N, F]`, float `[N, K]`."""
    return self.fit(train, standardise, strength).probabilities(embeddings)

  def quick(
    self, train: Labelled, test: Labelled, standardise: bool, strength: float = 1.0
  ) -> dict[str, float]:
    """Returns the measures of every evaluation, by names without where they come from."""
    return self.quick_of(self.outputs(train, test[0], standardise, strength), test[1])

  def score(
    self, train: Labelled, test: Labelled, standardise: bool, strength: float = 1.0
  ) -> float:
    """Returns the number that counts, of logistic regression; larger is better."""
    return self.quick(train, test, standardise, strength)[self.metric.removeprefix(EVAL)]

  def quick_of(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns the measures of every evaluation of outputs; see `quick`."""
    found = measures.numbers(self.quick_measures, outputs, labels)
    return {self.prefix + name: value for name, value in found.items()}

  def measured(
    self,
    outputs: np.ndarray,
    labels: np.ndarray,
    prefix: str,
    resamples: int = 0,
    seed: int = 0,
    groups: np.ndarray | None = None,
  ) -> dict[str, Any]:
    """Returns all measures of outputs, their intervals and the predictions.

    Args:
      outputs: of any classifier, float `[N, K]`.
      prefix: what names of numbers begin with.
      resamples: of the images, for intervals; 0: none.
      groups: of the images, drawn in their place, object `[N]`, or None.
    """
    taken = (*self.quick_measures, *self.final_measures)
    numbers = measures.numbers(taken, outputs, labels)
    found: dict[str, Any] = {prefix + name: value for name, value in numbers.items()}
    if resamples:
      drawn = measures.intervals(taken, outputs, labels, resamples, seed, groups)
      found[INTERVALS] = {prefix + name: ends for name, ends in drawn.items()}
    found[PREDICTIONS] = self.predictions(outputs, labels)
    return found | self.of_each_label(outputs, labels)


@dataclasses.dataclass(frozen=True)
class Classes(LabelKind):
  """One class of each image, int `[N]`; outputs are probabilities, 0 of classes never learnt.

  Attributes:
    ks: see `measures.accuracies`.
  """

  count: int
  ks: tuple[int, ...] = (1, 3, 5)

  name = "classes"
  metric = LINEAR_ACCURACY
  final_measures = (
    measures.confusion_measures,
    measures.rank_measures,
    measures.calibration_error,
    measures.binary_measures,
  )

  @property
  def quick_measures(self) -> tuple[Measure, ...]:
    return (functools.partial(measures.accuracies, ks=self.ks),)

  def fit(self, train: Labelled, standardise: bool, strength: float = 1.0) -> LinearClassifier:
    return probes.class_classifier(train, self.count, standardise, strength)

  def outputs_of_logits(self, logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of a supervised head's logits, float `[N, count]`."""
    return softmax(logits.astype(np.float64), axis=1)

  def predicted(self, outputs: np.ndarray) -> np.ndarray:
    return outputs.argmax(axis=1)

  def confidence(self, outputs: np.ndarray) -> np.ndarray:
    return outputs.max(axis=1)

  def predictions(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {
      "label": labels,
      "prediction": self.predicted(outputs),
      "probability": self.confidence(outputs),
      "true_class_probability": outputs[np.arange(len(labels)), labels],
    }


@dataclasses.dataclass(frozen=True)
class Grades(LabelKind):
  """One grade of each image, int `[N]`, whose order matters (paper, section 3.2).

  Outputs are probabilities of cumulative bits, see `probes.cumulative_bits`.
  """

  count: int

  name = "grades"
  metric = KAPPA
  prefix = ""

  @property
  def quick_measures(self) -> tuple[Measure, ...]:
    return (self._kappa,)

  def _kappa(
    self, outputs: np.ndarray, labels: np.ndarray, weights: np.ndarray
  ) -> dict[str, np.ndarray]:
    grades = self.predicted(outputs)
    value = measures.quadratic_weighted_kappa(grades, labels, weights, self.count)
    return {KAPPA.removeprefix(EVAL): value}

  def fit(self, train: Labelled, standardise: bool, strength: float = 1.0) -> LinearClassifier:
    return probes.grade_classifier(train, self.count, standardise, strength)

  def outputs_of_logits(self, logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of bits from a supervised head's logits, float `[N, count]`."""
    return 1.0 / (1.0 + np.exp(-logits))

  def predicted(self, outputs: np.ndarray) -> np.ndarray:
    return probes.decode_bits(outputs)

  def confidence(self, outputs: np.ndarray) -> np.ndarray:
    return probes.grade_probabilities(outputs, self.predicted(outputs))

  def predictions(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {
      "label": labels,
      "prediction": self.predicted(outputs),
      "probability": self.confidence(outputs),
      "true_class_probability": probes.grade_probabilities(outputs, labels),
    }

  def agreement(self, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns quadratic weighted kappa of grades int `[N]`."""
    ones = np.ones([1, len(labels)])
    return float(measures.quadratic_weighted_kappa(predicted, labels, ones, self.count)[0])


@dataclasses.dataclass(frozen=True)
class MultiLabel(LabelKind):
  """Any number of labels of each image, 0 or 1 of each, int `[N, L]`; outputs are probabilities."""

  names: tuple[str, ...]

  name = "labels"
  metric = LINEAR_AUROC
  quick_measures = (measures.multi_label_measures,)

  def fit(self, train: Labelled, standardise: bool, strength: float = 1.0) -> LinearClassifier:
    return probes.label_classifier(train, standardise, strength)

  def of_each_label(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns measures of each label, without those that aren't defined."""
    by_label = measures.label_measures(outputs, labels, np.ones([1, len(labels)]))
    rows = [
      {
        "label": name,
        "positive": int(labels[:, column].sum()),
        **{key: float(values[column, 0]) for key, values in by_label.items()},
      }
      for column, name in enumerate(self.names)
    ]
    rows = [{key: value for key, value in row.items() if value == value} for row in rows]  # not NaN
    return {LABELS: rows}

  def predicted(self, outputs: np.ndarray) -> np.ndarray:
    return outputs

  def confidence(self, outputs: np.ndarray) -> np.ndarray:
    return outputs

  def predictions(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {"labels": labels, "probabilities": outputs}

  def vote(
    self, train: Labelled, test: Labelled, neighbours: int, temperature: float
  ) -> dict[str, float]:
    """Returns the mean area under the ROC curve of the shares of votes."""
    shares = probes.neighbour_shares(train, test[0], neighbours, temperature)
    return {KNN_AUROC: measures.numbers(self.quick_measures, shares, test[1])["auroc"]}


def kind_of_name(name: str, class_names: Sequence[str]) -> LabelKind:
  """Returns the kind of labels of a name.

  Args:
    name: classes, grades, or labels, of which an image has any number.
    class_names: of the labels, in their order.

  Raises:
    KeyError: there is no such kind.
  """
  kinds: dict[str, LabelKind] = {
    Classes.name: Classes(len(class_names)),
    Grades.name: Grades(len(class_names)),
    MultiLabel.name: MultiLabel(tuple(class_names)),
  }
  return kinds[name]
