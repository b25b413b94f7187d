"""The verdict on a method: whether it is worth it against others, by their paired predictions."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np
from scipy.optimize import brentq

from conrec_tf.evaluation.comparison import Spread, compare
from conrec_tf.evaluation.measures import LEVEL

FEWEST_UNITS, MOST_TIMES = 2, 1e6  # images or groups, and times as many: where a number is sought
SUPERVISED = "supervised from scratch"  # a method that others are compared with
WORTH, NOT_WORTH, UNDECIDED = "worth it", "not worth it", "can't be told"


@dataclasses.dataclass(frozen=True)
class Verdict:
  """The verdict on one method against another.

  Attributes:
    answer: worth it, where the whole interval lies above the margin; not worth it, where it lies
      below; else can't be told.
    value: how far the method is above the other, a share.
    interval: of that, (low, high).
    margin: a share, from which on it is worth it.
    images: that were measured.
    groups: that they belong to, or None; these then count, not the images.
    images_to_decide: with how many images the interval would just leave the margin out, if the
      difference and what it varies by stayed as they are, and groups as large: an estimate. None
      where no number would do: the difference is at the margin, or trainings differ too much.
  """

  answer: str
  value: float
  interval: tuple[float, float]
  margin: float
  images: int
  groups: int | None
  images_to_decide: int | None


def decide(
  first: Sequence[np.ndarray],
  second: Sequence[np.ndarray],
  labels: np.ndarray,
  *,
  margin: float,
  comparisons: int = 1,
  groups: np.ndarray | None = None,
  **options: Any,
) -> Verdict:
  """Decides if a method is worth it against another, by their predictions for the same images.

  Args:
    first: predictions of each training of the method; see `compare`, and there what varies.
    second: the same of the other method.
    labels: int `[N]`, true; of several labels 0 or 1, `[N, L]`.
    margin: what the first must be above the second, a share of at least 0.
    comparisons: in how many a method is decided on. All their intervals together hold in 95 of 100
      cases, each is as much wider (Bonferroni).
    groups: names of what images belong together by, object `[N]`, or None.
    **options: grades, resamples and seed of `compare`.
  """
  level = 1 - (1 - LEVEL) / comparisons
  found = compare(
    first, second, labels, groups=groups, level=level, added_disagreements=1.0, **options
  )
  low, high = found.interval
  answer = WORTH if low > margin else NOT_WORTH if high < margin else UNDECIDED
  times = _times_to_decide(found.spread, abs(found.value - margin), level)
  return Verdict(
    answer,
    found.value,
    found.interval,
    margin,
    len(labels),
    None if groups is None else len(set(groups)),
    None if times is None else math.ceil(times * len(labels)),
  )


def _times_to_decide(spread: Spread | None, gap: float, level: float) -> float | None:
  """Returns how many times the images would make an interval as wide as the gap to the margin.

  Args:
    gap: from the margin to the middle of the interval.
    level: of the interval.
  """
  if spread is None or spread.half_width(level, MOST_TIMES) >= gap:
    return None

  def surplus(power: float) -> float:
    return spread.half_width(level, math.exp(power)) - gap

  fewest = math.log(FEWEST_UNITS / spread.units)
  if surplus(fewest) <= 0:
    return math.exp(fewest)
  return math.exp(brentq(surplus, fewest, math.log(MOST_TIMES)))


def overall(verdicts: Mapping[str, Verdict]) -> tuple[str, str]:
  """Returns the verdict on a method against several others, and the name of the one that decides.

  It is worth it if it is against each, and not if it isn't against one: nobody chooses the
  strongest of the others by the images that it is measured on.

  Args:
    verdicts: by the other's name; at least one.
  """
  for answer in (NOT_WORTH, UNDECIDED, WORTH):
    names = [name for name, verdict in verdicts.items() if verdict.answer == answer]
    if names:
      return answer, min(names, key=lambda name: verdicts[name].value)
  raise AssertionError("nothing to compare with")


def sentence(answer: str, name: str, verdict: Verdict) -> str:
  """Returns what the verdict is and the numbers that decide, as one sentence.

  Args:
    answer: of all comparisons; see `overall`.
    name: of the method that decides it.
    verdict: against that one.
  """
  low, high = (f"{100 * end:+z.1f}" for end in verdict.interval)
  measured = f"{verdict.images:,} images"
  if verdict.groups is not None:
    measured += f" of {verdict.groups:,} groups"
  which = {
    WORTH: f"above the margin of {100 * verdict.margin:g}",
    NOT_WORTH: f"below the margin of {100 * verdict.margin:g}",
    UNDECIDED: f"on both sides of the margin of {100 * verdict.margin:g}",
  }[answer]
  opening = f"{answer[0].upper()}{answer[1:]}"
  if answer == UNDECIDED:
    opening += " with so many images"
  difference = f"with all labels {100 * verdict.value:+z.1f} points against {name}"
  text = f"{opening}: {difference}, {low} to {high}, {which}, on {measured}"
  if answer != UNDECIDED:
    return f"{text}."
  if verdict.images_to_decide is None:
    return f"{text}; more images alone would not decide."
  return f"{text}; about {_rounded(verdict.images_to_decide):,} would decide, an estimate."


def _rounded(number: int) -> int:
  """Returns a number with two digits, rounded up: it is an estimate."""
  unit = 10 ** max(0, len(str(number)) - 2)
  return math.ceil(number / unit) * unit
