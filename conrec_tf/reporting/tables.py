"""The tables of a report, as HTML's rows, Markdown and CSV."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from conrec_tf.config import Experiment
from conrec_tf.files import csv_text
from conrec_tf.metrics import (
  BEST_STEP,
  GLOBAL_STEP,
  READINGS,
  UNTRAINED_STRONGEST,
  UNTRAINED_STRONGEST_READING,
  best_key,
  display_name,
  format_interval,
  format_value,
  is_number,
  is_standardised,
  metric_of,
)
from conrec_tf.reporting import paper_results
from conrec_tf.reporting.figures.class_figures import ClassAccuracy
from conrec_tf.reporting.run_record import RunRecord, last_parts


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of texts.

  Attributes:
    header: names of the columns; the first one names the rows.
    rows: as long as the header; texts.
    keys: the name of the number that a row holds, by row; empty where there is none.
    texts: how many columns, from the first, hold words.
    file: name of the CSV file that holds it beside the page; empty: none does.
  """

  header: tuple[str, ...]
  rows: list[tuple[str, ...]]
  keys: tuple[str, ...] = ()
  texts: int = 1
  file: str = ""

  def markdown(self) -> str:
    """Returns the table as a Markdown table."""
    lines: list[Sequence[str]] = [
      self.header,
      ["---"] + ["---:"] * (len(self.header) - 1),
      *self.rows,
    ]
    return "".join(
      "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )

  def csv(self) -> str:
    """Returns the table as comma-separated values."""
    return csv_text([self.header, *self.rows])


def results_table(runs: Sequence[RunRecord]) -> Table:
  """Tabulates all numbers of `result.json`, by run, with their intervals."""
  numbers = [
    key
    for run in runs
    for key, value in run.result.items()
    if is_number(value) and not isinstance(value, bool) and key != GLOBAL_STEP
  ]
  keys = tuple(dict.fromkeys(numbers))
  rows: list[tuple[str, ...]] = [("steps trained", *[str(run.step) for run in runs])]
  rows += [
    (
      display_name(key),
      *[
        format_value(key, run.result[key]) + format_interval(run.result, key)
        if key in run.result
        else ""
        for run in runs
      ],
    )
    for key in keys
  ]
  return Table(("", *[run.label for run in runs]), rows, (GLOBAL_STEP, *keys))


def methods_table(runs: Sequence[RunRecord]) -> Table:
  """Tabulates the paper's methods beside these runs (paper, Tables 1 and 2).

  Numbers are percentages (or losses, where there are no labels); the paper's are there where they
  are of the same measure on the same dataset.
  """
  metric = runs[0].metric
  shown = metric_of(metric)
  unit = "%" if shown.scale == 100 else "loss" if shown.is_loss else "value"
  reading = "standardised, " if is_standardised(metric) else ""
  header = [f"best ({reading}{unit})", "at step", f"last ({reading}{unit})", "at step"]
  header += ["pixels", "filters", "run"]
  data = runs[0].config
  paper = paper_results.RESULTS.get(data.dataset)
  if paper and (data.eval_dataset not in ("", data.dataset) or not paper.is_measured_by(metric)):
    paper = None
  published = paper.numbers if paper else {}
  of_paper = [f"paper, {paper.pixels} px, {paper.epochs} epochs ({unit})"] if paper else []
  trained = {run.config.method for run in runs}
  methods = [name for name in paper_results.METHODS if name in published or name in trained]
  rows: list[tuple[str, ...]] = []
  folders = last_parts([run.path.resolve() for run in runs])
  for method in [*methods, *sorted(trained - set(paper_results.METHODS))]:
    number = [f"{published[method]:.2f}" if method in published else ""] * len(of_paper)
    if method not in trained:
      rows.append((paper_results.METHODS[method], *number, *[""] * len(header)))
    for run, folder in zip(runs, folders, strict=True):
      if run.config.method != method:
        continue
      best, last = run.result.get(best_key(metric)), run.result.get(metric)
      settings = (
        _pixels(run.config),
        str(run.config.base_filters) if run.config.encoder == "unet" else "",
        folder,
      )
      rows.append(
        (
          *(run.name, *number),
          *(("", "") if best is None else (shown.number(best), str(run.result.get(BEST_STEP, "")))),
          *(("", "") if last is None else (shown.number(last), str(run.step))),
          *settings,
        )
      )
      strongest = run.result.get(UNTRAINED_STRONGEST)
      if strongest is not None:
        words = f"{run.name}, untrained ({run.result[UNTRAINED_STRONGEST_READING]})"
        value = shown.number(strongest)
        rows.append((words, *[""] * len(number), "", "", value, "0", *settings))
  return Table(("system", *of_paper, *header), rows)


def _pixels(options: Experiment) -> str:
  """Returns the size that a network is trained at, and where it is another, that it is read at."""
  if options.evaluation_size == options.image_size:
    return str(options.image_size)
  return f"{options.image_size}, evaluated at {options.evaluation_size}"


def class_table(accuracies: Sequence[ClassAccuracy]) -> Table:
  """Tabulates accuracy by class."""
  return Table(
    ("class", "number", "images", "accuracy (%)"),
    [
      (name, str(number), str(images), f"{100 * share:.2f}")
      for number, name, images, share in accuracies
    ],
    file="class_accuracy.csv",
  )


def representations_table(rows: Sequence[dict[str, Any]]) -> Table:
  """Tabulates a sweep over representations in per cent, the best on held-out labels first."""
  ranked = sorted(rows, key=lambda row: -row["validation"])
  return Table(
    ("representation", "reading", "dimensions", "C", "held-out labels", "evaluation split", ""),
    [
      (
        row["representation"],
        READINGS[row["standardised"]],
        str(row["dimensions"]),
        f"{row['strength']:g}",
        f"{100 * row['validation']:.2f}",
        f"{100 * row['test']:.2f}",
        "chosen" if row["chosen"] else "",
      )
      for row in ranked
    ],
    texts=2,
    file="representations.csv",
  )


def labels_table(rows: Sequence[dict[str, Any]]) -> Table:
  """Tabulates measures of each of several labels, in per cent; what isn't defined is empty."""
  names = ("auroc", "average_precision", "f1")
  return Table(
    ("label", "images that have it", *(name.replace("_", " ") for name in names)),
    [
      (
        row["label"],
        str(row["positive"]),
        *(f"{100 * row[name]:.2f}" if name in row else "" for name in names),
      )
      for row in rows
    ],
    file="labels.csv",
  )
