"""The page of a report: a single file that needs no network and no JavaScript."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import dataclasses
import functools
import pathlib
import shlex
from typing import Any

import jinja2

from conrec_tf.config.options.option import meaning, written
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.files import io_as_usage_error, make_output_folder, replacing, write_text
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
from conrec_tf.reporting.figures.plot_style import Picture, rc_style
from conrec_tf.reporting.run_record import RunRecord, differences
from conrec_tf.reporting.tables import Table
from conrec_tf.training.progress import duration

PAGE = "index.html"
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

  def save(self, folder: pathlib.Path) -> None:
    """Writes its figures, and its tables that have files."""
    for picture in self.pictures:
      picture.save(folder)
    for table in (self.table, self.details):
      if table and table.file:
        write_text(folder / table.file, table.csv())


@contextlib.contextmanager
def page_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder for a page, which then takes the place of `folder`; figures have a style.

  Raises:
    UsageError: the folder can't be written.
  """
  make_output_folder(folder.parent)
  with replacing(folder, PAGE) as temporary, io_as_usage_error(folder.parent), rc_style():
    temporary.mkdir()
    yield temporary


def write_page(
  folder: pathlib.Path, template: str, sections: Iterable[Section], **values: Any
) -> None:
  """Writes `index.html` by a template with values, and what belongs to its sections."""
  kept = []
  for section in sections:
    section.save(folder)
    kept.append(section)
  text = ENVIRONMENT.get_template(template).render(
    sections=kept, embedded=functools.partial(embedded, folder), **values
  )
  write_text(folder / PAGE, text)


def write_report_page(
  folder: pathlib.Path,
  runs: Sequence[RunRecord],
  sections: Iterable[Section],
  results: Table,
  methods: Table,
) -> None:
  """Writes the page of a run.

  Args:
    runs: the first is the one that the page describes.
    results, methods: tables of all numbers, and of the paper's systems.
  """
  run = runs[0]
  write_page(
    folder,
    "report.html.jinja",
    sections,
    run=run,
    title=f"{run.name} on {run.config.dataset}",
    names=[run.label for run in runs],
    highlights=_highlights(run),
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


def embedded(folder: pathlib.Path, picture: Picture) -> str:
  """Returns a figure that is saved in a folder as a data URI: lines as SVG, images as PNG."""
  ending, kind = ("svg", "svg+xml") if picture.drawing else ("png", "png")
  content = (folder / f"{picture.name}.{ending}").read_bytes()
  return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


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
