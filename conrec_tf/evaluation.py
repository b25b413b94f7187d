"""Linear evaluation (paper, section 2.5): logistic regression on frozen embeddings."""

import logging
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conrec_tf.config import UsageError
from conrec_tf.data.pipeline import evaluation_batches

logger = logging.getLogger(__name__)


def linear_evaluation(config, model, source, standardise=False):
  """Top-1 accuracy of a linear classifier on the embeddings.

  Args:
    config: `Config`.
    model: network with `embed(images)`.
    source: `Source`; the classifier learns from its train split.
    standardise: whether to measure standardised embeddings as well. Those of an untrained
      network are nearly constant, so that raw ones stay at chance.

  Returns:
    `{name: accuracy in [0, 1]}`.
  """
  train, evaluated = (embed_split(config, model, source, split)
                      for split in (source.train, source.eval))
  metrics = {"eval/linear_top_1_accuracy": linear_accuracy(train, evaluated)}
  if standardise:
    metrics["eval/standardised_linear_top_1_accuracy"] = linear_accuracy(
        train, evaluated, standardise=True)
  return metrics


def embed_split(config, model, source, split):
  """Embeddings float32 `[N, F]` and labels int64 `[N]` of a split, in its order."""
  embeddings, labels = [], []
  for images, label in evaluation_batches(config, source, split):
    embeddings.append(model.embed(images).numpy())
    labels.append(label.numpy())
  return np.concatenate(embeddings), np.concatenate(labels)


def linear_accuracy(train, evaluated, standardise=False):
  """Accuracy of scikit-learn's logistic regression with the authors' settings.

  Args:
    train, evaluated: (embeddings `[N, F]`, labels `[N]`).
    standardise: whether to scale features to mean 0 and variance 1 over `train` first.

  Raises:
    UsageError: the training labels are all alike.
  """
  if len(np.unique(train[1])) < 2:
    raise UsageError("train_split must hold at least two classes for linear evaluation. "
                     "Received: 1")
  classifier = LogisticRegression(max_iter=10000, random_state=0)
  if standardise:
    classifier = make_pipeline(StandardScaler(), classifier)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    classifier.fit(*train)
  if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
    logger.warning("Linear evaluation did not converge; its accuracy may be too low")
  return float(classifier.score(*evaluated))
