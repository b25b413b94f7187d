"""The pre-training step: views in, joint loss, one update (paper, Eq. 1)."""

from typing import Any

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Config
from conrec_tf.losses import view_major
from conrec_tf.metrics import (
  ADVERSARIAL_LOSS,
  CONTRAST_ACCURACY,
  CONTRAST_ENTROPY,
  CONTRAST_LOSS,
  DISCRIMINATOR_ACCURACY,
  DISCRIMINATOR_LOSS,
  LEVELS_CONTRAST_LOSS,
  LEVELS_RECONSTRUCTION_LOSS,
  RECONSTRUCTION_LOSS,
  SUPERVISED_ACCURACY,
  SUPERVISED_LOSS,
  TOTAL_LOSS,
  WEIGHT_DECAY,
)
from conrec_tf.models import ConRec, FeatureLevels, LinearHead, Outputs
from conrec_tf.models.level_heads import LevelHeads
from conrec_tf.training.adversarial import Adversary, merged_reports
from conrec_tf.training.level_losses import level_losses
from conrec_tf.training.momentum_contrast import (
  MomentumEncoder,
  moco_from_logits,
  moco_logits,
)
from conrec_tf.training.moving_average import MovingAverage
from conrec_tf.training.optimizers import l2_penalty, penalized_variables
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics


