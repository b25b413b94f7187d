"""The pre-training step: views in, the sum of the objectives' losses, one update (paper, Eq. 1)."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.metrics import SKIPPED_UPDATES, TOTAL_LOSS, WEIGHT_DECAY
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.training.moving_average import MovingAverage
from conrec_tf.training.objectives.gradient_conflict import GradientConflict
from conrec_tf.training.objectives.objective import Batch, Loss
from conrec_tf.training.objectives.pretrain_loss import PretrainLoss, summed, view_major_batch
from conrec_tf.training.optimizers import l2_penalty, penalized_variables
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics, merged_reports


class PretrainStep:
  """One step on `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.

  Attributes:
    loss: what is minimised, and the networks beside the one that is trained.

  Args:
    model: the network, with the weights that it starts from.
    optimizer: its `iterations` is the global step.
    head: a supervised head to train beside the network, or None. Batches then also have
      `label` `[B]`.
    channels: of the images; None takes `options.channels`.
    last_step: where training ends, for what follows a schedule beside the optimizer; 0 where
      nothing does.
    conflict_interval: steps between two comparisons of the losses' gradients; 0: none.

  Raises:
    ValueError: something follows such a schedule, and nobody says where it ends.
  """

  def __init__(
    self,
    options: Training,
    model: ConRec,
    optimizer: tf.keras.optimizers.Optimizer,
    head: LinearHead | None = None,
    *,
    channels: int | None = None,
    last_step: int = 0,
    skip_non_finite: bool = False,
    conflict_interval: int = 0,
  ) -> None:
    if options.moco_momentum_schedule == "cosine" and last_step < 1:
      raise ValueError(
        f"last_step must be positive for moco_momentum_schedule=cosine. Received: {last_step}"
      )
    self._options, self._model, self._optimizer = options, model, optimizer
    self.loss = PretrainLoss(options, model, head, channels)
    objectives = self.loss.objectives
    beside = [variable for objective in objectives for variable in objective.variables]
    head_variables = head.trainable_variables if head else []
    # The optimizer's slots in checkpoints are in this order.
    self._variables = model.trainable_variables + head_variables + beside
    optimizer.build(self._variables)
    self._penalized = penalized_variables(options.optimizer, self._variables, head_variables)
    self._average = None
    if options.moving_average_decay:
      # Of batch norm's statistics too. Less of the first steps stays, so that they are forgotten.
      self._average = MovingAverage(
        self.loss.evaluated.weights,
        model.weights,
        lambda step: tf.minimum(options.moving_average_decay, (1.0 + step) / (10.0 + step)),
        optimizer.iterations,
      )
    self.loss.build(optimizer.iterations, last_step, skip_non_finite)
    untrained = [variable for objective in objectives for variable in objective.untrained]
    untrained = model.non_trainable_variables + untrained
    self._update = NonFiniteGuard(optimizer, self._variables, untrained, skip=skip_non_finite)
    self._conflict = GradientConflict(model, conflict_interval) if conflict_interval else None

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    names = [name for objective in self.loss.objectives for name in objective.metrics]
    metrics = {**mean_metrics(TOTAL_LOSS, *names, WEIGHT_DECAY), **self._update.metrics()}
    return metrics | self._conflict.metrics() if self._conflict else metrics

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch: Batch) -> dict[str, Any]:
    """Updates the model; returns `{metric name: scalar, or arguments of the metric}`."""
    # Dropout depends on the step alone, whatever happened before it in this process.
    seed = tf.stack([tf.constant(self._options.seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    batch = view_major_batch(batch)
    with tf.GradientTape(persistent=self._conflict is not None) as tape:
      outputs, maps = self.loss.outputs(self._model, batch, training=True, seed=seed)
      losses = [
        objective.loss(batch, outputs, maps, training=True) for objective in self.loss.objectives
      ]
      total, metrics = summed(losses)
      decay = l2_penalty(self._penalized, self._options.weight_decay)
      total += decay
      scaled = self._update.scaled(total)
      parts = self._parts(losses) if self._conflict else {}
    conflict = self._conflict(tape, parts, self._optimizer.iterations + 1) if self._conflict else {}
    reported = self._update(
      total,
      tape.gradient(scaled, self._variables),
      snapshot,
      {TOTAL_LOSS: total, WEIGHT_DECAY: decay, **metrics},
    )
    counts = 1.0 - reported[SKIPPED_UPDATES]
    others = [objective.after_update(batch, outputs, counts) for objective in self.loss.objectives]
    if self._average:
      self._average.update(counts)
    return merged_reports([reported, *filter(None, others)]) | conflict

  def _parts(self, losses: Sequence[Loss]) -> dict[str, tf.Tensor]:
    """Returns the contrastive and the reconstruction part of the loss, as it is differentiated."""
    parts = dict.fromkeys(("contrastive", "reconstruction"), tf.zeros([]))
    for objective, (loss, _) in zip(self.loss.objectives, losses, strict=True):
      if objective.part:
        parts[objective.part] += loss
    return {name: self._update.scaled(part) for name, part in parts.items()}
