"""Methods beside each other: trainings that differ in nothing but their seed are one method."""

from collections.abc import Sequence
import dataclasses
import logging
import pathlib

import numpy as np

from conrec_tf.config.config import OF_MEASURED_IMAGES
from conrec_tf.evaluation.comparison import Difference, compare
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.metrics import LABEL_FREE, Metric, metric_of
from conrec_tf.reporting.run_record import RunRecord, last_parts, told_apart
from conrec_tf.reporting.tables import Table
from conrec_tf.run_dir.measurement import changed_words
from conrec_tf.run_dir.predictions_file import file_name

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Method:
  """Trainings of the same settings.

  Attributes:
    name: the system's, and where it comes twice the folder's too.
    runs: one for each seed.
  """

  name: str
  runs: tuple[RunRecord, ...]

  def values(self) -> list[float]:
    """Returns the number that runs are compared by, of each that has it."""
    return [run.result[run.metric] for run in self.runs if run.metric in run.result]


def methods_of(runs: Sequence[RunRecord]) -> list[Method]:
  """Groups runs by what determines their weights and numbers, in order; a seed counts once.

  Trainings that went to different steps, learnt from other images, or were measured otherwise, are
  different methods.
  """
  groups: dict[str, dict[int, RunRecord]] = {}
  for run in runs:
    settings = run.config.training_fingerprint | {"seed": None}
    known_by = (settings, run.learnt_from, run.step, run.measured.digest)
    group = groups.setdefault(repr(known_by), {})
    known = group.setdefault(run.config.seed, run)
    if known is not run:
      logger.warning("%s is the same training as %s; it isn't counted", run.path, known.path)
  trainings = [tuple(group.values()) for group in groups.values()]
  folders = last_parts(list(map(_folder, trainings)))
  names = told_apart([runs[0].name for runs in trainings], folders)
  return list(map(Method, names, trainings))


def comparison_table(methods: Sequence[Method]) -> tuple[Table, list[str]]:
  """Compares the first method with each other one, and logs what comes of it.

  Returns:
    The table, in per cent but for losses, and what could not be compared or isn't in it.
  """
  first, *others = methods
  metric = first.runs[0].metric
  shown = metric_of(metric)
  nothing = ("", "", "", "")
  rows: list[tuple[str, ...]] = [
    (first.name, str(len(first.runs)), _mean(first.values(), shown), *nothing)
  ]
  notes = []
  for other in others:
    cells = nothing
    obstacle = _obstacle([*first.runs, *other.runs], metric)
    if obstacle:
      notes.append(f"{first.name} and {other.name} weren't tested: {obstacle}.")
    else:
      found = difference(first, other)
      low, high = found.interval
      cells = (
        f"{100 * found.value:+z.2f}",
        f"{100 * low:+z.2f} to {100 * high:+z.2f}",
        f"{found.p_value:.3f}" if found.p_value >= 0.001 else "< 0.001",
        found.verdict,
      )
      logger.info("%s against %s: %s points (%s, p %s), %s", first.name, other.name, *cells)
      if not found.varies_by_training:
        notes.append(
          f"{first.name} and {other.name} have one training each: how far another seed would be "
          "isn't in the interval."
        )
    rows.append((other.name, str(len(other.runs)), _mean(other.values(), shown), *cells))
  header = (
    "method",
    "trainings",
    shown.axis,
    f"{first.name} minus it",
    "95 % interval",
    "p",
    f"{first.name} is",
  )
  width = len(header) if others else len(header) - len(nothing)
  return Table(header[:width], [row[:width] for row in rows], file="comparison.csv"), notes


def difference(first: Method, second: Method) -> Difference:
  """Returns how far the first method is above the second, by the predictions of their runs."""
  kept = [[run.predictions for run in method.runs if run.predictions] for method in (first, second)]
  sides = [[each.predictions for each in side] for side in kept]
  labels = kept[0][0].labels
  ordinal = first.runs[0].config.ordinal_labels
  grades = 1 + max(int(each.max()) for each in (labels, *sides[0], *sides[1])) if ordinal else 0
  known = [each.groups for each in (*kept[0], *kept[1]) if each.groups is not None]
  groups = known[0] if known else None
  return compare(sides[0], sides[1], labels, grades=grades, groups=groups)


def _obstacle(runs: Sequence[RunRecord], metric: str) -> str:
  """Returns why the predictions of runs can't be compared; empty where they can."""
  if metric_of(metric).is_loss or metric in LABEL_FREE:
    return "without labels there are no predictions"
  kept = runs[0].predictions
  for run in runs:
    settings = changed_words(
      *(each.measured.compared(OF_MEASURED_IMAGES) for each in (runs[0], run))
    )
    if settings:
      return f"{run.path} was measured with other settings, {'; '.join(settings)}"
    if run.predictions and run.predictions.measured_on not in ("", run.measured.digest):
      return f"{file_name(run.step)} of {run.path} is of another evaluation than its result"
    if run.predictions is None:
      return f"{run.path} has no {file_name(run.step)}; --mode=eval writes it, except with cv_folds"
    if kept and (
      run.predictions.images != kept.images or np.any(run.predictions.labels != kept.labels)
    ):
      return f"{run.path} was measured on other images or labels than {runs[0].path}"
  return ""


def _mean(values: Sequence[float], metric: Metric) -> str:
  """Returns the mean and, of several values, the deviation; empty of none."""
  numbers = [metric.number(value) for value in mean_and_deviation(values)] if values else []
  return " ± ".join(numbers[: len(values)])


def _folder(runs: Sequence[RunRecord]) -> pathlib.Path:
  """Returns a run's folder, or where several are in one, that."""
  path = runs[0].path.resolve()
  return path.parent if len(runs) > 1 else path
