"""Output that outlives who reads it, lines of a log in a terminal, and progress bars."""

from collections.abc import Iterable
import errno
import io
import logging
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from tqdm import tqdm

GONE = (errno.EIO, errno.EPIPE, errno.ENXIO)  # a terminal; a pipe; a terminal that was removed


class LastingOutput(io.RawIOBase):
  """A descriptor to write to, that from the first such error on leads to nowhere.

  So libraries that write to it themselves go on too.

  Args:
    descriptor: it stays open when this is closed.
  """

  def __init__(self, descriptor: int) -> None:
    super().__init__()
    self._descriptor = descriptor

  def writable(self) -> bool:
    """Returns True."""
    return True

  def fileno(self) -> int:
    """Returns the descriptor."""
    return self._descriptor

  def isatty(self) -> bool:
    """Returns whether somebody may be looking."""
    return os.isatty(self._descriptor)

  def write(self, data: bytes) -> int:  # type: ignore[override]
    """Writes bytes; returns how many."""
    try:
      return os.write(self._descriptor, data)
    except OSError as error:
      if error.errno not in GONE:
        raise
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._descriptor)
      os.close(nowhere)
      return len(data)


def outlive_readers() -> None:
  """Makes `sys.stdout` and `sys.stderr` go on without an error when nobody reads them any more."""
  for name in ("stdout", "stderr"):
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper):  # a notebook's, or a test's
      continue
    raw = getattr(stream.buffer, "raw", stream.buffer)  # unbuffered it is one itself
    if isinstance(raw, LastingOutput):
      continue
    stream.flush()
    lasting: Any = LastingOutput(stream.fileno())
    setattr(
      sys,
      name,
      io.TextIOWrapper(
        lasting if raw is stream.buffer else io.BufferedWriter(lasting),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
      ),
    )


class TerminalFormatter(logging.Formatter):
  """Lines of a log as a terminal shows them: over a progress line, and broken between words."""

  def format(self, record: logging.LogRecord) -> str:
    """Returns the text of a record; a word that is longer than a row, a path say, stays whole."""
    columns = max(1, shutil.get_terminal_size().columns - 1)
    rows = [
      textwrap.fill(
        line,
        columns,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
      )
      for line in super().format(record).splitlines()
    ]
    return "\r\033[K" + "\n".join(rows)


def progress_bar(
  description: str, unit: str, total: int | None = None, values: Iterable[Any] | None = None
) -> "tqdm[Any]":
  """Returns a progress bar, of values or to be moved by hand, that only a terminal shows."""
  from tqdm import tqdm

  return tqdm(values, description, total, unit=f" {unit}", disable=None, leave=False)
