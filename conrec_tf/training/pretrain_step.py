"""The pre-training step: views in, joint loss, one update (paper, Eq. 1)."""

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.losses import view_major
from conrec_tf.training.optimizers import l2_penalty
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics


class PretrainStep:
  """One step on `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.

  Args:
    config: `Config`.
    model: `ConRec`.
    optimizer: Keras optimizer; its `iterations` is the global step.
    head: `LinearHead` to train beside the network, or None. The batch then also holds
      `label` `[B]`, and no gradient of the head reaches the network.
  """

  def __init__(self, config, model, optimizer, head=None):
    self._config = config
    self._model = model
    self._optimizer = optimizer
    self._head = head
    self._head_variables = head.trainable_variables if head else []
    self._variables = model.trainable_variables + self._head_variables
    self._update = NonFiniteGuard(config, optimizer, self._variables, model.non_trainable_variables)

  def metrics(self):
    """The Keras metrics of what a step reports."""
    config, names = self._config, ["train/total_loss"]
    if config.contrastive_weight:
      names += ["train/contrast_loss", "train/contrast_acc", "train/contrast_entropy"]
    if config.reconstruction_weight:
      names += ["train/reconstruction_loss"]
    if self._head:
      names += ["train/supervised_loss", "train/supervised_acc"]
    return {**mean_metrics(*names, "train/weight_decay"), **self._update.metrics()}

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch):
    """Updates the model; returns `{metric name: scalar, or arguments of the metric}`."""
    # Dropout depends on the step alone, whatever happened before it in this process.
    seed = tf.stack([tf.constant(self._config.seed, tf.int64), self._optimizer.iterations])
    snapshot = self._update.snapshot()
    with tf.GradientTape() as tape:
      outputs = self._model(view_major(batch["corrupted"]), training=True, seed=seed, num_views=2)
      total, metrics = self.compute_loss(outputs, view_major(batch["target"]))
      if self._head:
        supervised, metrics["train/supervised_acc"] = self._supervise(
          outputs.embedding, tf.tile(batch["label"], [2])
        )
        metrics["train/supervised_loss"] = supervised
        total += supervised
      decay = l2_penalty(self._config, self._variables, self._head_variables)
      total += decay
      scaled = self._update.scaled(total)
    return self._update(
      total,
      tape.gradient(scaled, self._variables),
      snapshot,
      {"train/total_loss": total, "train/weight_decay": decay, **metrics},
    )

  def compute_loss(self, outputs, target):
    """The joint loss (paper, Eq. 1) and what is logged of it.

    Args:
      outputs: `Outputs` of the corrupted views, view-major.
      target: float32 `[2B, H, W, C]`.

    Returns:
      Scalar and `{metric name: scalar}`.
    """
    config, metrics, total = self._config, {}, 0.0
    if config.contrastive_weight:
      logits = losses.contrastive_logits(outputs.projection, config.temperature, config.hidden_norm)
      contrast = losses.nt_xent_from_logits(logits)
      total += config.contrastive_weight * contrast
      metrics["train/contrast_loss"] = contrast
      metrics["train/contrast_acc"] = losses.contrastive_accuracy(logits)
      metrics["train/contrast_entropy"] = losses.contrastive_entropy(logits)
    if config.reconstruction_weight:
      reconstruction = losses.reconstruction_loss(
        outputs.reconstruction, target, config.reconstruction_loss
      )
      total += config.reconstruction_weight * reconstruction
      metrics["train/reconstruction_loss"] = reconstruction
    return total, metrics

  def _supervise(self, embedding, labels):
    """Loss and accuracy of the head, as if the embedding were given."""
    logits = self._head(tf.stop_gradient(embedding))
    return (
      losses.supervised_loss(logits, labels, self._config.ordinal_labels),
      losses.supervised_accuracy(logits, labels, self._config.ordinal_labels),
    )
