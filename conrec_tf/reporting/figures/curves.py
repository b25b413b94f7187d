"""Figures of numbers over steps and epochs, with several runs in one."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import math
from typing import Any

from matplotlib.axes import Axes
import numpy as np

from conrec_tf.config import Training
from conrec_tf.losses import accuracy_of_equal_projections, loss_of_equal_projections
from conrec_tf.metrics import (
  BEST_STEP,
  DATA_WAIT,
  FEW_SHOTS,
  IMAGES_PER_SECOND,
  LABEL_FRACTIONS,
  METRICS,
  UNTRAINED_STRONGEST,
  UNTRAINED_STRONGEST_READING,
  Metric,
  metric_of,
  untrained_key,
)
from conrec_tf.reporting.figures.plot_style import Picture, chart, series_style
from conrec_tf.reporting.run_record import RunRecord

MOST_ANNOTATED = 3  # runs whose best and last values don't overlap
FEWEST_TO_SMOOTH = 20  # values of a curve


def training_curves(runs: Sequence[RunRecord]) -> list[Picture]:
  """Draws what was logged while training, one figure for each quantity that a run has."""
  pictures = []
  for key, metric in METRICS.items():
    curves = [run.curve(key) for run in runs]
    if not metric.title or not any(steps for steps, _ in curves):
      continue
    drawn, axes = chart()
    for index, ((steps, values), run) in enumerate(zip(curves, runs, strict=True)):
      if not steps:
        continue
      style = series_style(index) | {
        "marker": series_style(index)["marker"] if len(steps) < 3 else None
      }
      scaled = metric.scale * np.array(values)
      if key.startswith("train/") and len(steps) >= FEWEST_TO_SMOOTH:
        axes.plot(steps, scaled, **style | dict(alpha=0.3, linewidth=0.8))
        scaled = smoothed(scaled)
      axes.plot(steps, scaled, label=run.label, **style)
    drawn_runs = [run.config for run, (steps, _) in zip(runs, curves, strict=True) if steps]
    for level in sorted(levels_of_chance(metric, drawn_runs)):
      axes.axhline(metric.scale * level, color="0.4", linestyle=":", linewidth=1)
      axes.annotate(
        "chance",
        (1.0, metric.scale * level),
        (-2, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="0.4",
      )
    axes.set(xlabel="training step", ylabel=metric.axis)
    if key in (IMAGES_PER_SECOND, DATA_WAIT):
      axes.set_ylim(bottom=0)
    _legend(axes, runs)
    text = metric.note.format(loss=runs[0].config.reconstruction_loss)
    pictures.append(Picture(drawn, f"curve_{key.split('/')[-1]}", metric.title, text, drawing=True))
  return pictures


def smoothed(values: np.ndarray) -> np.ndarray:
  """Returns the mean over a window of a twentieth of all values about each; `[N]` to `[N]`."""
  reach = max(1, len(values) // 40)
  sums = np.concatenate([[0.0], np.cumsum(values)])
  positions = np.arange(len(values))
  first, last = np.maximum(positions - reach, 0), np.minimum(positions + reach + 1, len(values))
  return (sums[last] - sums[first]) / (last - first)


def levels_of_chance(metric: Metric, options: Iterable[Training]) -> set[float]:
  """Returns what a number is when no pair of views can be told from others, by runs' options."""
  return {
    metric.chance(
      accuracy_of_equal_projections(each.train_batch_size, each.moco_queue_length),
      loss_of_equal_projections(
        each.contrastive_method, each.train_batch_size, each.moco_queue_length
      ),
    )
    for each in options
    if metric.chance
  }


