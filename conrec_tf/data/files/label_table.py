"""Tables of images in CSV files, line by line: labels, splits and groups of a label table."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
import csv
import dataclasses
import logging
import os

from conrec_tf.data.files.labels import label_text
from conrec_tf.data.files.walk import base_name, without_ending
from conrec_tf.errors import UsageError, as_usage_error

logger = logging.getLogger(__name__)

Line = tuple[int, dict[str, str]]  # its number, and the text of each column
COLUMNS = ("image", "label", "split", "group")
SEVERAL = ", or several files are called so"
ZERO_OR_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


@dataclasses.dataclass(frozen=True)
class Row:
  """Row of an image in a table; texts are empty where there is no such column."""

  label: str
  split: str
  group: str
  multi_hot: tuple[int, ...] = ()  # of several labels, 0 or 1


def read_label_table(
  path: str, names: Sequence[str], columns: Sequence[str] = ()
) -> dict[str, Row]:
  """Reads `image,label` and perhaps `split` and `group` of image files from a CSV file in UTF-8.

  An image is named by its path below the folder, by its base name, or by that without ending,
  where just one file has it. Other columns are left alone.

  Args:
    names: of the files, below the folder.
    columns: of several labels, 0 or 1 each, in place of `label`; empty where there is one.

  Returns:
    `{name: row}` of the files that the table names; the others are no part of the dataset.

  Raises:
    UsageError: the file can't be read, lacks a column or a value, names no file of the folder,
      gives an image two labels, or something else than 0 or 1 in a column of several.
  """
  rows: dict[str, Row] = {}
  needed = ["image", *(columns or ["label"])]
  lines = read_lines("label_table", path, needed, ("split", "group"))
  missing = add_rows(rows, "label_table", path, lines, files_by_name(names), "image", columns)
  say_lost(rows, "label_table", missing, names, path)
  return rows


def add_rows(
  rows: dict[str, Row],
  option: str,
  path: str,
  lines: Iterable[Line],
  name_of: Mapping[str, str],
  key: str,
  columns: Sequence[str],
) -> list[str]:
  """Adds the lines of a table to `{name: row}`, and returns the images that aren't there.

  Args:
    option: that the table is of, for messages.
    name_of: `{how the table names an image: name}`.
    columns: see `read_label_table`, as of what is raised.
  """
  missing = []
  for number, given in lines:
    label, split, group = (label_text(given.get(column, "")) for column in COLUMNS[1:])
    where = f"line {number} of {path}"
    row = Row(label, split, group, _multi_hot(option, given, columns, where))
    name = name_of.get(given[key])
    if not (row.label or columns) or not given[key]:
      raise UsageError(f"{option} must give each image a label. Received: {where}")
    if name is None:
      missing.append(given[key])
    elif name in rows and rows[name] != row:
      raise UsageError(
        f"{option} must give an image one label, split and group. Received: "
        f"{_said(rows[name])} and {_said(row)} for {given[key]}, {where}"
      )
    else:
      rows[name] = row
  return missing


def say_lost(
  rows: Mapping[str, Row], option: str, missing: Sequence[str], names: Sequence[str], path: str
) -> None:
  """Warns of rows without an image, and of images without a row; see `add_rows`.

  Raises:
    UsageError: no row has an image.
  """
  if not rows:
    raise UsageError(
      f"{option} must name files of data_dir. Received: {path}, of whose {len(missing)} images "
      f"none is there{SEVERAL}" + (f", e.g. {missing[0]}" if missing else "")
    )
  if missing:
    logger.warning(
      "Lost: %d images of %s aren't there%s, e.g. %s", len(missing), path, SEVERAL, missing[0]
    )
  if len(rows) < len(names):
    left = next(name for name in names if name not in rows)
    logger.warning(
      "Lost: %d of %d images aren't in %s, e.g. %s", len(names) - len(rows), len(names), path, left
    )


def _said(row: Row) -> str:
  return row.label or " ".join(map(str, row.multi_hot))


def _multi_hot(
  option: str, given: dict[str, str], columns: Sequence[str], where: str
) -> tuple[int, ...]:
  """Returns a line's values of several labels, 0 or 1."""
  texts = [given[column.lower()] for column in columns]
  for column, text in zip(columns, texts, strict=True):
    if text not in ZERO_OR_ONE:
      raise UsageError(
        f"{option} must say 0 or 1 of each label. Received: '{text}' for {column}, {where}"
      )
  return tuple(ZERO_OR_ONE[text] for text in texts)


