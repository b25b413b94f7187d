"""A supervised head beside pre-training: it tells what the representation is worth on the way."""

import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Training
from conrec_tf.metrics import SUPERVISED_ACCURACY, SUPERVISED_LOSS
from conrec_tf.models import ConRec, FeatureLevels, LinearHead, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class SupervisedHead(PretrainingObjective):
  """The loss of a linear head; no gradient of it reaches the network.

  Args:
    head: the head, built; batches have labels.
  """

  metrics = (SUPERVISED_LOSS, SUPERVISED_ACCURACY)

  def __init__(self, head: LinearHead, options: Training, model: ConRec, channels: int) -> None:
    super().__init__(options, model, channels)
    self._head = head
    self.networks = {"head": head}

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes loss and accuracy of the head, as if the embedding were given."""
    labels, ordinal = tf.tile(batch["label"], [2]), self.options.ordinal_labels
    logits = self._head(tf.stop_gradient(outputs.embedding))
    loss = losses.supervised_loss(logits, labels, ordinal)
    return loss, {
      SUPERVISED_LOSS: loss,
      SUPERVISED_ACCURACY: losses.supervised_accuracy(logits, labels, ordinal),
    }
