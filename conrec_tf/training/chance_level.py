"""Says when the contrastive loss hasn't begun to fall, early enough to do something about it."""

from collections.abc import Sequence
import logging
from typing import Any

from conrec_tf.config import Config
from conrec_tf.metrics import CONTRAST_LOSS, GLOBAL_STEP

logger = logging.getLogger(__name__)

GENTLE_CROP = 0.5
SHARE = 0.2  # of the training, after which it should have


class ChanceLevelNotice:
  """Looks at the contrastive loss once, after a fifth of a training.

  Args:
    chance: the loss of projections that are all alike.
    first_step, last_step: where this process begins, and where the training ends.
    hints: what to try.
  """

  def __init__(
    self, chance: float, first_step: int, last_step: int, hints: Sequence[str] = ()
  ) -> None:
    self._chance, self._last_step, self._hints = chance, last_step, hints
    self._due = first_step < SHARE * last_step

  def __call__(self, row: dict[str, Any]) -> None:
    """Takes a row of metrics."""
    step, loss = row[GLOBAL_STEP], row.get(CONTRAST_LOSS)
    if not self._due or loss is None or step < SHARE * self._last_step:
      return
    self._due = False
    if loss >= self._chance:
      logger.warning(
        "The contrastive loss, %.2f after %d of %d steps, isn't below that of projections that are "
        "all alike, %.2f: the network doesn't tell images apart yet. What often helps: %s",
        loss,
        step,
        self._last_step,
        self._chance,
        ", ".join(self._hints),
      )


def hints(config: Config) -> list[str]:
  """Returns what often helps and isn't done yet."""
  found = []
  if config.optimizer in ("lars", "momentum"):
    found.append("--optimizer=adamw --learning_rate=0.001 --learning_rate_scaling=none")
  if config.contrastive_method == "nt_xent":
    found.append("--contrastive_method=decoupled with a lower --temperature")
  if config.crop_min_area < GENTLE_CROP:
    found.append("a larger --crop_min_area")
  return [*found, "more --train_epochs"]
