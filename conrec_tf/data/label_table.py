"""Labels, splits and groups of images from a CSV file."""

from collections.abc import Sequence
import csv
import dataclasses
import logging
import os

from conrec_tf.config import UsageError
from conrec_tf.data.folder_walk import base_name
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
  places = _places(names)
  missing = []
  for number, given in _lines(path, columns):
    label, split, group = (label_text(given.get(column) or "") for column in COLUMNS[1:])
    row = Row(label, split, group, _marks(given, columns, f"line {number} of {path}"))
    name = places.get(given["image"] or "")
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
  texts = [(given[column.lower()] or "").strip() for column in columns]
  for column, text in zip(columns, texts):
    if text not in MARKS:
      raise UsageError(
        f"label_table must say 0 or 1 of each label. Received: '{text}' for {column}, {where}"
      )
  return tuple(MARKS[text] for text in texts)


def _lines(path: str, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
  """Returns the numbers of lines and what stands in them, by column."""
  try:
    with open(os.path.expanduser(path), encoding="utf-8-sig", newline="") as file:
      reader = csv.DictReader(file)
      found = [name.strip().lower() for name in reader.fieldnames or ()]
      reader.fieldnames = found
      needed = ["image", *(columns or ["label"])]
      if not {name.lower() for name in needed} <= set(found):
        raise UsageError(
          f"label_table must have the columns {', '.join(needed)}, perhaps split and group. "
          f"Received: {', '.join(found) or 'nothing'} in {path}"
        )
      return [(reader.line_num, row) for row in reader]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UsageError(
      f"label_table must be a CSV file in UTF-8 ({error}). Received: {path}"
    ) from error


def _places(names: Sequence[str]) -> dict[str, str]:
  """Returns `{how a table may name a file: the file}`, without what several files are called."""
  whole = {name: name for name in names}
  for shorten in (base_name, lambda name: os.path.splitext(base_name(name))[0]):
    found: dict[str, list[str]] = {}
    for name in names:
      found.setdefault(shorten(name), []).append(name)
    whole = {short: files[0] for short, files in found.items() if len(files) == 1} | whole
  return whole
