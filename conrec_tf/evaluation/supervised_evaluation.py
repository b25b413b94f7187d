"""Measures a supervised head on the evaluation split."""

from typing import Any

import numpy as np

from conrec_tf.config import Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import split_batches
from conrec_tf.evaluation import measures
from conrec_tf.evaluation.embedding import check_finite, embed_images
from conrec_tf.evaluation.label_kinds import Classes, Grades
from conrec_tf.evaluation.logistic_regression import LinearClassifier
from conrec_tf.metrics import LABEL, LABEL_ACCURACY
from conrec_tf.models import ConRec, LinearHead


def head_kind(count: int, ordinal: bool) -> Classes | Grades:
  """Returns the kind of labels that a supervised head of so many outputs learns."""
  return Grades(count) if ordinal else Classes(count, ks=(1, 5))


def classifier_of_head(head: LinearHead, ordinal: bool) -> LinearClassifier:
  """Returns a supervised head as a classifier of embeddings: of classes, or of bits of grades."""
  weights, bias = head.get_weights()
  width = len(weights)
  return LinearClassifier(weights, bias, np.zeros(width), np.ones(width), excludes=not ordinal)


def supervised_evaluation(
  model: ConRec,
  head: LinearHead,
  source: DatasetSource,
  options: Experiment,
  full: bool = False,
) -> dict[str, Any]:
  """Measures a supervised head on the evaluation split of its dataset.

  With `full`, it takes the measures of the end too, and gives the predictions.

  Returns:
    `{name: value}`: top-1 and top-5 accuracy in [0, 1], or for grades accuracy and
    quadratic weighted kappa.

  Raises:
    UsageError: what the head says of an image isn't finite.
  """
  batches = split_batches(source, source.eval, options)
  rows = [(head(embed_images(model, images, options)), label) for images, label in batches]
  logits, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
  check_finite(logits, source.eval)
  kind = head_kind(len(source.class_names), options.ordinal_labels)
  outputs = kind.outputs_of_logits(logits)
  predicted = kind.predictions(outputs, labels)["prediction"]
  accuracy = {LABEL_ACCURACY: float(np.mean(predicted == labels))}
  if full:
    protocol = (options.bootstrap_samples, options.seed, source.eval.groups)
    return accuracy | kind.measured(outputs, labels, LABEL, *protocol)
  numbers = measures.numbers(kind.quick_measures, outputs, labels)
  return accuracy | {LABEL + name: value for name, value in numbers.items()}
