"""Files in buckets (`s3://`, `gs://`, `hf://`), copied into the cache before they are read.

fsspec lists and reads them. A file is copied whole and renamed into place; what was copied is noted
with the size and the tag that the bucket gives of its content, so that a second start copies what
has changed alone, and one that was cut off goes on.
"""

from collections.abc import Iterator
import concurrent.futures
import contextlib
import fnmatch
import hashlib
import json
import os
import pathlib
import posixpath
from typing import Any

import braceexpand
import fsspec

from conrec_tf.data.files.scan import cache_folder
from conrec_tf.errors import UsageError, as_usage_error, short_message
from conrec_tf.files import is_temporary, make_output_folder, remove, remove_leftovers, replacing
from conrec_tf.output import progress_bar

THREADS = 16  # most of the time is spent waiting for the server
PATTERNS = "*?[{"
# What file systems call that which changes with a file's content, the surest first.
TAGS = ("ETag", "etag", "md5Hash", "blob_id", "checksum", "LastModified", "mtime", "created")
NOTES = "copied.jsonl"


def local_copy(data_dir: str) -> str:
  """Returns a path for `data_dir`, of a bucket that of a copy in the cache, which is made.

  Args:
    data_dir: a path, or the address of a folder, a file, or files by a pattern:
      `s3://bucket/photos`, `s3://bucket/train-{000..099}.tar`.

  Raises:
    UsageError: the library for it isn't there, it can't be read, or the cache can't be written.
  """
  if "://" not in data_dir:
    return data_dir
  protocol = data_dir.partition("://")[0]
  needed = (
    "data_dir must be a path, or the address of a bucket whose library is there: pip install -r "
    "requirements-buckets.txt"
  )
  with as_usage_error(needed, data_dir, ImportError, ValueError):
    system, root = fsspec.core.url_to_fs(_root(data_dir)[0])
  digest = hashlib.sha256(data_dir.encode()).hexdigest()[:16]
  folder = cache_folder() / "buckets" / f"{protocol}-{digest}"
  make_output_folder(folder)
  files = Copies(folder)
  done = 0
  try:
    root, listed, pattern = _listed(system, root, _root(data_dir)[1])
    lacking = files.lacking(listed)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
      copying = [pool.submit(files.copy, system, root, name, listed[name]) for name in lacking]
      ended = concurrent.futures.as_completed(copying)
      try:
        for each in progress_bar("Copying files", "files", len(lacking), ended):
          each.result()
          done += 1
      finally:
        pool.shutdown(cancel_futures=True)
  except UsageError:
    raise
  except Exception as error:  # each library has its own
    raise UsageError(
      f"data_dir must be a bucket that can be read ({short_message(error)}); what was copied "
      f"stays, and the same command goes on. Received: {data_dir}, {done} files now"
    ) from error
  if not listed:
    raise UsageError(f"data_dir must hold files. Received: {data_dir} without any")
  return os.path.join(files.path, pattern) if pattern else os.fspath(files.path)


class Copies:
  """The files of one address in the cache.

  Attributes:
    path: the folder that they lie in, by their names.

  Args:
    folder: of what is kept of the address.
  """

  def __init__(self, folder: pathlib.Path) -> None:
    self.path = folder / "files"
    self._notes = folder / NOTES
    self._known = dict(_rows(self._notes))

  def lacking(self, listed: dict[str, tuple[int, str]]) -> list[str]:
    """Returns the names of files that aren't there as they are listed; removes others.

    Args:
      listed: `{name: (size in bytes, tag)}`.
    """
    self.path.mkdir(exist_ok=True)
    for folder, _, names in os.walk(self.path):
      remove_leftovers(folder)
      for name in names:
        path = pathlib.Path(folder, name)
        if not is_temporary(name) and path.relative_to(self.path).as_posix() not in listed:
          remove(path)
    return [name for name, state in listed.items() if not self._is_there(name, state)]

  def _is_there(self, name: str, state: tuple[int, str]) -> bool:
    with contextlib.suppress(OSError):
      return self._known.get(name) == state and (self.path / name).stat().st_size == state[0]
    return False

  def copy(self, system: Any, root: str, name: str, state: tuple[int, str]) -> None:
    """Copies a file whole or not at all, and notes it."""
    path = self.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
      system.get_file(posixpath.join(root, name), os.fspath(temporary))
      size = temporary.stat().st_size
      if size != state[0]:
        raise OSError(f"{size} of {state[0]} bytes of {name} came")
    with self._notes.open("a") as file:
      file.write(json.dumps([name, *state]) + "\n")


def _rows(path: pathlib.Path) -> Iterator[tuple[str, tuple[int, str]]]:
  """Yields what is noted of files; a line that a kill cut off is passed over."""
  for line in path.read_text().splitlines() if path.exists() else ():
    with contextlib.suppress(ValueError):
      name, size, tag = json.loads(line)
      yield name, (size, tag)


def _root(address: str) -> tuple[str, str]:
  """Returns the folder of an address, and the pattern of names in it, or nothing."""
  parts = address.split("/")
  for number, part in enumerate(parts):
    if set(part) & set(PATTERNS):
      return "/".join(parts[:number]), "/".join(parts[number:])
  return address.rstrip("/"), ""


def _listed(system: Any, root: str, pattern: str) -> tuple[str, dict[str, tuple[int, str]], str]:
  """Lists the files below a folder that fit a pattern, or a single file.

  Returns:
    The folder, `{name: (size, tag)}`, and the pattern, of a single file its name.
  """
  found = system.find(root, detail=True)
  if list(found) == [root]:
    folder, name = posixpath.split(root)
    return folder, {name: _state(found[root])}, name
  names = {
    posixpath.relpath(path, root): info
    for path, info in found.items()
    if info["type"] == "file" and not path.endswith("/")  # which stand for folders
  }
  outside = [name for name in names if ".." in name.split("/")]
  if outside:
    raise UsageError(f"data_dir must hold names without '..'. Received: {outside[0]} in {root}")
  if pattern:
    parts = list(braceexpand.braceexpand(pattern))
    fitting = {name for part in parts for name in fnmatch.filter(names, part)}
    names = {name: info for name, info in names.items() if name in fitting}
  return root, {name: _state(info) for name, info in names.items()}, pattern


def _state(info: dict[str, Any]) -> tuple[int, str]:
  """Returns the size of a file in bytes, and a text that changes with its content."""
  return info["size"], next((str(info[name]) for name in TAGS if info.get(name)), "")
