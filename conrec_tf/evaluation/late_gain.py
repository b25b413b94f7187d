"""What the last part of a training added to what is measured: an early sign of a flat curve."""

from collections.abc import Mapping
import dataclasses
import math

SHARE = 1 / 3  # of the training that counts as its last part
EARLIEST, LATEST = 1 / 3, 5 / 6  # share of the training, where an evaluation may tell


@dataclasses.dataclass(frozen=True)
class LateGain:
  """How much a number rose in the last part of a training.

  Attributes:
    since_step: of the evaluation that the last one is compared with.
    share: of the training since then.
    value: the rise, a share.
    error: half of the width of its 95 % interval, by the measured images alone.
  """

  since_step: int
  share: float
  value: float
  error: float

  @property
  def rose(self) -> bool:
    """True where the number rose by more than the error."""
    return self.value > self.error

  def sentence(self) -> str:
    """Returns what was added or lost, and how far that is certain."""
    part = "third" if abs(self.share - SHARE) < 0.02 else f"{self.share:.0%}"
    start, error = f"The last {part} of the training", f"± {100 * self.error:.1f} points"
    if self.value < -self.error:
      return f"{start} lost {-100 * self.value:.1f} {error}"
    return (
      f"{start} added {100 * self.value:z.1f} {error}: no more than the measured images can tell "
      "from nothing"
    )


def late_gain(scores: Mapping[int, float], last_step: int, half_width: float) -> LateGain | None:
  """Returns how much a number rose since the evaluation that is nearest to two thirds.

  Both are measured on the same images. As how far they agree isn't kept, the error is that of two
  numbers of different images, of which either has the interval of the last one: it is too wide
  rather than too narrow.

  Args:
    scores: a number that is to be large, by the step of its evaluation; without the untrained
      network's.
    last_step: of the training, one of these; 0 where nothing was trained.
    half_width: of the 95 % interval of the last score.

  Returns:
    The rise; None where no evaluation lies between a third and five sixths of a training.
  """
  if not last_step:
    return None
  shares = {step: step / last_step for step in scores if EARLIEST <= step / last_step <= LATEST}
  if not shares:
    return None
  since = min(shares, key=lambda step: abs(shares[step] - (1 - SHARE)))
  value = scores[last_step] - scores[since]
  return LateGain(since, 1 - shares[since], value, math.sqrt(2) * half_width)
