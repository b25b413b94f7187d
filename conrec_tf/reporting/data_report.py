"""Draws `data/` of a model_dir: a page of what the data holds and the network will see of it."""

import pathlib

from conrec_tf.files import io_as_usage_error, make_output_folder, replacing, write_text
from conrec_tf.reporting.data_sections import DataFindings
from conrec_tf.reporting.figures.plot_style import rc_style
from conrec_tf.reporting.html_report import ENVIRONMENT, embedded

FOLDER, PAGE = "data", "index.html"


def write_data_report(found: DataFindings) -> pathlib.Path:
  """Writes the page and its figures; returns its `index.html`.

  Raises:
    UsageError: the folder can't be written.
  """
  folder = pathlib.Path(found.config.run_directory, FOLDER)
  draw = (found.problems, found.counts, found.pixels, found.images, found.look_alikes)
  make_output_folder(folder.parent)
  with replacing(folder, PAGE) as temporary, io_as_usage_error(folder), rc_style():
    temporary.mkdir()
    sections = [section(temporary) for section in draw]
    page = ENVIRONMENT.get_template("data.html.jinja").render(
      title=found.source.name,
      sections=[part for part in sections if part.pictures or part.table or part.notes],
      highlights=found.highlights(),
      embedded=embedded,
      command=f"python run.py --mode=check_data --dataset={found.config.dataset}",
    )
    write_text(temporary / PAGE, page)
  return folder / PAGE
