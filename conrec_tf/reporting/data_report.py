"""Draws `data/` of a model_dir: a page of what the data holds and the network will see of it."""

import os
import pathlib
import shutil

from conrec_tf.reporting.data_sections import DataFindings
from conrec_tf.reporting.figures.plot_style import rc_style
from conrec_tf.reporting.html_report import ENVIRONMENT, embedded
from conrec_tf.run_dir.run_directory import io_as_usage_error, write_text

FOLDER = "data"


def write_data_report(found: DataFindings) -> pathlib.Path:
  """Writes the page and its figures; returns its `index.html`.

  Raises:
    UsageError: the folder can't be written.
  """
  folder = pathlib.Path(found.config.run_directory, FOLDER)
  temporary = folder.with_name(FOLDER + ".tmp")
  draw = (found.problems, found.counts, found.pixels, found.images, found.look_alikes)
  with io_as_usage_error(folder), rc_style():
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
      sections = [section(temporary) for section in draw]
      page = ENVIRONMENT.get_template("data.html.jinja").render(
        title=found.source.name,
        sections=[part for part in sections if part.pictures or part.table or part.notes],
        highlights=found.highlights(),
        embedded=embedded,
        command=f"python run.py --mode=check_data --dataset={found.config.dataset}",
      )
      write_text(temporary / "index.html", page)
      shutil.rmtree(folder, ignore_errors=True)
      os.replace(temporary, folder)
    finally:
      shutil.rmtree(temporary, ignore_errors=True)
  return folder / "index.html"
