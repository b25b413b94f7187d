"""The progress of a training: a line of numbers, and a warning where it learns nothing."""

from collections.abc import Sequence
import logging
import math
import shutil
import sys
import time
from typing import Any

from conrec_tf.config import Training
from conrec_tf.config.options.training import SizePhase
from conrec_tf.metrics import CONTRAST_LOSS, GLOBAL_STEP, METRICS

logger = logging.getLogger(__name__)

GENTLE_CROP = 0.5
SHARE = 0.2  # of the training, after which the contrastive loss should have begun to fall
# By key, and shorter, so that all of it fits into 80 columns.
LABELS = {"step": "step {}"} | {key: metric.line for key, metric in METRICS.items() if metric.line}
SHORT_LABELS = {"step": "{}"} | {
  key: metric.short_line or metric.line for key, metric in METRICS.items() if metric.line
}


class Progress:
  """Shows one live line in a terminal; in a file, a plain line now and then.

  The time left is reckoned from all steps of a size but those before its first row, in which the
  step is traced and compiled, as if steps took as long as their images have pixels; at that row,
  from the size before, and nothing is said of it at the first of all.

  Args:
    phases: the sizes of the whole training.
  """

  SECONDS_BETWEEN_PLAIN_LINES = 10.0
  STEPS_TO_MEASURE = 10
  LONG = 60.0  # seconds of training that are announced

  def __init__(self, first_step: int, phases: Sequence[SizePhase]) -> None:
    self._phases, self._last = phases, phases[-1].last_step
    self._pace: float | None = None  # seconds for a pixel of an image
    self.begin(first_step)
    self._shown = -math.inf
    self._live = sys.stdout.isatty() and logger.isEnabledFor(logging.INFO)
    self._open = False
    self._warm: tuple[int, float] | None = None  # the step from which on it is measured, and when
    self._announced = False

  def begin(self, step: int) -> None:
    """Takes up the time anew, at the first step and where another size begins."""
    self._first, self._began, self._compiled = step, time.monotonic(), False

  def exclude(self, seconds: float) -> None:
    """Leaves out time that wasn't spent on steps."""
    self._began += seconds
    if self._warm:
      self._warm = self._warm[0], self._warm[1] + seconds

  def announce(self, step: int) -> None:
    """Says once how long a training will take, from its first steps but that which is compiled."""
    if self._announced:
      return
    if self._warm is None:
      self._warm = step, time.monotonic()
      return
    first, began = self._warm
    if step - first < self.STEPS_TO_MEASURE:
      return
    self._announced = True
    seconds = (time.monotonic() - began) / self._work(first, step) * self._work(step, self._last)
    if seconds > self.LONG:
      logger.info(
        "%d steps will take %s %s, and evaluations; fewer --train_epochs or a smaller "
        "--image_size shorten that",
        self._last - step,
        "at most" if len(self._phases) > 1 else "about",  # steps have a part of one length, too
        duration(seconds),
      )

  def show(self, row: dict[str, Any]) -> None:
    """Shows a row of metrics, `{name: number}`, and the time left."""
    step = row[GLOBAL_STEP]
    now = time.monotonic()
    pace = (now - self._began) / self._work(self._first, step)
    if self._compiled:
      self._pace = pace
    left = self._pace and self._pace * self._work(step, self._last)
    if not self._compiled:
      self._compiled, self._first, self._began = True, step, now
    if self._live:
      # A longer line would wrap, and the carriage return come back to its last row only.
      columns = shutil.get_terminal_size().columns - 1
      parts, separator = self._parts(row, left, LABELS), "  "
      if len(separator.join(parts)) > columns:
        parts, separator = self._parts(row, left, SHORT_LABELS), " "
      while len(separator.join(parts)) > columns and len(parts) > 3:
        del parts[2]  # step, loss and what comes last say most
      sys.stdout.write("\r\033[K" + separator.join(parts)[:columns])
      sys.stdout.flush()
      self._open = True
    elif now - self._shown > self.SECONDS_BETWEEN_PLAIN_LINES or step == self._last:
      logger.info("  ".join(self._parts(row, left, LABELS)))
      self._shown = now

  def _work(self, after: int, last: int) -> int:
    """Returns the pixels of an image of each step, added up, of those after one to another."""
    firsts = [0, *(phase.last_step for phase in self._phases)]
    return sum(
      max(0, min(last, phase.last_step) - max(after, first)) * phase.image_size**2
      for first, phase in zip(firsts, self._phases, strict=False)
    )

  def _parts(self, row: dict[str, Any], left: float | None, labels: dict[str, str]) -> list[str]:
    return [
      labels["step"].format(f"{row[GLOBAL_STEP]}/{self._last}"),
      *[form.format(row[name]) for name, form in labels.items() if name in row],
      *([] if left is None else [f"{duration(left)} left"]),
    ]

  def pause(self) -> None:
    """Ends the live line, so that other output starts on its own."""
    if self._open:
      sys.stdout.write("\n")
      self._open = False


def duration(seconds: float) -> str:
  """Returns seconds as h:mm:ss or m:ss."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class ChanceLevelNotice:
  """Warns once where the contrastive loss hasn't begun to fall after a fifth of a training.

  Args:
    chance: the loss of projections that are all alike.
    first_step, last_step: where this process begins, and where the training ends.
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


def hints(options: Training) -> list[str]:
  """Returns what often helps and isn't done yet."""
  found = []
  if options.optimizer in ("lars", "momentum"):
    found.append("--optimizer=adamw --learning_rate=0.001 --learning_rate_scaling=none")
  if options.contrastive_method == "nt_xent":
    found.append("--contrastive_method=decoupled with a lower --temperature")
  if options.crop_min_area < GENTLE_CROP:
    found.append("a larger --crop_min_area")
  return [*found, "more --train_epochs"]
