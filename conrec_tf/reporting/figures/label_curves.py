"""Figures of accuracy over the number of labels, with several runs in one."""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import Any

from conrec_tf.metrics import FEW_SHOTS, LABEL_FRACTIONS, metric_of
from conrec_tf.reporting.figures.curves import legend
from conrec_tf.reporting.figures.plot_style import Picture, figure, save, series_style
from conrec_tf.reporting.run_record import RunRecord


@dataclasses.dataclass(frozen=True)
class _FewLabels:
  """How a curve over the number of labels is drawn."""

  key: str
  x: Callable[[dict[str, Any]], float]
  x_label: str
  title: str
  caption: str


FEW_LABELS = {
  "label_fractions": _FewLabels(
    LABEL_FRACTIONS,
    lambda row: 100 * row["fraction"],
    "share of the training labels (%)",
    "{} over labels",
    "random subsets; the whole is measured once. After Figure 2 of the paper.",
  ),
  "few_shots": _FewLabels(
    FEW_SHOTS,
    lambda row: row["images"],
    "images of each class",
    "Prototypes of a few images",
    "random draws of a few images of each class; the nearest class mean is the prediction.",
  ),
}


def few_labels(
  kind: str, runs: Sequence[RunRecord], names: Sequence[str], folder: pathlib.Path
) -> Picture | None:
  """Draws accuracy over the number of labels; None if it wasn't measured.

  Args:
    kind: one of `FEW_LABELS`; the figure's name.
    runs, names: what is drawn.
    folder: where to write.
  """
  drawing = FEW_LABELS[kind]
  curves = [run.result.get(drawing.key) for run in runs]
  if not any(curves):
    return None
  metric = metric_of(runs[0].metric)
  label = metric.axis
  if kind == "few_shots":  # by another classifier
    what = "quadratic weighted kappa" if runs[0].config.ordinal_labels else "accuracy"
    label = f"{what} of prototypes (%)"
  drawn = figure((6.4, 4.0))
  axes = drawn.subplots()
  for index, (rows, name) in enumerate(zip(curves, names, strict=True)):
    if rows:
      rows = sorted(rows, key=drawing.x)
      axes.errorbar(
        [drawing.x(row) for row in rows],
        [metric.scale * row["mean"] for row in rows],
        [metric.scale * row["std"] for row in rows],
        label=name,
        capsize=4,
        **series_style(index),
      )
  axes.set_xscale("log")
  ticks = sorted({drawing.x(row) for rows in curves if rows for row in rows})
  axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
  axes.set_xticks([], minor=True)
  axes.set(xlabel=drawing.x_label, ylabel=label)
  legend(axes, names)
  counts = [row["repetitions"] for rows in curves if rows for row in rows]
  return save(
    drawn,
    folder,
    kind,
    drawing.title.format(label.split(" (")[0].capitalize()),
    f"Mean and standard deviation over {max(counts)} {drawing.caption}",
    drawing=True,
  )