def accuracy_over_epochs(runs: Sequence[RunRecord]) -> Picture:
  """Draws the number that runs are compared by, over epochs (paper, Figure 5)."""
  metric = runs[0].metric
  label, scale = metric_of(metric).axis, metric_of(metric).scale
  drawn, axes = chart((6.4, 4.0))
  highest = max(run.result.get(metric, 0.0) for run in runs)
  for index, run in enumerate(runs):
    points = {
      step / run.epoch_steps: scale * result[metric]
      for step, result in run.evaluations.items()
      if metric in result
    }
    untrained = run.evaluations.get(0, {}).get(untrained_key(metric))
    start = {} if untrained is None else {0.0: scale * untrained}
    strongest = run.result.get(UNTRAINED_STRONGEST)
    style = series_style(index)
    if strongest is not None:
      axes.axhline(
        scale * strongest, color=style["color"], linestyle=":", linewidth=1, label="_strongest"
      )
    axes.plot([*start, *points], [*start.values(), *points.values()], label=run.label, **style)
    axes.plot([*start], [*start.values()], **style | dict(linestyle="", markerfacecolor="white"))
    if not points:
      continue
    best, last = run.result.get(BEST_STEP, math.nan) / run.epoch_steps, max(points)
    if best in points:
      axes.plot(
        best,
        points[best],
        **style
        | dict(
          marker="*", markersize=15, linestyle="", markeredgecolor="black", markeredgewidth=0.7
        ),
      )
    words: dict[float, str] = {last: "last"} | (
      {best: "best" if best != last else "best and last"} if best in points else {}
    )
    above = run.result.get(metric, 0.0) >= highest  # away from the other runs' lines
    for at, word in words.items() if len(runs) <= MOST_ANNOTATED else ():
      value = f"{points[at]:.1f}" if scale == 100 else f"{points[at]:.4g}"
      axes.annotate(
        f"{word} {value}",
        (at, points[at]),
        (0, 10 if above else -18),
        textcoords="offset points",
        ha="right" if at > last / 2 else "center",
        fontsize=9,
        color=style["color"],
      )
  axes.set(xlabel="epoch", ylabel=label)
  axes.margins(y=0.16)
  _legend(axes, runs)
  text = "Star: the best evaluation. "
  if any(untrained_key(metric) in run.evaluations.get(0, {}) for run in runs):
    text += "Hollow mark: the untrained network, evaluated alike. "
  key = UNTRAINED_STRONGEST_READING
  readings = {run.result[key] for run in runs if key in run.result}
  if readings:
    text += f"Dotted line: it at its strongest ({'; '.join(sorted(readings))}). "
  return Picture(
    drawn,
    "accuracy_over_epochs",
    f"{_opening(label)} over epochs",
    f"{text}Single evaluations fluctuate. After Figure 5 of the paper.",
    drawing=True,
  )


def _opening(axis: str) -> str:
  """Returns an axis' words without the unit, to begin a title with."""
  words = axis.split(" (")[0]
  return words[0].upper() + words[1:]


@dataclasses.dataclass(frozen=True)
class _FewLabels:
  """The words of a curve over the number of labels, and its axis."""

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


def few_labels(kind: str, runs: Sequence[RunRecord]) -> Picture | None:
  """Draws accuracy over the number of labels, of a kind of `FEW_LABELS`; None if not measured."""
  drawing = FEW_LABELS[kind]
  curves = [run.result.get(drawing.key) for run in runs]
  if not any(curves):
    return None
  metric = metric_of(runs[0].metric)
  label = metric.axis
  if kind == "few_shots":  # by another classifier
    what = "quadratic weighted kappa" if runs[0].config.ordinal_labels else "accuracy"
    label = f"{what} of prototypes (%)"
  drawn, axes = chart((6.4, 4.0))
  for index, (rows, run) in enumerate(zip(curves, runs, strict=True)):
    if rows:
      rows = sorted(rows, key=drawing.x)
      axes.errorbar(
        [drawing.x(row) for row in rows],
        [metric.scale * row["mean"] for row in rows],
        [metric.scale * row["std"] for row in rows],
        label=run.label,
        capsize=4,
        **series_style(index),
      )
  axes.set_xscale("log")
  ticks = sorted({drawing.x(row) for rows in curves if rows for row in rows})
  axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
  axes.set_xticks([], minor=True)
  axes.set(xlabel=drawing.x_label, ylabel=label)
  _legend(axes, runs)
  # Of each run the most, as there is one repetition of the whole.
  counts = {max(row["repetitions"] for row in rows) for rows in curves if rows}
  times = " or ".join(map(str, sorted(counts)))
  return Picture(
    drawn,
    kind,
    drawing.title.format(_opening(label)),
    f"Mean and standard deviation over {times} {drawing.caption}",
    drawing=True,
  )


def _legend(axes: Axes, runs: Sequence[RunRecord]) -> None:
  """Names the runs, where there are several."""
  if len(runs) > 1:
    axes.legend()
