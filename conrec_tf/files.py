"""Writes files and folders whole or not at all, and removes what killed processes left behind.

Everything is written beside its place under a temporary name and then renamed, so that a reader
never meets half of it. A temporary name says which process of which machine writes, and no user
would give it: only what a dead process left is removed. Names that begin with a dot are no data.
"""

from collections.abc import Iterable, Iterator
import contextlib
import csv
import functools
import io
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import time
from typing import Any

from conrec_tf.errors import UsageError, as_usage_error

# .conrec_tf.<process>.<when it started>.<number>.<machine>
TEMPORARY = re.compile(r"\.conrec_tf\.(\d+)\.(\d+)\.\d+\.(.+)")
CONFIG_FILE = "config.json"  # of a run, the options that it was given
OUTPUT = ".conrec_tf"  # a file in each model_dir, whose images are no data
BEFORE = ".conrec_tf-before"  # ends the name of a folder that is being replaced
SECONDS_OF_OTHERS = 24 * 60 * 60.0  # after which another machine's unchanged file is a leftover

_numbers = itertools.count()


def make_output_folder(folder: pathlib.Path) -> None:
  """Makes a folder for what this program writes, and removes what killed processes left in it.

  Raises:
    UsageError: it can't be written.
  """
  with io_as_usage_error(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTPUT).touch()
  remove_leftovers(folder)


def is_output_folder(folder: str | os.PathLike) -> bool:
  """Returns whether what lies in a folder, and below it, was written by this program.

  Runs that began before there was a mark are known by their settings.
  """
  if os.path.exists(os.path.join(folder, OUTPUT)):
    return True
  try:
    settings = json.loads(pathlib.Path(folder, CONFIG_FILE).read_bytes())
  except (OSError, ValueError):
    return False
  return isinstance(settings, dict) and {"model_dir", "train_mode"} <= settings.keys()


@contextlib.contextmanager
def replacing(path: str | os.PathLike, known_by: str = "") -> Iterator[pathlib.Path]:
  """Yields a temporary path; the file or folder that is made there then takes the place of `path`.

  If an exception comes from inside, `path` is as it was. A folder can't be replaced at one stroke:
  where a process is killed between the two, `remove_leftovers` or the next call puts it back.

  Args:
    path: a file or folder in a folder that is there; it may be there or not.
    known_by: name of a file in each folder that may be replaced; empty: any folder may.

  Raises:
    UsageError: the folder can't be written, or one of somebody else is in the way.
  """
  path = pathlib.Path(path)
  if known_by and path.is_dir() and any(path.iterdir()) and not (path / known_by).exists():
    raise of_somebody_else(path.name, f"{path} without {known_by}")
  before = path.with_name(path.name + BEFORE)
  with io_as_usage_error(path.parent):
    _put_back(before)
  temporary = path.with_name(
    f".conrec_tf.{os.getpid()}.{_start_of(os.getpid())}.{next(_numbers)}.{_machine()}"
  )
  try:
    yield temporary
    with io_as_usage_error(path.parent):
      _flush(temporary)
      is_folder = path.is_dir()
      if is_folder:
        os.replace(path, before)
      os.replace(temporary, path)
      if is_folder:
        remove(before)
  finally:
    with contextlib.suppress(OSError):
      remove(temporary)


def of_somebody_else(name: str, received: str) -> UsageError:
  """Returns the `UsageError` for a folder that this program hasn't written, by its name."""
  return UsageError(
    f"model_dir must not hold a folder {name} of somebody else, where this program writes its own. "
    f"Received: {received}"
  )


def write_bytes(path: pathlib.Path, content: bytes | memoryview) -> None:
  """Writes a file whole or not at all.

  Raises:
    UsageError: the folder can't be written.
  """
  with replacing(path) as temporary, io_as_usage_error(path.parent):
    temporary.write_bytes(content)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
  """Returns rows as comma-separated values, a line each."""
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows(rows)
  return text.getvalue()


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text as UTF-8, whole or not at all; names of files in it keep their bytes.

  Raises:
    UsageError: the folder can't be written.
  """
  write_bytes(path, text.encode("utf-8", "surrogateescape"))


def remove(path: pathlib.Path) -> None:
  """Removes a file or a folder, if it is there."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike) -> None:
  """Removes from a folder what processes that died were writing, and puts back what they replaced.

  What can't be removed stays, and folders below aren't looked into; it may not be there.
  """
  with contextlib.suppress(OSError):
    for name in os.listdir(folder):
      path, parts = pathlib.Path(folder, name), TEMPORARY.fullmatch(name)
      with contextlib.suppress(OSError):
        if parts and _is_left(path, *parts.groups()):
          remove(path)
        elif name.endswith(BEFORE):
          _put_back(path)


def is_temporary(name: str) -> bool:
  """Returns whether a file's name is one that is written under."""
  return bool(TEMPORARY.fullmatch(name)) or name.endswith(BEFORE)


@contextlib.contextmanager
def io_as_usage_error(folder: str | os.PathLike, *errors: type[Exception]) -> Iterator[None]:
  """Says in one line that a folder can't be written, full disks included.

  Args:
    *errors: exception classes that mean the same as an OSError there.

  Raises:
    UsageError: an OSError or one of `errors` was raised inside.
  """
  with as_usage_error("model_dir must be a folder that can be written", folder, OSError, *errors):
    yield


def _flush(path: pathlib.Path) -> None:
  """Waits until a file, or all files of a folder, are on the disk."""
  paths = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
  for file in paths:
    with file.open("rb") as stream:
      os.fsync(stream.fileno())


def _put_back(before: pathlib.Path) -> None:
  """Ends what a process began that was killed while it replaced a folder."""
  if not os.path.exists(before):  # False too where the name is too long
    return
  path = before.with_name(before.name.removesuffix(BEFORE))
  if path.exists():
    remove(before)
  else:
    os.replace(before, path)


def _is_left(path: pathlib.Path, process: str, started: str, machine: str) -> bool:
  """Returns whether nothing writes a temporary file any more."""
  if machine == _machine():
    return _start_of(int(process)) != int(started)  # its number may be another's by now
  return time.time() - path.stat().st_mtime > SECONDS_OF_OTHERS


@functools.cache
def _machine() -> str:
  """Returns what tells apart all that count their processes on their own: hosts, containers."""
  processes = pathlib.Path("/proc/self/ns/pid")
  return f"{socket.gethostname()}-{processes.stat().st_ino if processes.exists() else 0}"


def _start_of(process: int) -> int:
  """Returns when a process started, in the kernel's ticks since it did; 0 if it isn't there."""
  try:
    line = pathlib.Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return 0
  return int(line.rpartition(")")[2].split()[19])  # its name, which comes before, may hold anything
