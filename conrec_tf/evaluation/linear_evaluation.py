"""Linear evaluation (paper, section 2.5): what frozen embeddings are worth to a classifier."""

import numpy as np
from sklearn.model_selection import train_test_split
import tensorflow as tf

from conrec_tf.data.pipeline import evaluation_batches, validation_batches
from conrec_tf.evaluation import probes
from conrec_tf.losses import view_major

VALIDATION_SHARE = 0.2
ACCURACY = "eval/linear_top_1_accuracy"
KAPPA = "eval/quadratic_weighted_kappa"
VALIDATION_LOSS = "eval/total_loss"


def main_metric(config):
  """The name of the number that methods are compared by."""
  return KAPPA if config.ordinal_labels else ACCURACY


def selection_metric(config):
  """The name of the number that the best checkpoint is chosen by."""
  name = main_metric(config)
  return name.replace("eval/", "eval/validation_") if config.select_on == "validation" else name


def embed_split(config, model, source, split):
  """Embeddings float32 `[N, F]` and labels int64 `[N]` of a split, in its order."""
  embeddings, labels = [], []
  for images, label in evaluation_batches(config, source, split):
    embeddings.append(model.embed(images, layer=config.ft_proj_selector).numpy())
    labels.append(label.numpy())
  return np.concatenate(embeddings), np.concatenate(labels)


def embed_source(config, model, source):
  """The train and the eval split; with folds there is no eval split (None)."""
  train = embed_split(config, model, source, source.train)
  return train, None if config.folds else embed_split(config, model, source, source.eval)


def validation_losses(config, model, loss_fn, source):
  """The pre-training losses on the eval split, for data without labels.

  Args:
    config: `Config`.
    model: `ConRec`; it runs in inference mode.
    loss_fn: function of (`Outputs`, target) to (total, `{metric name: scalar}`).
    source: `DatasetSource`.

  Returns:
    `{name: number}`, means over the batches.
  """

  @tf.function(autograph=False)
  def measure(batch):
    total, metrics = loss_fn(model(view_major(batch["corrupted"])), view_major(batch["target"]))
    return {VALIDATION_LOSS: total, **metrics}

  rows = [measure(batch) for batch in validation_batches(config, source)]
  return {
    name.replace("train/", "eval/"): float(np.mean([row[name] for row in rows])) for name in rows[0]
  }


def linear_evaluation(config, train, test, classes):
  """The quick measures, for every evaluation during a training.

  Args:
    config: `Config`.
    train: (embeddings `[N, F]`, labels `[N]`) that the classifier learns from.
    test: the same of what it is measured on; unused with folds.
    classes: how many there are.

  Returns:
    `{name: number}`. Accuracies are in [0, 1]; those named standardised are of embeddings
    scaled to mean 0 and variance 1, without which an untrained network, whose embeddings
    are nearly constant, stays at chance.
  """
  metrics = {}
  for name, standardise in (("eval/", False), ("eval/standardised_", True)):
    score = _score(config, classes, standardise)
    if config.folds:
      scores = probes.cross_validate(score, train, config.folds, config.seed)
      metrics.update(_mean(scores, name))
    else:
      metrics.update({name + key: value for key, value in score(train, test).items()})
    if config.ordinal_labels:
      break  # the authors' protocol knows raw embeddings only
  if config.select_on == "validation":
    labels = train[1]
    stratify = labels if np.unique(labels, return_counts=True)[1].min() > 1 else None
    kept, held = train_test_split(
      np.arange(len(labels)),
      test_size=VALIDATION_SHARE,
      random_state=config.seed,
      stratify=stratify,
    )
    scores = _score(config, classes, False)(*[(train[0][i], train[1][i]) for i in (kept, held)])
    metrics.update({"eval/validation_" + name: value for name, value in scores.items()})
  return metrics


def full_evaluation(config, train, test, classes):
  """What is measured once, at the end: neighbours, confusions, label fractions.

  Args and Returns: as of `linear_evaluation`; values may be lists.
  """
  if config.folds:
    return {
      "eval/knn_accuracy": float(
        np.mean(probes.cross_validate(probes.knn_accuracy, train, config.folds, config.seed))
      )
    }
  metrics = {"eval/knn_accuracy": probes.knn_accuracy(train, test)}
  if not config.ordinal_labels:
    scores, columns = probes.linear_scores(train, test)
    metrics["eval/confusions"] = probes.confusions(scores, columns, test[1], classes).tolist()
  if config.fractions:
    score, name = _score(config, classes, False), main_metric(config).removeprefix("eval/")
    metrics["eval/label_fractions"] = probes.label_fraction_curve(
      lambda subset: score(subset, test)[name],
      train,
      config.fractions,
      config.repetitions,
      config.seed,
    )
  return metrics


def _score(config, classes, standardise):
  """A function from (training split, measured split) to `{name: number}`."""

  def kappa(train, test):
    predictions = probes.ordinal_predictions(train, test, classes)
    return {
      "quadratic_weighted_kappa": probes.quadratic_weighted_kappa(test[1], predictions, classes)
    }

  def accuracies(train, test):
    scores, columns = probes.linear_scores(train, test, standardise)
    return {
      f"linear_top_{k}_accuracy": value
      for k, value in probes.top_k_accuracies(scores, columns, test[1]).items()
    }

  return kappa if config.ordinal_labels else accuracies


def _mean(scores, prefix):
  """Means of folds, and the standard deviation of the first measure."""
  names = list(scores[0])
  result = {prefix + name: float(np.mean([score[name] for score in scores])) for name in names}
  result[f"{prefix}{names[0]}_std"] = float(np.std([score[names[0]] for score in scores]))
  return result
