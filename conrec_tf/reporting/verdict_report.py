"""The page of a verdict: its sentence, what each method reaches, differences with intervals."""

from collections.abc import Mapping
import pathlib
from typing import Any

from conrec_tf.evaluation.verdict import SUPERVISED
from conrec_tf.metrics import GLOBAL_STEP, READINGS, metric_of
from conrec_tf.reporting.figures.difference_figures import differences_by_labels
from conrec_tf.reporting.html_report import PAGE, Section, page_folder, write_page
from conrec_tf.reporting.run_record import RunRecord
from conrec_tf.reporting.tables import Table
from conrec_tf.run_dir.measurement import Measurement
from conrec_tf.run_dir.run_directory import VERDICT, VERDICT_FILE, RunDirectory

FOLDER = "page"
TITLE = "Was it worth it?"


def read_verdict(run: pathlib.Path) -> dict[str, Any] | None:
  """Returns the verdict on a run, or on the seeds that it is one of; None where there is none."""
  for folder in (run, run.parent):
    result = RunDirectory(folder / VERDICT).read(VERDICT_FILE)
    networks = result["methods"][0]["networks"] if result else ()
    if run.name in (pathlib.PurePath(path).name for path in networks):
      return result
  return None


def verdict_section(result: Mapping[str, Any], run: RunRecord) -> Section:
  """Returns the part of a run's report that tells its verdict, and where that is of another state.

  Args:
    result: what `verdict.json` holds.
    run: as it is now.
  """
  changed = run.measured.other_images(Measurement.of_result(result))
  if result.get(GLOBAL_STEP, run.step) != run.step:
    changed.append(f"step {run.step} -> {result[GLOBAL_STEP]}")
  notes = [result["sentence"]]
  if changed:
    notes.append(
      f"This verdict is of another state than the numbers of this page ({'; '.join(changed)}); "
      "--mode=verdict decides anew."
    )
  return Section(TITLE, notes=notes, table=reached_table(result), table_title="Linear evaluation")


def write_verdict_page(parent: pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
  """Writes the page and its figure; returns its `index.html`.

  Args:
    parent: folder of the verdict.
    result: what `verdict.json` holds.

  Raises:
    UsageError: the folder can't be written.
  """
  folder = parent / FOLDER
  with page_folder(folder) as temporary:
    picture = differences_by_labels(result["differences"], _words(result), result["margin"])
    sections = [
      Section("Differences", [picture], _notes(result), table=differences_table(result)),
      Section("What each reaches", table=reached_table(result)),
      Section("How networks were read", table=readings_table(result)),
    ]
    write_page(temporary, "verdict.html.jinja", sections, title=TITLE, result=result)
  return folder / PAGE


def differences_table(result: Mapping[str, Any]) -> Table:
  """Tabulates how far the run is above each other method, with each amount of labels."""
  words = _words(result)
  return Table(
    ("labels", "against", "points above it", "interval", "verdict", "images that would decide"),
    [
      (
        words[row["amount"]],
        row["against"],
        f"{100 * row['value']:+z.2f}",
        "{:+z.2f} to {:+z.2f}".format(*(100 * end for end in row["interval"])),
        row["answer"],
        f"{row['images_to_decide']:,}" if row["images_to_decide"] else "",
      )
      for row in result["differences"]
    ],
    texts=2,
    file="differences.csv",
  )


def reached_table(result: Mapping[str, Any]) -> Table:
  """Tabulates what each method reaches, by the amount of labels."""
  methods = result["methods"]
  rows = []
  for amount in result["amounts"]:
    cells = []
    for method in methods:
      reached = method["reached"].get(amount["amount"])
      spread = f" ± {100 * reached['std']:.2f}" if reached and reached["classifiers"] > 1 else ""
      cells.append(f"{100 * reached['mean']:.2f}{spread}" if reached else "")
    rows.append((f"{amount['words']} ({amount['labels']:,})", *cells, amount["answer"]))
  axis = metric_of(result["metric"]).axis
  return Table((axis, *(method["name"] for method in methods), "verdict"), rows)


def readings_table(result: Mapping[str, Any]) -> Table:
  """Tabulates what was chosen for each network on held-out training labels."""
  return Table(
    ("method", "representation", "reading", "dimensions", "C", "held-out labels (%)"),
    [
      (
        method["name"],
        chosen["representation"],
        READINGS[chosen["standardised"]],
        str(chosen["dimensions"]),
        f"{chosen['strength']:g}",
        f"{100 * chosen['validation']:.2f}",
      )
      for method in result["methods"]
      for chosen in method["chosen_on_held_out_labels"]
    ],
    texts=3,
  )


def _words(result: Mapping[str, Any]) -> dict[str, str]:
  return {amount["amount"]: amount["words"] for amount in result["amounts"]}


def _notes(result: Mapping[str, Any]) -> list[str]:
  """Returns what must be known of the intervals."""
  notes = []
  if result["comparisons"] > 1:
    notes.append(
      f"Intervals are so wide that the {result['comparisons']} comparisons with one amount of "
      "labels all hold in 95 of 100 cases."
    )
  if any(method["name"] == SUPERVISED for method in result["methods"]):
    notes.append(
      "Supervised training from scratch learnt from one subset of each share of the labels; only "
      "with that one it is compared."
    )
  ours, *others = result["methods"]
  single = [method["name"] for method in others if method["trainings"] < 2]
  if ours["trainings"] == 1 and single:
    where = "" if len(single) == len(others) else f" against {', '.join(single)}"
    notes.append(f"With one training, how far another seed would be isn't in the intervals{where}.")
  return notes
