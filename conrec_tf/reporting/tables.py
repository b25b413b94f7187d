"""Tables of a report, and a table as HTML's rows, Markdown and CSV."""

import csv
import dataclasses
import io

from conrec_tf.evaluation import metric_names
from conrec_tf.reporting import paper_results
from conrec_tf.reporting.figures.curves import METRIC_WORDS


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    header: names of the columns; the first one holds what a row is about.
    rows: as long as the header; texts.
    keys: the name of the number that a row holds, by row; empty where there is none.
    texts: how many columns, from the first, hold words.
  """

  header: tuple
  rows: list
  keys: tuple = ()
  texts: int = 1

  def markdown(self):
    """As a Markdown table."""
    lines = [self.header, ["---"] + ["---:"] * (len(self.header) - 1), *self.rows]
    return "".join(
      "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )

  def csv(self):
    """As comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
    return text.getvalue()


def results_table(runs, names):
  """All numbers of `result.json`, by run."""
  keys = []
  for run in runs:
    keys += [
      key
      for key, value in run.result.items()
      if key not in keys
      and key != metric_names.GLOBAL_STEP
      and isinstance(value, (int, float))
      and not isinstance(value, bool)
    ]
  rows = [("steps trained", *[str(run.step) for run in runs])]
  rows += [
    (
      metric_names.display_name(key),
      *[
        metric_names.format_value(key, run.result[key]) if key in run.result else "" for run in runs
      ],
    )
    for key in keys
  ]
  return Table(("", *names), rows, (metric_names.GLOBAL_STEP, *keys))


def methods_table(runs, names):
  """The paper's methods against these runs (paper, Tables 1 and 2).

  Returns:
    `Table` of percentages (or of losses, where there are no labels).
  """
  dataset, metric = runs[0].config.dataset, runs[0].metric
  published = paper_results.RESULTS.get(dataset, {})
  methods = [
    name
    for name in paper_results.METHODS
    if name in published or any(run.config.method == name for run in runs)
  ]
  scale, form = (1, ".4f") if metric.endswith("loss") else (100, ".2f")
  unit = METRIC_WORDS.get(metric, "").rpartition("(")[2].removesuffix(")") or "loss"
  header = ["system"]
  if published:
    header.append(
      f"paper, {paper_results.PIXELS[dataset]} px, {paper_results.EPOCHS[dataset]} epochs ({unit})"
    )
  header += [f"best ({unit})", "at step", f"last ({unit})", "at step", "pixels", "filters", "run"]
  rows = []
  for method in methods:
    row = [paper_results.METHODS[method]]
    if published:
      row.append(f"{published[method]:.2f}" if method in published else "")
    mine = [(run, name) for run, name in zip(runs, names) if run.config.method == method]
    for run, _ in mine:
      best = run.result.get(metric.replace("eval/", metric_names.BEST))
      last = run.result.get(metric)
      rows.append(
        (
          *row,
          *[
            "" if value is None else format(scale * value, form) if at is None else str(at)
            for value, at in (
              (best, None),
              (best, run.result.get(metric_names.BEST_STEP, "")),
              (last, None),
              (last, run.step),
            )
          ],
          str(run.config.image_size),
          str(run.config.base_filters),
          run.path.resolve().name,
        )
      )
    if not mine:
      rows.append((*row, *[""] * (len(header) - len(row))))
  return Table(tuple(header), rows)


def class_table(accuracies):
  """Accuracy by class.

  Args:
    accuracies: as of `class_figures.class_accuracies`.
  """
  return Table(
    ("class", "number", "images", "accuracy (%)"),
    [
      (name, str(number), str(images), f"{100 * share:.2f}")
      for number, name, images, share in accuracies
    ],
  )
