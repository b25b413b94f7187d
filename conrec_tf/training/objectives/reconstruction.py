"""The paper's other objective: what was corrupted is restored."""

from conrec_tf import losses
from conrec_tf.metrics import RECONSTRUCTION_LOSS
from conrec_tf.models import FeatureLevels, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective


class Reconstruction(PretrainingObjective):
  """The distance of the reconstruction from the clean view (paper, Eq. 2)."""

  part = "reconstruction"
  in_validation = True
  metrics = (RECONSTRUCTION_LOSS,)

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss."""
    loss = losses.reconstruction_loss(
      outputs.reconstruction, batch["target"], self.options.reconstruction_loss
    )
    return self.options.reconstruction_weight * loss, {RECONSTRUCTION_LOSS: loss}
