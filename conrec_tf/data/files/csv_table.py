"""CSV files that say something of image files, line by line."""

from collections.abc import Iterable, Iterator, Sequence
import csv
import os

from conrec_tf.data.files.walk import base_name, without_ending
from conrec_tf.errors import UsageError, short_message

Line = tuple[int, dict[str, str]]


def read_lines(
  option: str, path: str, columns: Sequence[str], perhaps: Sequence[str] = ()
) -> list[Line]:
  """Reads the lines of a CSV file in UTF-8.

  Args:
    option: whose file it is, for messages.
    path: of the file.
    columns: that it must have, in any case.
    perhaps: that it may have, for messages.

  Returns:
    Of each line its number and `{column in lower case: text}`, empty where nothing stands.

  Raises:
    UsageError: the file can't be read or lacks a column.
  """
  try:
    with open(os.path.expanduser(path), encoding="utf-8-sig", newline="") as file:
      reader = csv.DictReader(_text(file))
      found = [name.strip().lower() for name in reader.fieldnames or ()]
      reader.fieldnames = found
      if not {name.lower() for name in columns} <= set(found):
        also = f", perhaps {' and '.join(perhaps)}" if perhaps else ""
        raise UsageError(
          f"{option} must have the columns {', '.join(columns)}{also}. "
          f"Received: {', '.join(found) or 'nothing'} in {path}"
        )
      return [
        (reader.line_num, {column: (row.get(column) or "").strip() for column in found})
        for row in reader
      ]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UsageError(
      f"{option} must be a CSV file in UTF-8 ({short_message(error)}). Received: {path}"
    ) from error


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
