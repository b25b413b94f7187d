"""The supervised step: a linear head on a frozen network, on a trainable one, or from scratch."""

import warnings

import numpy as np
import tensorflow as tf

from conrec_tf import losses
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.distribute import replicas
from conrec_tf.evaluation import probes
from conrec_tf.training.optimizers import l2_penalty
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics


class FinetuneStep:
  """One step on `{image, label}`: float32 `[B, H, W, C]` and int `[B]`.

  Args:
    config: `Config`.
    model: `ConRec`; what is frozen has `trainable = False` and runs in inference mode.
    head: `LinearHead`.
    optimizer: Keras optimizer; its `iterations` is the global step.
    classes: how many there are.
  """

  def __init__(self, config, model, head, optimizer, classes):
    self._config = config
    self._model = model
    self._head = head
    self._optimizer = optimizer
    self._classes = classes
    self._variables = model.trainable_variables + head.trainable_variables
    self._update = NonFiniteGuard(config, optimizer, self._variables, model.non_trainable_variables)

  def metrics(self):
    """The Keras metrics of what a step reports."""
    metrics = {
      **mean_metrics(
        "train/total_loss", "train/supervised_loss", "train/supervised_acc", "train/weight_decay"
      ),
      **self._update.metrics(),
    }
    if self._config.ordinal_labels:
      return {**metrics, "train/quadratic_weighted_kappa": _kappa(self._classes)}
    return {**metrics, **mean_metrics("train/supervised_top_5_acc")}

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch):
    """Updates the head and what isn't frozen; returns `{metric name: value}`."""
    config, labels = self._config, batch["label"]
    seed = tf.stack([tf.constant(config.seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    with tf.GradientTape() as tape:
      embedding = self._model.representation(
        batch["image"], training=True, seed=seed, layer=config.ft_proj_selector
      )
      logits = self._head(embedding)
      loss = losses.supervised_loss(logits, labels, config.ordinal_labels)
      decay = l2_penalty(config, self._variables, self._head.trainable_variables)
      total = loss + decay
      scaled = self._update.scaled(total)
    metrics = {
      "train/total_loss": total,
      "train/supervised_loss": loss,
      "train/weight_decay": decay,
      "train/supervised_acc": losses.supervised_accuracy(logits, labels, config.ordinal_labels),
    }
    if not config.ordinal_labels:
      metrics["train/supervised_top_5_acc"] = tf.reduce_mean(
        tf.cast(tf.math.in_top_k(labels, logits, min(5, self._classes)), tf.float32)
      )
    metrics = self._update(total, tape.gradient(scaled, self._variables), snapshot, metrics)
    if config.ordinal_labels:
      metrics["train/quadratic_weighted_kappa"] = (
        replicas.all_gather(labels),
        replicas.all_gather(losses.predictions(logits, True)),
      )
    return metrics


def supervised_evaluation(config, model, head, source):
  """What the supervised head reaches on the eval split.

  Returns:
    `{name: number}`: top-1 and top-5 accuracy in [0, 1], or for grades accuracy and
    quadratic weighted kappa.
  """
  logits, labels = (
    np.concatenate(parts)
    for parts in zip(
      *[
        (head(model.embed(images, layer=config.ft_proj_selector)), label)
        for images, label in evaluation_batches(config, source, source.eval)
      ]
    )
  )
  if config.ordinal_labels:
    grades = probes.decode_bits(1.0 / (1.0 + np.exp(-logits)))
    return {
      "eval/label_top_1_accuracy": float(np.mean(grades == labels)),
      "eval/label_quadratic_weighted_kappa": probes.quadratic_weighted_kappa(
        labels, grades, len(source.class_names)
      ),
    }
  classes = np.arange(logits.shape[1])
  return {
    f"eval/label_top_{k}_accuracy": value
    for k, value in probes.top_k_accuracies(logits, classes, labels, ks=(1, 5)).items()
  }


def _kappa(classes):
  """TensorFlow Addons' quadratic weighted kappa, without its end-of-life notice."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa  # only ordinal labels need it
  return tfa.metrics.CohenKappa(classes, sparse_labels=True, weightage="quadratic")
