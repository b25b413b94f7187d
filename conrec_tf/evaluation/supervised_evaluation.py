"""What a supervised head reaches on the evaluation split."""

from typing import Any

import numpy as np
from scipy.special import softmax

from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.evaluation import probes
from conrec_tf.evaluation.final_measures import measures_of_grades, measures_of_probabilities
from conrec_tf.metrics import LABEL, LABEL_ACCURACY, LABEL_KAPPA
from conrec_tf.models import ConRec, LinearHead


def supervised_evaluation(
  model: ConRec,
  head: LinearHead,
  source: DatasetSource,
  *,
  image_size: int,
  batch_size: int,
  layer: int,
  ordinal: bool = False,
  full: bool = False,
  bootstrap_samples: int = 0,
  seed: int = 0,
) -> dict[str, Any]:
  """Measures a supervised head on the evaluation split of its dataset.

  Args:
    model: the network.
    head: the head on it.
    source: the dataset, with labels.
    image_size: height and width that the network works at, pixels.
    batch_size: images of a batch.
    layer: what the head sees; see `ConRec.representation`.
    ordinal: whether classes are grades, and logits their cumulative bits.
    full: whether to take the measures of the end too; see `final_measures`.
    bootstrap_samples: resamples of the images for their intervals; 0: none.
    seed: fixes the resamples.

  Returns:
    `{name: value}`: top-1 and top-5 accuracy in [0, 1], or for grades accuracy and
    quadratic weighted kappa.
  """
  batches = evaluation_batches(source, source.eval.records(), image_size, batch_size)
  rows = [(head(model.embed(images, layer=layer)), label) for images, label in batches]
  logits, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
  count, groups = len(source.class_names), source.eval.groups if full else None
  return head_measures(logits, labels, count, ordinal, full, bootstrap_samples, seed, groups)


def head_measures(
  logits: np.ndarray,
  labels: np.ndarray,
  count: int,
  ordinal: bool,
  full: bool,
  bootstrap_samples: int = 0,
  seed: int = 0,
  groups: np.ndarray | None = None,
) -> dict[str, Any]:
  """Measures the logits `[N, count]` of images with labels int `[N]`; see `supervised_evaluation`.

  With `full` the predictions are among what is returned.
  """
  prefix = LABEL
  metrics: dict[str, Any]
  if ordinal:
    bits = 1.0 / (1.0 + np.exp(-logits))
    grades = probes.decode_bits(bits)
    metrics = {
      LABEL_ACCURACY: float(np.mean(grades == labels)),
      LABEL_KAPPA: probes.quadratic_weighted_kappa(labels, grades, count),
    }
    if full:
      metrics |= measures_of_grades(bits, labels, count, prefix, bootstrap_samples, seed, groups)
    return metrics
  accuracies = probes.top_k_accuracies(logits, np.arange(count), labels, ks=(1, 5))
  metrics = {f"{prefix}top_{k}_accuracy": value for k, value in accuracies.items()}
  if full:
    probabilities = softmax(logits.astype(np.float64), axis=1)
    metrics |= measures_of_probabilities(
      probabilities, labels, prefix, bootstrap_samples, seed, groups
    )
  return metrics
