"""The progress of a training: a live line in a terminal, plain lines in a file."""

import logging
import math
import shutil
import sys
import time
from typing import Any

from conrec_tf.metrics import (
  GLOBAL_STEP,
  METRICS,
)

logger = logging.getLogger(__name__)

# By key, and shorter, so that all of it fits into 80 columns.
LABELS = {"step": "step {}"} | {key: metric.line for key, metric in METRICS.items() if metric.line}
SHORT_LABELS = {"step": "{}"} | {
  key: metric.short_line or metric.line for key, metric in METRICS.items() if metric.line
}


class Progress:
  """Shows one live line in a terminal; in a file, a plain line now and then.

  The time left is reckoned from all steps but those before the first row, in which the step is
  traced and compiled.

  Args:
    first_step, last_step: the range, for the time left.
  """

  SECONDS_BETWEEN_PLAIN_LINES = 10.0

  def __init__(self, first_step: int, last_step: int) -> None:
    self._first, self._last = first_step, last_step
    self._began = time.monotonic()
    self._compiled = False
    self._shown = -math.inf
    self._live = sys.stdout.isatty() and logger.isEnabledFor(logging.INFO)
    self._open = False

  def exclude(self, seconds: float) -> None:
    """Leaves out time that wasn't spent on steps."""
    self._began += seconds

  def show(self, row: dict[str, Any]) -> None:
    """Shows a row of metrics, `{name: number}`, and the time left."""
    step = row[GLOBAL_STEP]
    now = time.monotonic()
    left = (now - self._began) / (step - self._first) * (self._last - step)
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

  def _parts(self, row: dict[str, Any], left: float, labels: dict[str, str]) -> list[str]:
    return [
      labels["step"].format(f"{row['global_step']}/{self._last}"),
      *[form.format(row[name]) for name, form in labels.items() if name in row],
      f"{duration(left)} left",
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
