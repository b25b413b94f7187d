"""The supervised step: a linear head on a frozen network, on a trainable one, or from scratch."""

from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Training
from conrec_tf.distribute import replicas
from conrec_tf.metrics import (
  SUPERVISED_ACCURACY,
  SUPERVISED_KAPPA,
  SUPERVISED_LOSS,
  SUPERVISED_TOP_5_ACCURACY,
  TOTAL_LOSS,
  WEIGHT_DECAY,
)
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.training.kappa import quadratic_weighted_kappa
from conrec_tf.training.optimizers import l2_penalty, penalized_variables
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics


class FinetuneStep:
  """One step on `{image, label}`: float32 `[B, H, W, C]` and int `[B]`.

  Args:
    model: the network; what is frozen has `trainable = False` and runs in inference mode.
    optimizer: its `iterations` is the global step.
  """

  def __init__(
    self,
    options: Training,
    model: ConRec,
    head: LinearHead,
    optimizer: tf.keras.optimizers.Optimizer,
    num_classes: int,
    skip_non_finite: bool = False,
  ) -> None:
    self._options = options
    self._model = model
    self._head = head
    self._optimizer = optimizer
    self._num_classes = num_classes
    self._variables = model.trainable_variables + head.trainable_variables
    self._penalized = penalized_variables(
      options.optimizer, self._variables, head.trainable_variables
    )
    self._update = NonFiniteGuard(
      optimizer, self._variables, model.non_trainable_variables, skip=skip_non_finite
    )

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    metrics = {
      **mean_metrics(
        TOTAL_LOSS,
        SUPERVISED_LOSS,
        SUPERVISED_ACCURACY,
        WEIGHT_DECAY,
      ),
      **self._update.metrics(),
    }
    if self._options.ordinal_labels:
      return {**metrics, SUPERVISED_KAPPA: quadratic_weighted_kappa(self._num_classes)}
    return {**metrics, **mean_metrics(SUPERVISED_TOP_5_ACCURACY)}

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, Any]:
    """Updates the head and what isn't frozen; returns `{metric name: value}`."""
    options, labels = self._options, batch["label"]
    ordinal = options.ordinal_labels
    seed = tf.stack([tf.constant(options.seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    with tf.GradientTape() as tape:
      embedding = self._model.representation(
        batch["image"], training=True, seed=seed, layer=options.ft_proj_selector
      )
      logits = self._head(embedding)
      loss = losses.supervised_loss(logits, labels, ordinal)
      decay = l2_penalty(self._penalized, options.weight_decay)
      total = loss + decay
      scaled = self._update.scaled(total)
    metrics = {
      TOTAL_LOSS: total,
      SUPERVISED_LOSS: loss,
      WEIGHT_DECAY: decay,
      SUPERVISED_ACCURACY: losses.supervised_accuracy(logits, labels, ordinal),
    }
    if not ordinal:
      metrics[SUPERVISED_TOP_5_ACCURACY] = tf.reduce_mean(
        tf.cast(tf.math.in_top_k(labels, logits, min(5, self._num_classes)), tf.float32)
      )
    metrics = self._update(total, tape.gradient(scaled, self._variables), snapshot, metrics)
    if ordinal:
      metrics[SUPERVISED_KAPPA] = (
        replicas.all_gather(labels),
        replicas.all_gather(losses.predictions(logits, True)),
      )
    return metrics