def read_lines(
  option: str, path: str, columns: Sequence[str], perhaps: Sequence[str] = ()
) -> list[Line]:
  """Reads the lines of a CSV file in UTF-8.

  Args:
    option: whose file it is, for messages.
    columns: that it must have, in any case.
    perhaps: that it may have, which are read as well.

  Returns:
    Of each line its number and `{column in lower case: text}`, empty where nothing stands.

  Raises:
    UsageError: the file can't be read, lacks a column or has one twice, or a line has more cells
      than there are columns, which may move what is read; but for as many blank ones on each.
  """
  damaged = (OSError, UnicodeDecodeError, csv.Error)
  with as_usage_error(f"{option} must be a CSV file in UTF-8", path, *damaged):
    with open(os.path.expanduser(path), encoding="utf-8-sig", newline="") as file:
      reader = csv.DictReader(_text(file), skipinitialspace=True)  # before a quote too
      found = [name.strip().lower() for name in reader.fieldnames or ()]
      reader.fieldnames = found
      if not {name.lower() for name in columns} <= set(found):
        also = f", perhaps {' and '.join(perhaps)}" if perhaps else ""
        raise UsageError(
          f"{option} must have the columns {', '.join(columns)}{also}. "
          f"Received: {', '.join(found) or 'nothing'} in {path}"
        )
      used = {name.lower() for name in (*columns, *perhaps)} & {*found}
      check_columns(option, found, used, path)
      lines, movable = list[Line](), used - set(found[:1])  # no comma is before the first
      longer: dict[int, list[str]] = {}  # cells beyond the columns, by the number of their line
      for row in reader:
        beyond = [*(row.pop(None, None) or ())]
        texts = {name: (row.get(name) or "").strip() for name in found}
        if not any(texts.values()) and not any(map(str.strip, beyond)):
          continue  # spreadsheets end with such lines
        if beyond:
          longer[reader.line_num] = beyond
        lines.append((reader.line_num, texts))
      # Blank ones say nothing where each line ends with as many of them.
      least = min(map(len, longer.values())) if len(longer) == len(lines) > 0 else 0
      for number, cells in longer.items() if movable else ():
        further = [cell.strip() for cell in cells if cell.strip()]
        if further or len(cells) > least:
          raise UsageError(
            f"{option} must have a cell for each of {len(found)} columns, those with commas in "
            f'quotes ("a, b"). Received: {further[0] if further else "a blank one"} beyond them, '
            f"line {number} of {path}"
          )
      return lines


def check_columns(option: str, found: Sequence[str], used: Collection[str], path: str) -> None:
  """Raises UsageError where a column that is used is there twice: which one counts isn't known.

  Args:
    found: names of the columns of a table, in lower case.
  """
  if twice := next((name for name in found if name in used and found.count(name) > 1), ""):
    raise UsageError(
      f"{option} must have each column once, in capitals or not. Received: {twice} again in {path}"
    )


def _text(lines: Iterable[str]) -> Iterator[str]:
  """Yields lines of text; a zero byte, which a damaged table may have, is none."""
  for line in lines:
    if "\0" in line:
      raise csv.Error("a zero byte")
    yield line


def files_by_name(names: Sequence[str]) -> dict[str, str]:
  """Returns `{how a table may name a file: the file}`: its path, base name, or that without ending.

  What several files are called names none of them.
  """
  whole = {name: name for name in names}
  for shorten in (base_name, lambda name: without_ending(base_name(name))):
    found: dict[str, list[str]] = {}
    for name in names:
      found.setdefault(shorten(name), []).append(name)
    whole = {short: files[0] for short, files in found.items() if len(files) == 1} | whole
  return whole
