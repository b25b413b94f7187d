"""The pre-training step: views in, joint loss, one update (paper, Eq. 1)."""

import tensorflow as tf

from conrec_tf import losses


class PretrainingStep:
  """One step on `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.

  Args:
    config: `Config`.
    model: `ConRec`.
    optimizer: Keras optimizer; its `iterations` is the global step.
  """

  def __init__(self, config, model, optimizer):
    self._config = config
    self._model = model
    self._optimizer = optimizer
    self.metric_names = ["train/total_loss"]
    if config.contrastive_weight:
      self.metric_names += ["train/contrast_loss", "train/contrast_acc", "train/contrast_entropy"]
    if config.reconstruction_weight:
      self.metric_names += ["train/reconstruction_loss"]

  def __call__(self, batch):
    """Updates the model; returns `{metric name: scalar}`."""
    # Dropout depends on the step alone, whatever happened before it in this process.
    seed = tf.stack([tf.constant(self._config.seed, tf.int64), self._optimizer.iterations])
    with tf.GradientTape() as tape:
      outputs = self._model(view_major(batch["corrupted"]), training=True, seed=seed)
      metrics = self.objective(outputs, view_major(batch["target"]))
    variables = self._model.trainable_variables
    gradients = tape.gradient(metrics["train/total_loss"], variables)
    self._optimizer.apply_gradients(zip(gradients, variables))
    return metrics

  def objective(self, outputs, target):
    """The losses and what is logged beside them.

    Args:
      outputs: `Outputs` of the corrupted views, view-major.
      target: float32 `[2B, H, W, C]`.
    """
    config, metrics, total = self._config, {}, 0.0
    if config.contrastive_weight:
      logits = losses.contrastive_logits(outputs.projection, config.temperature,
                                         config.hidden_norm)
      contrast = losses.nt_xent_from_logits(logits)
      total += config.contrastive_weight * contrast
      metrics["train/contrast_loss"] = contrast
      metrics["train/contrast_acc"] = losses.contrastive_accuracy(logits)
      metrics["train/contrast_entropy"] = losses.contrastive_entropy(logits)
    if config.reconstruction_weight:
      reconstruction = losses.reconstruction_loss(outputs.reconstruction, target,
                                                  config.reconstruction_loss)
      total += config.reconstruction_weight * reconstruction
      metrics["train/reconstruction_loss"] = reconstruction
    return {"train/total_loss": total, **metrics}


def view_major(views):
  """`[B, 2, ...]` to `[2B, ...]`: all first views, then all second views."""
  return tf.concat([views[:, 0], views[:, 1]], axis=0)
