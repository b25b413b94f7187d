"""The paper's contrastive objective: the two views of an image are told from those of others."""

from conrec_tf import losses
from conrec_tf.metrics import CONTRAST_ACCURACY, CONTRAST_ENTROPY, CONTRAST_LOSS
from conrec_tf.models import FeatureLevels, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class Contrastive(PretrainingObjective):
  """NT-Xent (paper, Eq. 3), or the decoupled loss, of a batch's projections."""

  part = "contrastive"
  in_validation = True
  metrics = (CONTRAST_LOSS, CONTRAST_ACCURACY, CONTRAST_ENTROPY)

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
