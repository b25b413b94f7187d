"""The paper's two objectives: to tell the views of an image, and to restore what was corrupted."""

from conrec_tf import losses
from conrec_tf.config import Training
from conrec_tf.metrics import (
  CONTRAST_ACCURACY,
  CONTRAST_ENTROPY,
  CONTRAST_LOSS,
  RECONSTRUCTION_LOSS,
)
from conrec_tf.models import FeatureLevels, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class Contrastive(PretrainingObjective):
  """NT-Xent (paper, Eq. 3), or the decoupled loss, of a batch's projections."""

  part = "contrastive"
  in_validation = True
  metrics = (CONTRAST_LOSS, CONTRAST_ACCURACY, CONTRAST_ENTROPY)

  @staticmethod
  def is_used(options: Training) -> bool:
    """Returns whether projections of a batch are compared with each other."""
    return bool(options.contrastive_weight) and options.contrastive_method != "moco"

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss, and accuracy and entropy by name."""
    options = self.options
    logits = losses.contrastive_logits(outputs.projection, options.temperature, options.hidden_norm)
    loss = losses.CONTRASTIVE_LOSSES[options.contrastive_method](logits)
    return options.contrastive_weight * loss, {
      CONTRAST_LOSS: loss,
      CONTRAST_ACCURACY: losses.contrastive_accuracy(logits),
      CONTRAST_ENTROPY: losses.contrastive_entropy(logits),
    }


class Reconstruction(PretrainingObjective):
  """The distance of the reconstruction from the clean view (paper, Eq. 2)."""

  part = "reconstruction"
  in_validation = True
  metrics = (RECONSTRUCTION_LOSS,)

  @staticmethod
  def is_used(options: Training) -> bool:
    """Returns whether images are reconstructed."""
    return bool(options.reconstruction_weight)

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss."""
    loss = losses.reconstruction_loss(
      outputs.reconstruction, batch["target"], self.options.reconstruction_loss
    )
    return self.options.reconstruction_weight * loss, {RECONSTRUCTION_LOSS: loss}
