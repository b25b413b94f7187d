"""The supervised step: a head on a frozen network, on a trainable one, or from scratch."""

from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Training
from conrec_tf.distribute import replicas
from conrec_tf.metrics import (
  SKIPPED_UPDATES,
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


class SupervisedStep:
  """One update of a network and a head on it, by images whose labels are known.

  Attributes:
    reported: names of the means that `loss` gives.

  Args:
    model: the network; what is frozen has `trainable = False` and runs in inference mode.
    variables: what is trained; None takes all that isn't frozen.
    optimizer: its `iterations` is the global step.
  """

  reported: tuple[str, ...]

  def __init__(
    self,
    options: Training,
    model: ConRec,
    head: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    skip_non_finite: bool = False,
    variables: list[tf.Variable] | None = None,
  ) -> None:
    self._model, self._head, self._optimizer = model, head, optimizer
    self._seed, self._weight_decay = options.seed, options.weight_decay
    own = head.trainable_variables
    self._variables = variables or model.trainable_variables + own
    optimizer.build(self._variables)
    self._penalized = penalized_variables(options.optimizer, self._variables, own)
    self._update = NonFiniteGuard(
      optimizer, self._variables, model.non_trainable_variables, skip=skip_non_finite
    )

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    return {**mean_metrics(TOTAL_LOSS, *self.reported, WEIGHT_DECAY), **self._update.metrics()}

  def loss(
    self, batch: dict[str, tf.Tensor], seed: tf.Tensor
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, Any]]:
    """Computes the loss of a batch.

    Args:
      seed: int64 `[2]`, for dropout.

    Returns:
      The loss, a scalar; `{name: scalar}` of means; and `{name: arguments}` of other metrics, each
      with a row for each image, after which comes how much it counts.
    """
    raise NotImplementedError

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, Any]:
    """Updates the head and what isn't frozen; returns `{metric name: value}`."""
    seed = tf.stack([tf.constant(self._seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    with tf.GradientTape() as tape:
      loss, means, others = self.loss(batch, seed)
      decay = l2_penalty(self._penalized, self._weight_decay)
      total = loss + decay
      scaled = self._update.scaled(total)
    means |= {TOTAL_LOSS: total, WEIGHT_DECAY: decay}
    reported = self._update(total, tape.gradient(scaled, self._variables), snapshot, means)
    counts = 1.0 - reported[SKIPPED_UPDATES]
    return reported | {
      name: (*rows, tf.fill(tf.shape(rows[0]), counts)) for name, rows in others.items()
    }


class FinetuneStep(SupervisedStep):
  """A step of classification on `{image, label}`: float32 `[B, H, W, C]` and int `[B]`."""

  def __init__(
    self,
    options: Training,
    model: ConRec,
    head: LinearHead,
    optimizer: tf.keras.optimizers.Optimizer,
    skip_non_finite: bool = False,
  ) -> None:
    super().__init__(options, model, head, optimizer, skip_non_finite)
    self._layer, self._ordinal = options.ft_proj_selector, options.ordinal_labels
    self._num_classes = head.dense.units
    top_5 = () if self._ordinal else (SUPERVISED_TOP_5_ACCURACY,)
    self.reported = (SUPERVISED_LOSS, SUPERVISED_ACCURACY, *top_5)

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    if not self._ordinal:
      return super().metrics()
    return super().metrics() | {SUPERVISED_KAPPA: quadratic_weighted_kappa(self._num_classes)}

  def loss(
    self, batch: dict[str, tf.Tensor], seed: tf.Tensor
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, Any]]:
    """Computes cross entropy and accuracies, or for grades what their kappa is of."""
    labels = batch["label"]
    embedding = self._model.representation(
      batch["image"], training=True, seed=seed, layer=self._layer
    )
    logits = self._head(embedding)
    loss = losses.supervised_loss(logits, labels, self._ordinal)
    accuracy = losses.supervised_accuracy(logits, labels, self._ordinal)
    means = {SUPERVISED_LOSS: loss, SUPERVISED_ACCURACY: accuracy}
    if self._ordinal:
      graded = (labels, losses.predictions(logits, True))
      return loss, means, {SUPERVISED_KAPPA: tuple(map(replicas.all_gather, graded))}
    in_top_5 = tf.math.in_top_k(labels, logits, min(5, self._num_classes))
    means[SUPERVISED_TOP_5_ACCURACY] = tf.reduce_mean(tf.cast(in_top_5, tf.float32))
    return loss, means, {}
