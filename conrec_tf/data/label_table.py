"""Labels, splits and groups of images from a CSV file."""

from collections.abc import Sequence
import dataclasses
import logging

from conrec_tf.config import UsageError
from conrec_tf.data.csv_table import files_by_name, read_lines
from conrec_tf.data.labels import label_text

logger = logging.getLogger(__name__)

COLUMNS = ("image", "label", "split", "group")
MARKS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


@dataclasses.dataclass(frozen=True)
class Row:
  """What the table says of an image; texts are empty where there is no such column."""

  label: str
  split: str
  group: str
  marks: tuple[int, ...] = ()  # of several labels, 0 or 1


def read_label_table(
  path: str, names: Sequence[str], columns: Sequence[str] = ()
) -> dict[str, Row]:
  """Reads `image,label` and perhaps `split` and `group` of image files.

  An image is named by its path below the folder, by its base name, or by that without ending,
  where just one file has it. Other columns are left alone.

  Args:
    path: of the CSV file, UTF-8.
    names: of the files, below the folder.
    columns: of several labels, 0 or 1 each, in place of `label`; empty where there is one.

  Returns:
    `{name: row}` of the files that the table names; the others are no part of the dataset.

  Raises:
    UsageError: the file can't be read, lacks a column or a value, names no file of the folder,
      gives an image two labels, or something else than 0 or 1 in a column of several.
  """
  rows: dict[str, Row] = {}
  places = files_by_name(names)
  missing = []
  needed = ["image", *(columns or ["label"])]
  for number, given in read_lines("label_table", path, needed, ("split", "group")):
    label, split, group = (label_text(given.get(column, "")) for column in COLUMNS[1:])
    row = Row(label, split, group, _marks(given, columns, f"line {number} of {path}"))
    name = places.get(given["image"])
    if not (row.label or columns) or not given["image"]:
      raise UsageError(
        f"label_table must give each image a label. Received: line {number} of {path}"
      )
    if name is None:
      missing.append(given["image"])
    elif name in rows and rows[name] != row:
      raise UsageError(
        "label_table must give an image one label, split and group. Received: "
        f"{_said(rows[name])} and {_said(row)} for {given['image']}, line {number} of {path}"
      )
    else:
      rows[name] = row
  if not rows:
    raise UsageError(
      f"label_table must name files of data_dir. Received: {path}, of whose {len(missing)} images "
      f"none is there" + (f", e.g. {missing[0]}" if missing else "")
    )
  if missing:
    logger.warning("Lost: %d images of %s aren't there, e.g. %s", len(missing), path, missing[0])
  if len(rows) < len(names):
    left = next(name for name in names if name not in rows)
    logger.warning(
      "Lost: %d of %d images aren't in %s, e.g. %s", len(names) - len(rows), len(names), path, left
    )
  return rows


def _said(row: Row) -> str:
  return row.label or " ".join(map(str, row.marks))


def _marks(given: dict[str, str], columns: Sequence[str], where: str) -> tuple[int, ...]:
  """Returns a line's values of several labels, 0 or 1."""
  texts = [given[column.lower()] for column in columns]
  for column, text in zip(columns, texts):
    if text not in MARKS:
      raise UsageError(
        f"label_table must say 0 or 1 of each label. Received: '{text}' for {column}, {where}"
      )
  return tuple(MARKS[text] for text in texts)
