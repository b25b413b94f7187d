"""A part of a page: its heading, figures, notes and tables."""

import dataclasses

from conrec_tf.reporting.figures.plot_style import Picture
from conrec_tf.reporting.tables import Table


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
