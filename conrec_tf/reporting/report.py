"""Draws `report/` of a finished run: one page, its figures, its tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import logging
import os
import pathlib

from tqdm import tqdm

from conrec_tf.data.dataset import DatasetSource
from conrec_tf.files import write_text
from conrec_tf.reporting import tables
from conrec_tf.reporting.context import Inspector, ReportContext
from conrec_tf.reporting.figures.plot_style import undrawable
from conrec_tf.reporting.html_report import PAGE, Section, page_folder, write_report_page
from conrec_tf.reporting.run_record import (
  RunRecord,
  last_parts,
  read_other_runs,
  read_run_record,
  told_apart,
)
from conrec_tf.reporting.sections import DrawSection

logger = logging.getLogger(__name__)

FOLDER = "report"
CHARACTERS_SHOWN = 20
LEARNT_FROM = ("dataset", "train_split", "train_label_fraction", "cv_fold")


def write_report(
  run_directory: str | os.PathLike,
  compare_with: Sequence[str],
  source: DatasetSource,
  inspect: Callable[[int], Inspector],
  sections: Mapping[str, DrawSection],
  parent: pathlib.Path | None = None,
) -> pathlib.Path:
  """Draws the report of a run; returns its `index.html`.

  Args:
    compare_with: folders of other runs.
    source: dataset that it learnt from.
    inspect: returns its network as of a step, or with the best weights where those are gone.
    sections: draw the page, by name and in its order.
    parent: where the report's folder is to be; None: the run's.

  Raises:
    UsageError: there is no evaluated run or no checkpoint, `compare_with` names something else,
      or the folder can't be written.
  """
  run = read_run_record(run_directory)
  runs = [run, *read_other_runs(compare_with, run)]
  _warn_of_differences(runs)
  folder = (parent or run.path) / FOLDER
  logger.info("Drawing the report of step %d", run.step)
  network = inspect(run.step)
  missing = undrawable(network.eval_source.class_names)
  if missing:
    logger.warning(
      "No font here has %s of the labels; figures show boxes. Noto fonts have most scripts",
      missing[:CHARACTERS_SHOWN],
    )
  context = ReportContext(_compared(runs, source), network)
  results, methods = tables.results_table(context.runs), tables.methods_table(context.runs)
  with page_folder(folder) as temporary:
    write_report_page(temporary, context.runs, _drawn(context, sections), results, methods)
    for name, text in {
      "results.csv": results.csv(),
      "methods.csv": methods.csv(),
      "methods.md": methods.markdown(),
    }.items():
      write_text(temporary / name, text)
  logger.info("Report in %s", folder / PAGE)
  return folder / PAGE


def _drawn(context: ReportContext, draws: Mapping[str, DrawSection]) -> Iterator[Section]:
  """Yields the sections that the run has, with progress."""
  quiet = None if logger.isEnabledFor(logging.INFO) else True  # None: a bar in terminals only
  with tqdm(draws.items(), disable=quiet, leave=False, dynamic_ncols=True, unit="part") as bar:
    for name, draw in bar:
      bar.set_description(f"Drawing {name}")
      if section := draw(context):
        yield section


def _compared(runs: Sequence[RunRecord], source: DatasetSource) -> list[RunRecord]:
  """Returns runs with their labels, and steps of an epoch of the images that each learnt from."""
  first = dataclasses.replace(runs[0], train_images=source.train.num_examples)
  folders = last_parts([run.path.resolve() for run in runs])
  labels = told_apart([run.name for run in runs], folders)
  return [
    dataclasses.replace(
      run,
      label=label,
      epoch_steps=_epoch_steps(run, first),
    )
    for run, label in zip([first, *runs[1:]], labels, strict=True)
  ]


def _epoch_steps(run: RunRecord, first: RunRecord) -> int:
  """Returns the steps of an epoch of a run.

  Of one that didn't note its images they are told from its epochs, or are those of the first run
  where the options say the same images, or nothing better is known.
  """
  options, images = run.config, run.train_images
  is_alike = all(getattr(options, name) == getattr(first.config, name) for name in LEARNT_FROM)
  if not (images or is_alike or options.train_steps):
    return max(1, run.step // options.train_epochs)
  return max(1, (images or first.train_images) // options.train_batch_size)


def _warn_of_differences(runs: Sequence[RunRecord]) -> None:
  """Warns of what makes runs hard to compare."""
  for other in runs[1:]:
    for name in ("eval_split", "image_channels", "image_size", "eval_image_size", "eval_crops"):
      values = [getattr(record.config, name) for record in (runs[0], other)]
      if values[0] != values[1]:
        logger.warning(
          "%s has %s=%s, this run %s: mind that when comparing",
          other.path,
          name,
          values[1],
          values[0],
        )