class PretrainStep:
  """One step on `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.

  Args:
    config: the options of the run.
    model: the network.
    optimizer: its `iterations` is the global step.
    head: a supervised head to train beside the network, or None. The batch then also holds
      `label` `[B]`, and no gradient of the head reaches the network.
    average: the moving average of the network, or None.
    momentum: the network that makes keys, for contrastive_method=moco.
    level_heads: the heads on the network's inner levels, or None.
    adversary: the discriminator of reconstructions with its training, or None.
  """

  def __init__(
    self,
    config: Config,
    model: ConRec,
    optimizer: tf.keras.optimizers.Optimizer,
    head: LinearHead | None = None,
    average: MovingAverage | None = None,
    momentum: MomentumEncoder | None = None,
    level_heads: LevelHeads | None = None,
    adversary: Adversary | None = None,
  ) -> None:
    self._config = config
    self._model = model
    self._optimizer = optimizer
    self._head, self._average, self._momentum = head, average, momentum
    self._level_heads, self._adversary = level_heads, adversary
    head_variables = head.trainable_variables if head else []
    self._variables = model.trainable_variables + head_variables
    untrained = model.non_trainable_variables
    if level_heads:
      self._variables = self._variables + level_heads.trainable_variables
      untrained = untrained + level_heads.non_trainable_variables
    self._penalized = penalized_variables(config.optimizer, self._variables, head_variables)
    if momentum:
      untrained = untrained + momentum.untrained_variables
    self._update = NonFiniteGuard(
      optimizer, self._variables, untrained, skip=config.on_nan == "skip"
    )

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    config, names = self._config, [TOTAL_LOSS]
    if config.contrastive_weight:
      names += [
        CONTRAST_LOSS,
        CONTRAST_ACCURACY,
        CONTRAST_ENTROPY,
      ]
    if config.reconstruction_weight:
      names += [RECONSTRUCTION_LOSS]
    if config.multi_level_contrastive_weight:
      names += [LEVELS_CONTRAST_LOSS]
    if config.multi_level_reconstruction_weight:
      names += [LEVELS_RECONSTRUCTION_LOSS]
    if self._adversary:
      names += [
        ADVERSARIAL_LOSS,
        DISCRIMINATOR_LOSS,
        DISCRIMINATOR_ACCURACY,
      ]
    if self._head:
      names += [SUPERVISED_LOSS, SUPERVISED_ACCURACY]
    return {**mean_metrics(*names, WEIGHT_DECAY), **self._update.metrics()}

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, Any]:
    """Updates the model; returns `{metric name: scalar, or arguments of the metric}`."""
    # Dropout depends on the step alone, whatever happened before it in this process.
    seed = tf.stack([tf.constant(self._config.seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    keys = self._keys(batch, training=True)
    corrupted, target = (view_major(batch[name]) for name in ("corrupted", "target"))
    with tf.GradientTape() as tape:
      outputs, maps = self.outputs(self._model, batch, training=True, seed=seed)
      total, metrics = self.compute_loss(outputs, target, keys)
      if self._level_heads:
        projections, reconstructions = self._level_heads(maps, training=True)
        levels, measures = level_losses(self._config, projections, reconstructions, target)
        metrics |= measures
        total += levels
      if self._adversary:
        judged, adversarial = self._adversary.loss(corrupted, outputs.reconstruction)
        metrics[ADVERSARIAL_LOSS] = adversarial
        total += judged
      if self._head:
        supervised, accuracy = self._supervised_loss(
          self._head, outputs.embedding, tf.tile(batch["label"], [2])
        )
        metrics[SUPERVISED_ACCURACY] = accuracy
        metrics[SUPERVISED_LOSS] = supervised
        total += supervised
      decay = l2_penalty(self._penalized, self._config.weight_decay)
      total += decay
      scaled = self._update.scaled(total)
    if self._momentum:
      self._momentum.enqueue(keys)
    reported = self._update(
      total,
      tape.gradient(scaled, self._variables),
      snapshot,
      {TOTAL_LOSS: total, WEIGHT_DECAY: decay, **metrics},
    )
    if self._adversary:
      judged = self._adversary.update(corrupted, target, outputs.reconstruction)
      reported = merged_reports([reported, judged])
    if self._average:
      self._average.update()
    if self._momentum:
      self._momentum.follow()
    return reported

  def validation_loss(
    self, model: ConRec, batch: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Computes loss and metrics of a network in inference mode; see `compute_loss`.

    What its inner levels and a discriminator add in training isn't in it.
    """
    outputs, _ = self.outputs(model, batch)
    return self.compute_loss(outputs, view_major(batch["target"]), self._keys(batch))

  def _keys(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor | None:
    """Computes the momentum network's projections of what is contrasted; None without it."""
    if not self._momentum:
      return None
    seen = "target" if self._config.contrastive_inputs == "clean" else "corrupted"
    return self._momentum.keys(view_major(batch[seen]), training)

  def outputs(
    self,
    model: ConRec,
    batch: dict[str, tf.Tensor],
    training: bool = False,
    seed: tf.Tensor | None = None,
  ) -> tuple[Outputs, FeatureLevels]:
    """Computes what a network makes of a batch, view-major."""
    config, clean = self._config, None
    if config.contrastive_inputs == "clean" and config.contrastive_weight:
      clean = view_major(batch["target"])
    corrupted = view_major(batch["corrupted"])
    return model.with_maps(corrupted, training, seed, num_views=2, contrastive_images=clean)

  def compute_loss(
    self, outputs: Outputs, target: tf.Tensor, keys: tf.Tensor | None = None
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Computes the joint loss (paper, Eq. 1) and what is logged of it.

    Args:
      outputs: of the network for the corrupted views, view-major.
      target: float32 `[2B, H, W, C]`.
      keys: float32 `[2B, D]` of the momentum network, for contrastive_method=moco.

    Returns:
      The loss, a scalar, and `{metric name: scalar}`.
    """
    config, total = self._config, 0.0
    metrics: dict[str, tf.Tensor] = {}
    if config.contrastive_weight:
      contrast, measures = self._contrastive_loss(outputs.projection, keys)
      total += config.contrastive_weight * contrast
      metrics |= {CONTRAST_LOSS: contrast, **measures}
    if config.reconstruction_weight:
      reconstruction = losses.reconstruction_loss(
        outputs.reconstruction, target, config.reconstruction_loss
      )
      total += config.reconstruction_weight * reconstruction
      metrics[RECONSTRUCTION_LOSS] = reconstruction
    return total, metrics

  def _contrastive_loss(
    self, projection: tf.Tensor, keys: tf.Tensor | None
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Computes the contrastive loss, and accuracy and entropy by name."""
    config = self._config
    if keys is not None:
      queue = self._momentum.queue if self._momentum else None
      logits, own = moco_logits(projection, keys, config.temperature, config.hidden_norm, queue)
      return moco_from_logits(logits, own), {
        CONTRAST_ACCURACY: losses.accuracy_of_logits(logits, own),
        CONTRAST_ENTROPY: losses.entropy_of_logits(logits),
      }
    logits = losses.contrastive_logits(projection, config.temperature, config.hidden_norm)
    return losses.CONTRASTIVE_LOSSES[config.contrastive_method](logits), {
      CONTRAST_ACCURACY: losses.contrastive_accuracy(logits),
      CONTRAST_ENTROPY: losses.contrastive_entropy(logits),
    }

  def _supervised_loss(
    self, head: LinearHead, embedding: tf.Tensor, labels: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes loss and accuracy of the head, as if the embedding were given."""
    logits = head(tf.stop_gradient(embedding))
    ordinal = self._config.ordinal_labels
    return (
      losses.supervised_loss(logits, labels, ordinal),
      losses.supervised_accuracy(logits, labels, ordinal),
    )
