"""Figure of how far a method is above others, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conrec_tf.reporting.figures.plot_style import Picture, chart, series_style

SIZE = (6.4, 4.0)  # inches
APART = 0.12  # between methods with one amount of labels


def differences_by_labels(
  rows: Sequence[Mapping[str, Any]],
  amounts: Mapping[str, str],
  margin: float,
) -> Picture:
  """Draws differences in points, their intervals and the margin, by the amount of labels.

  Args:
    rows: `{amount, against, value, interval}`, shares.
    amounts: words of each amount, in order.
    margin: a share.
  """
  drawn, axes = chart(SIZE)
  names = list(dict.fromkeys(row["against"] for row in rows))
  places = {amount: place for place, amount in enumerate(amounts)}
  for index, name in enumerate(names):
    own = [row for row in rows if row["against"] == name]
    shift = APART * (index - (len(names) - 1) / 2)
    values = 100 * np.array([row["value"] for row in own])
    ends = 100 * np.array([row["interval"] for row in own])
    style = series_style(index) | {"linestyle": ""}
    axes.errorbar(
      [places[row["amount"]] + shift for row in own],
      values,
      np.abs(ends.T - values),
      label=name,
      capsize=2,
      **style,
    )
  axes.axhline(0, color="0.4", linewidth=0.8)
  axes.axhline(100 * margin, color="0.4", linestyle="--", linewidth=1, label="margin")
  axes.set_xticks(list(places.values()), list(amounts.values()), rotation=30, ha="right")
  axes.set(ylabel="points above it")
  axes.legend()
  return Picture(
    drawn,
    "differences",
    "This run above the others",
    "Differences and their intervals; it is worth it where a whole interval lies above the margin.",
    drawing=True,
  )
