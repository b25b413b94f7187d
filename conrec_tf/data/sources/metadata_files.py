"""Tables beside images, `metadata.csv` and others of Hugging Face's ImageFolder: label tables."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
import json
import logging
import os
import posixpath
from typing import Any

from conrec_tf.data.files.label_table import (
  Line,
  Row,
  add_rows,
  check_columns,
  read_lines,
  say_lost,
)
from conrec_tf.data.files.labels import value_text
from conrec_tf.data.files.layout import SPLIT_NAMES
from conrec_tf.data.sources.parquet_copy import parquet_file
from conrec_tf.errors import UsageError, as_usage_error

logger = logging.getLogger(__name__)

KEY = "file_name"  # relative to the folder of the table, with forward slashes


def read_metadata(
  root: str, tables: Sequence[str], names: Sequence[str], columns: Sequence[str]
) -> dict[str, Row]:
  """Reads labels of images from the tables beside them; see `read_label_table`.

  A table is of CSV, JSON by line, or Parquet, with the columns `file_name` and `label` and perhaps
  `split` and `group`. Where all images lie in folders of splits, those count.

  Args:
    root: the folder of all.
    tables, names: their paths below it, and those of the images.
    columns: see `read_label_table`.

  Returns:
    `{name: row}` of the images that the tables name; nothing where no table has labels, or
    names of files.

  Raises:
    UsageError: a table can't be read, some have labels and others none, two lie in one folder, or
      see `read_label_table`.
  """
  for first, second in itertools.pairwise(tables):
    if os.path.dirname(first) == os.path.dirname(second):
      raise UsageError(f"data_dir must hold one table a folder. Received: {first} and {second}")
  needed = [column.lower() for column in columns] or ["label"]
  used = (KEY, *needed, "split", "group")
  lines = {table: _lines(os.path.join(root, table), used) for table in tables}
  for table in [table for table in tables if KEY not in _columns(lines[table])]:
    logger.info("Left out %s, which has no column %s", table, KEY)
    del lines[table]
  if not lines:
    return {}
  tables = list(lines)
  without = [table for table in tables if not set(needed) <= _columns(lines[table])]
  if without and not columns and len(without) == len(tables):
    logger.info("No labels: %s (%d tables) has no column label", without[0], len(tables))
    there = set[str]().union(*map(_columns, lines.values()))
    if unused := [name for name in ("split", "group") if name in there]:
      logger.warning(
        "%s of %s doesn't count, as there is no label beside it", " and ".join(unused), without[0]
      )
    return {}
  if without:
    raise UsageError(
      f"metadata files must all have {', '.join(needed)}. Received: {without[0]} without"
    )
  rows: dict[str, Row] = {}
  missing: list[str] = []
  for table in tables:
    for _, given in lines[table]:
      path = posixpath.join(os.path.dirname(table).replace(os.sep, "/"), given.get(KEY, ""))
      given[KEY] = posixpath.normpath(path).replace("/", os.sep) if given.get(KEY) else ""
    name_of = {name: name for name in names}
    missing += add_rows(rows, table, os.path.join(root, table), lines[table], name_of, KEY, columns)
  said = ", ".join(tables[:2]) + f" and {len(tables) - 2} more" * (len(tables) > 2)
  logger.info("%s %s labels, unless --label_mode=folders", said, "give" if tables[1:] else "gives")
  say_lost(rows, "metadata files", missing, names, f"{said} of {root}")
  return _with_splits(rows)


def _with_splits(rows: dict[str, Row]) -> dict[str, Row]:
  """Returns rows with the splits whose names their folders have, in all or in none."""
  outermost = {name: name.split(os.sep)[0] for name in rows}
  splits = {name: folder for name, folder in outermost.items() if folder.lower() in SPLIT_NAMES}
  if splits and len(splits) < len(rows):
    without = next(name for name in rows if name not in splits)
    raise UsageError(
      "data_dir must hold all images in folders of splits, as train/, or none. "
      f"Received: {next(iter(splits))} and {without}"
    )
  if not splits:
    return rows
  return {name: dataclasses.replace(row, split=splits[name]) for name, row in rows.items()}


def _columns(lines: Sequence[Line]) -> set[str]:
  return {column for _, given in lines for column in given}


def _lines(path: str, used: Sequence[str]) -> list[Line]:
  """Returns the lines of a table, `{column in lower case: text}` each.

  Those columns that are used must be there once at most.
  """
  ending = os.path.splitext(path)[1]
  if ending == ".csv":
    return read_lines("data_dir", path, [], used)
  if ending == ".parquet":
    with parquet_file(path) as file:
      # Columns that hold more than a value are none of ours.
      names = [field.name for field in file.schema_arrow if not field.type.num_fields]
      check_columns("data_dir", [name.strip().lower() for name in names], used, path)
      return _texts(enumerate(file.read(names).to_pylist(), 1), path)
  with as_usage_error("data_dir must hold tables of JSON, a line each", path, OSError, ValueError):
    with open(path, encoding="utf-8-sig") as stream:
      values = [(number, json.loads(line)) for number, line in enumerate(stream, 1) if line.strip()]
  for row in (row for _, row in values if isinstance(row, Mapping)):
    check_columns("data_dir", [str(key).strip().lower() for key in row], used, path)
  return _texts(values, path)


def _texts(values: Iterable[tuple[int, Any]], path: str) -> list[Line]:
  """Returns rows as text, empty for null, 0 or 1 for truth; a label must be text or a number."""
  lines = list[Line]()
  for number, row in values:
    columns = row.items() if isinstance(row, Mapping) else ()
    given = {str(key).strip().lower(): value for key, value in columns}
    label = given.get("label")
    if label not in (None, "") and value_text(label) is None:
      raise UsageError(
        f"label must be text or a number. Received: {label!r} in line {number} of {path}"
      )
    texts = {
      key: value_text(int(value) if isinstance(value, bool) else value) or ""
      for key, value in given.items()
    }
    if isinstance(name := given.get(KEY), str):
      texts[KEY] = name.strip()  # as the file is called, whatever form of Unicode that is
    lines.append((number, texts))
  return lines
