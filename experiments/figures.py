"""Figures of what the systems of Table 1 reached, a panel for each dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import pathlib
import statistics
from typing import Any

from matplotlib.axes import Axes

from conrec_tf.evaluation.metric_names import (
  LABEL_FRACTIONS,
  LINEAR_ACCURACY,
  UNTRAINED_STRONGEST,
  standardised,
)
from conrec_tf.reporting.figures.plot_style import Picture, figure, save, series_style
from conrec_tf.reporting.paper_results import METHODS

ACCURACY = standardised(LINEAR_ACCURACY)
NAMES = {
  "rectangle_triangle": "Rectangle-Triangle",
  "circles_square": "Circles-Square",
  "oxford_flowers102": "Oxford Flowers 102",
}
Content = dict[str, Any]  # of a training's file
Trained = Mapping[str, Mapping[str, Sequence[Content]]]  # by dataset, by system
Curves = Callable[[Content], dict[float, float]]  # from a training to {x: accuracy in [0, 1]}


def accuracy_over_labels(trained: Trained, folder: pathlib.Path) -> Picture | None:
  """Draws accuracy over the share of labels (paper, Figure 2); None where it wasn't measured.

  Args:
    trained: trainings by system by dataset.
    folder: where to write `accuracy_over_labels` as PNG and SVG.
  """

  def curve(content: Content) -> dict[float, float]:
    rows = content["result"].get(LABEL_FRACTIONS, [])
    return {100 * row["fraction"]: row["mean"] for row in rows}

  def scale(axes: Axes, places: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)

  return _panels(
    trained,
    curve,
    folder,
    "accuracy_over_labels",
    "share of the training labels (%)",
    scale,
  )


def accuracy_during_training(trained: Trained, folder: pathlib.Path) -> Picture | None:
  """Draws accuracy over the time of training (paper, Figure 5); None where it wasn't measured.

  Args:
    trained: trainings by system by dataset; all of a dataset take the same time.
    folder: where to write `accuracy_during_training` as PNG and SVG.
  """

  def curve(content: Content) -> dict[float, float]:
    last = content["result"]["global_step"]
    rows = [row for row in content["evaluations"] if ACCURACY in row and row["global_step"]]
    several = len(rows) > 1  # or it was measured at the end alone
    return {100 * row["global_step"] / last: row[ACCURACY] for row in rows} if several else {}

  return _panels(
    trained,
    curve,
    folder,
    "accuracy_during_training",
    "share of the time of training (%)",
    lambda axes, places: None,
  )


def _panels(
  trained: Trained,
  curve: Curves,
  folder: pathlib.Path,
  name: str,
  x_label: str,
  scale: Callable[[Axes, Sequence[float]], None],
) -> Picture | None:
  """Draws a panel for each dataset with curves, means and deviations over trainings.

  Args:
    trained: trainings by system by dataset.
    curve: from a training to its values.
    folder, name: where to write, and the files' name.
    x_label: of the horizontal axis.
    scale: sets the horizontal axis of a panel up, given the places at which values are.
  """
  panels = {dataset: list(_curves(found, curve)) for dataset, found in trained.items()}
  panels = {dataset: curves for dataset, curves in panels.items() if curves}
  if not panels:
    return None
  drawn = figure((4.0 * len(panels) + 1.6, 3.6))
  for axes, (dataset, curves) in zip(
    drawn.subplots(1, len(panels), squeeze=False)[0], panels.items()
  ):
    for system, values in curves:
      axes.errorbar(
        sorted(values),
        [100 * statistics.fmean(values[x]) for x in sorted(values)],
        [100 * (statistics.stdev(values[x]) if values[x][1:] else 0.0) for x in sorted(values)],
        label=METHODS[system],
        capsize=3,
        **series_style(list(METHODS).index(system)),
      )
    untrained = [
      content["result"][UNTRAINED_STRONGEST]
      for rows in trained[dataset].values()
      for content in rows
    ]
    axes.axhline(
      100 * statistics.fmean(untrained), color="0.4", linestyle=":", label="untrained, all labels"
    )
    scale(axes, sorted({x for _, values in curves for x in values}))
    axes.set(title=NAMES[dataset], xlabel=x_label)
  drawn.axes[0].set_ylabel("linear accuracy, standardised (%)")
  drawn.legend(*drawn.axes[0].get_legend_handles_labels(), loc="outside right center")
  return save(drawn, folder, name, "", "", drawing=True)


def _curves(
  found: Mapping[str, Sequence[Content]], curve: Curves
) -> Iterator[tuple[str, dict[float, list[float]]]]:
  """Yields `(system, {x: [accuracy of a training]})` of systems that have any."""
  for system, contents in found.items():
    values: dict[float, list[float]] = {}
    for content in contents:
      for x, accuracy in curve(content).items():
        values.setdefault(round(x, 1), []).append(accuracy)
    if values:
      yield system, values
