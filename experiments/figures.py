"""Figures of means and deviations over trainings: panels side by side, curves by name."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from conrec_tf.reporting.figures.plot_style import rc_style, series_style

Curve = dict[float, list[float]]  # what the trainings reached, shares in [0, 1], by x


@dataclasses.dataclass(frozen=True)
class Panel:
  """One part of a figure.

  Attributes:
    title: what it is about.
    curves: by name.
    level: a share that is drawn as a dotted line, that of untrained networks; None: none.
  """

  title: str
  curves: Mapping[str, Curve]
  level: float | None = None


def draw(
  panels: Sequence[Panel],
  path: pathlib.Path,
  x_label: str,
  y_label: str,
  names: Sequence[str],
  logarithmic: bool = False,
) -> bool:
  """Draws those panels that have curves; returns False, and writes nothing, where none has.

  Args:
    panels: from left to right.
    path: where to write, SVG.
    x_label, y_label: of the axes.
    names: of all curves that there could be, so that each has one colour everywhere.
    logarithmic: whether the horizontal axis is, with a tick at each value.
  """
  panels = [panel for panel in panels if any(panel.curves.values())]
  if not panels:
    return False
  with rc_style():
    drawn = Figure((4.0 * len(panels) + 1.8, 3.6))
    for axes, panel in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
      _draw_panel(axes, panel, names)
      if logarithmic:
        places = sorted({x for curve in panel.curves.values() for x in curve})
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_xticks([], minor=True)
      axes.set(title=panel.title, xlabel=x_label)
    drawn.axes[0].set_ylabel(y_label)
    lines = {}
    for axes in drawn.axes:
      lines |= {text: line for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    drawn.legend(lines.values(), lines.keys(), loc="outside right center")
    drawn.savefig(path, metadata={"Date": None})
  return True


def _draw_panel(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
  for name, curve in panel.curves.items():
    if not curve:
      continue
    reached = [curve[x] for x in sorted(curve)]
    axes.errorbar(
      sorted(curve),
      [100 * statistics.fmean(values) for values in reached],
      [100 * (statistics.stdev(values) if len(values) > 1 else 0.0) for values in reached],
      label=name,
      capsize=3,
      **series_style(names.index(name)),
    )
  if panel.level is not None:
    axes.axhline(100 * panel.level, color="0.4", linestyle=":", label="untrained, all labels")
