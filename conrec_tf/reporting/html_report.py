"""The page of a report: a single file that needs no network and no JavaScript."""

import base64
from collections.abc import Callable, Sequence
import dataclasses
import shlex
from typing import Any

import jinja2

from conrec_tf.config.options.option import meaning, written
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.metrics import (
  EVAL_TOTAL_LOSS,
  METRICS,
  UNTRAINED_STRONGEST,
  best_key,
  display_name,
  format_interval,
  format_value,
  standardised_key,
  untrained_key,
)
from conrec_tf.reporting.figures.plot_style import Picture
from conrec_tf.reporting.run_record import RunRecord, differences
from conrec_tf.reporting.tables import Table
from conrec_tf.training.progress import duration

ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader("conrec_tf.reporting", ""),
  autoescape=True,
  trim_blocks=True,
  lstrip_blocks=True,
  undefined=jinja2.StrictUndefined,
)
TILES = (
  *(
    tile
    for metric in METRICS.values()
    if metric.has_tile
    for name in (standardised_key(metric.key), metric.key)
    for tile in ((name, "last"), (best_key(name), "best"))
  ),
  (UNTRAINED_STRONGEST, "of all its evaluations"),
  (untrained_key(EVAL_TOTAL_LOSS), "step 0"),
)


@dataclasses.dataclass
class Section:
  """A part of the page.

  Attributes:
    title: its heading.
    pictures: its figures.
    notes: what is missing, or must be known.
    small: whether figures may stand three in a row.
    table, details: tables beside and below the figures, or None, with their titles.
  """

  title: str
  pictures: list[Picture] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  small: bool = False
  table: Table | None = None
  table_title: str = ""
  details: Table | None = None
  details_title: str = ""


def render(
  runs: Sequence[RunRecord],
  sections: Sequence[Section],
  results: Table,
  methods: Table,
) -> str:
  """Returns the text of `index.html`.

  Args:
    runs: the first is the one that the page describes.
    results, methods: tables of all numbers, and of the paper's systems.
  """
  run = runs[0]
  return ENVIRONMENT.get_template("report.html.jinja").render(
    run=run,
    title=f"{run.name} on {run.config.dataset}",
    names=[run.label for run in runs],
    sections=sections,
    highlights=_highlights(run),
    embedded=embedded,
    origin=_origin(run),
    times=_times(runs),
    changed=_settings(run, lambda value, default: value != default),
    defaults=_settings(run, lambda value, default: value == default),
    differences=differences(run, runs[1:]),
    results=results,
    methods=methods,
  )


def _highlights(run: RunRecord) -> list[tuple[str, str, str]]:
  """Returns the numbers at the top of the page: `[(words, number as text, key)]`."""
  return [
    (
      f"{display_name(name.replace('best_', ''))}, {which}" + format_interval(run.result, name),
      format_value(name, run.result[name]),
      name,
    )
    for name, which in TILES
    if name in run.result
  ]


def embedded(picture: Picture) -> str:
  """Returns a figure as a data URI: lines as SVG, images as PNG."""
  path, kind = (picture.svg, "svg+xml") if picture.drawing else (picture.png, "png")
  return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _origin(run: RunRecord) -> list[tuple[str, str]]:
  """Returns commands, machines and versions of a run: `[(name, text)]`."""
  path = shlex.quote(str(run.path))
  rows = [
    ("run", str(run.path)),
    ("seed", str(run.config.seed)),
    ("the same again", f"python run.py --flagfile={path}/flags.cfg --model_dir=<new folder>"),
    ("this page again", f"python run.py --mode=report --model_dir={path}"),
  ]
  for process in run.processes:
    rows += [
      (f"trained from step {process['step']}", process["started"]),
      *process["machine"].items(),
      ("versions", ", ".join(f"{name} {version}" for name, version in process["versions"].items())),
    ]
  if not run.processes:
    rows += [("machine and versions", "not noted by this run")]
  return rows


def _times(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
  """Returns time by part, by run: `[(part, [text])]`."""
  times = [run.times() for run in runs]
  titles = {"data": "waiting for data", "step": "training steps", "evaluation": "evaluations"}
  total = [max(sum(time.values()), 1e-9) for time in times]
  rows = [
    (
      title,
      [
        f"{duration(time[part])} ({time[part] / whole:.0%})" if part in time else "not noted"
        for time, whole in zip(times, total, strict=True)
      ],
    )
    for part, title in titles.items()
  ]
  return [*rows, ("together", [duration(sum(time.values())) for time in times])]


def _settings(run: RunRecord, wanted: Callable[[Any, Any], bool]) -> list[tuple[str, Any, str]]:
  """Returns settings of a run: `[(name, value, explanation)]`."""
  return [
    (name, value, meaning(OPTIONS[name], value))
    for name, value in run.config.settings.items()
    if name != "model_dir" and wanted(value, written(OPTIONS[name].default))
  ]
