"""The step of segmentation: crops and their classes in, one update."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import SegmentationExperiment
from conrec_tf.distribute import replicas
from conrec_tf.losses import segmentation_loss
from conrec_tf.metrics import SEGMENTATION_ACCURACY, SEGMENTATION_LOSS
from conrec_tf.models import ConRec
from conrec_tf.segmentation.network import SegmentationHead, segmentation_logits
from conrec_tf.training.finetune_step import SupervisedStep


class SegmentationStep(SupervisedStep):
  """A step of segmentation on `{image, classes}`: float32 `[B, H, W, C]` and int32 `[B, H, W]`."""

  reported = (SEGMENTATION_LOSS, SEGMENTATION_ACCURACY)

  def __init__(
    self,
    options: SegmentationExperiment,
    model: ConRec,
    head: SegmentationHead,
    optimizer: tf.keras.optimizers.Optimizer,
    skip_non_finite: bool,
  ) -> None:
    variables = segmentation_variables(model, head)
    super().__init__(options, model, head, optimizer, skip_non_finite, variables)
    self._options = options

  def loss(
    self, batch: dict[str, tf.Tensor], seed: tf.Tensor
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, Any]]:
    """Computes the loss of pixels, and the share of those that count that are right."""
    options, classes = self._options, batch["classes"]
    logits = segmentation_logits(self._model, self._head, batch["image"], training=True)
    loss = segmentation_loss(
      logits,
      classes,
      options.segment_loss,
      dice_weight=options.dice_weight,
      class_weights=options.class_weights,
    )
    counted = tf.cast(classes < logits.shape[-1], logits.dtype)
    right = tf.argmax(logits, axis=-1, output_type=tf.int32) == classes
    total_counted = replicas.all_reduce_sum(tf.reduce_sum(counted))  # their mean is the batch's
    share = tf.math.divide_no_nan(
      tf.reduce_sum(tf.cast(right, logits.dtype)) * replicas.num_replicas(), total_counted
    )
    return loss, {SEGMENTATION_LOSS: loss, SEGMENTATION_ACCURACY: share}, {}


def segmentation_variables(model: ConRec, head: SegmentationHead) -> list[tf.Variable]:
  """Returns what is trained: encoder, decoder but for its reconstruction, head."""
  assert model.decoder is not None
  left_out = {id(variable) for variable in model.decoder.output_convolution.weights}
  parts = model.encoder.trainable_variables + model.decoder.trainable_variables
  kept = [variable for variable in parts if id(variable) not in left_out]
  return kept + head.trainable_variables
