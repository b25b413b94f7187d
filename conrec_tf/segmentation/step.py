"""The step of segmentation: crops and their classes in, one update."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import SegmentationExperiment
from conrec_tf.distribute import replicas
from conrec_tf.losses import segmentation_loss
from conrec_tf.metrics import SEGMENTATION_ACCURACY, SEGMENTATION_LOSS, TOTAL_LOSS, WEIGHT_DECAY
from conrec_tf.models import ConRec
from conrec_tf.segmentation.network import SegmentationHead, segmentation_logits
from conrec_tf.training.optimizers import l2_penalty, penalized_variables
from conrec_tf.training.update_step import NonFiniteGuard, mean_metrics


class SegmentationStep:
  """One step on `{image, classes}`: float32 `[B, H, W, C]` and int32 `[B, H, W]`.

  Args:
    model: the network; what is frozen has `trainable = False` and runs in inference mode.
    optimizer: its `iterations` is the global step.
  """

  def __init__(
    self,
    options: SegmentationExperiment,
    model: ConRec,
    head: SegmentationHead,
    optimizer: tf.keras.optimizers.Optimizer,
    skip_non_finite: bool,
  ) -> None:
    self._options, self._model, self._head = options, model, head
    self._variables = segmentation_variables(model, head)
    self._penalized = penalized_variables(
      options.optimizer, self._variables, head.trainable_variables
    )
    self._update = NonFiniteGuard(
      optimizer, self._variables, model.non_trainable_variables, skip=skip_non_finite
    )

  def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
    """Returns the Keras metrics of what a step reports."""
    names = (TOTAL_LOSS, SEGMENTATION_LOSS, WEIGHT_DECAY)
    return {**mean_metrics(*names, SEGMENTATION_ACCURACY), **self._update.metrics()}

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, Any]:
    """Updates the head and what isn't frozen; returns `{metric name: value}`."""
    options, classes = self._options, batch["classes"]
    snapshot = self._update.snapshot()
    with tf.GradientTape() as tape:
      logits = segmentation_logits(self._model, self._head, batch["image"], training=True)
      loss = segmentation_loss(
        logits,
        classes,
        options.segment_loss,
        dice_weight=options.dice_weight,
        class_weights=options.class_weights,
      )
      decay = l2_penalty(self._penalized, options.weight_decay)
      total = loss + decay
      scaled = self._update.scaled(total)
    counted = tf.cast(classes < logits.shape[-1], logits.dtype)
    right = tf.argmax(logits, axis=-1, output_type=tf.int32) == classes
    total_counted = replicas.all_reduce_sum(tf.reduce_sum(counted))  # their mean is the batch's
    share = tf.math.divide_no_nan(
      tf.reduce_sum(tf.cast(right, logits.dtype)) * replicas.num_replicas(), total_counted
    )
    metrics = {
      TOTAL_LOSS: total,
      SEGMENTATION_LOSS: loss,
      WEIGHT_DECAY: decay,
      SEGMENTATION_ACCURACY: share,
    }
    return self._update(total, tape.gradient(scaled, self._variables), snapshot, metrics)


def segmentation_variables(model: ConRec, head: SegmentationHead) -> list[tf.Variable]:
  """Returns what is trained: encoder, decoder but for its reconstruction, head."""
  assert model.decoder is not None
  left_out = {id(variable) for variable in model.decoder.output_convolution.weights}
  parts = model.encoder.trainable_variables + model.decoder.trainable_variables
  kept = [variable for variable in parts if id(variable) not in left_out]
  return kept + head.trainable_variables
