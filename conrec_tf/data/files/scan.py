"""The image files of a folder and what is known of them, kept between starts in a table of SQLite.

Of each file the table holds name, size, time of change, the decoded shape or why it can't be
decoded, and a digest of its content. A file that is as it was isn't opened again, but for those
that another version of a library may decode. Why a file couldn't be read isn't kept: permissions
and network disks change while the file doesn't. The cache lies in `$XDG_CACHE_HOME/conrec_tf`, by
default `~/.cache/conrec_tf`; without it, or where it can't be written, all files are decoded anew.
"""

import collections
from collections.abc import Sequence
import concurrent.futures
import contextlib
import dataclasses
import hashlib
from importlib import metadata
import itertools
import logging
import os
import pathlib
import sqlite3
import time

import numpy as np
import tensorflow as tf

from conrec_tf.data.files.store import FileStore, Folder
from conrec_tf.data.files.walk import base_name
from conrec_tf.data.images.bad_image import NO_MEMORY, reason
from conrec_tf.data.images.formats import holds_no_image
from conrec_tf.data.images.inspection import Describe
from conrec_tf.errors import short_message
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

VERSION = 8  # of what is kept, and of how images are decoded
# What decodes, or takes part in it where it is there.
DECODERS = (
  *("tensorflow", "simplejpeg", "pillow", "pillow-heif", "tifffile", "imagecodecs", "nibabel"),
  *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
  "python-gdcm",
)
NO_IMAGE = "a DICOM file without an image"
SECONDS_BETWEEN_SAVES = 10.0
FILES_AT_A_TIME = 64  # between two saves, or after Ctrl-C, these are looked at to the end
DIGEST_BYTES, HASH_BYTES = 32, 18
TABLE = """CREATE TABLE IF NOT EXISTS images (
  name BLOB PRIMARY KEY, size INTEGER, time INTEGER,
  height INTEGER, width INTEGER, channels INTEGER, bits INTEGER,
  digest BLOB, perceptual_hash BLOB,
  error TEXT, decoders TEXT
)"""  # decoders: the versions of the libraries that failed


@dataclasses.dataclass
class FileScan:
  """Findings about image files, in one order.

  Attributes:
    path: of the cache.
    names: paths below the folder.
    sizes, times: int64 `[N]`, bytes and nanoseconds of the last change.
    shapes: int32 `[N, 4]`, heights, widths, channels, bits a channel; -1 where a file wasn't
      decoded yet, 0 where it can't be.
    digests: uint8 `[N, 32]`, SHA-256 of the content; zeros where it couldn't be decoded.
    perceptual_hashes: uint8 `[N, 18]`; zeros where they weren't needed.
    errors: why a file can't be decoded, by name; `NO_IMAGE` where nothing is wrong with that.
    passing: names of the files whose errors say nothing of the next start.
  """

  path: pathlib.Path
  names: list[str]
  sizes: np.ndarray
  times: np.ndarray
  shapes: np.ndarray
  digests: np.ndarray
  perceptual_hashes: np.ndarray
  errors: dict[str, str] = dataclasses.field(default_factory=dict)
  passing: set[str] = dataclasses.field(default_factory=set)

  @property
  def is_good(self) -> np.ndarray:
    """True for files that can be decoded, bool `[N]`."""
    return self.shapes[:, 2] > 0

  def changed(self, store: FileStore) -> list[str]:
    """Returns the names of good files that aren't what they were when they were looked at."""
    sizes, times = store.stats(self.names)
    is_other = self.is_good & ((sizes != self.sizes) | (times != self.times))
    return [self.names[at] for at in np.flatnonzero(is_other)]

  def mark_bad(self, index: int, error: str, passes: bool) -> None:
    """Says why a file can't be taken, and whether that passes."""
    self.shapes[index] = 0
    self.errors[self.names[index]] = error
    self.passing |= {self.names[index]} if passes else set()

  def reorder(self, order: Sequence[int]) -> None:
    """Puts the files into another order; those that aren't in it are left out."""
    self.names = [self.names[index] for index in order]
    self.errors = {name: self.errors[name] for name in self.names if name in self.errors}
    for column in ("sizes", "times", "shapes", "digests", "perceptual_hashes"):
      setattr(self, column, getattr(self, column)[order])

  def take_known(self, max_pixels: int, root: str) -> None:
    """Takes from the cache what is known of files that haven't changed, and forgets those gone.

    What another limit of pixels or other libraries decided isn't known.
    """
    rows = _read(self.path)
    if not rows:
      return
    names, sizes, times, *shapes, digests, hashes, errors, versions = zip(*rows, strict=True)
    index_of = {os.fsencode(name): index for index, name in enumerate(self.names)}
    index = np.array([index_of.get(name, -1) for name in names])
    areas = np.array(shapes[0], np.int64) * np.array(shapes[1], np.int64)
    is_same = (index >= 0) & (areas <= max_pixels) & (self.sizes[index] >= 0)
    is_same &= (np.array(sizes) == self.sizes[index]) & (np.array(times) == self.times[index])
    current = decoders()
    for at in [at for at, error in enumerate(errors) if error is not None]:
      is_same[at] &= versions[at] == current and "--max_pixels" not in errors[at]
      if is_same[at]:
        self.errors[self.names[index[at]]] = errors[at]
    taken = index[is_same]
    self.shapes[taken] = np.array(shapes, np.int32).T[is_same]
    self.digests[taken] = _bytes(digests, DIGEST_BYTES)[is_same]
    self.perceptual_hashes[taken] = _bytes(hashes, HASH_BYTES)[is_same]
    others = [names[at] for at in np.flatnonzero(index < 0)]  # of which another list may be made
    found, _ = Folder(root).stats(list(map(os.fsdecode, others)))
    gone = [(name,) for name, size in zip(others, found, strict=True) if size < 0]
    _write(self.path, "DELETE FROM images WHERE name = ?", gone)

  def save(self, index: Sequence[int] | np.ndarray) -> None:
    """Keeps what is known of the files of an index; where that fails, nothing is kept."""
    current, rows, passing = decoders(), list[tuple](), list[tuple]()
    for at in map(int, index):
      name = self.names[at]
      if name in self.passing:
        passing.append((os.fsencode(name),))
        continue
      columns = (self.digests[at].tobytes(), self.perceptual_hashes[at].tobytes())
      error = self.errors.get(name)
      numbers = (self.sizes[at], self.times[at], *self.shapes[at])
      failed = (error, current) if error is not None else (None, None)
      rows.append((os.fsencode(name), *map(int, numbers), *columns, *failed))
    _write(self.path, "DELETE FROM images WHERE name = ?", passing)
    _write(self.path, f"REPLACE INTO images VALUES ({', '.join('?' * 11)})", rows)


def scan_files(
  store: FileStore,
  names: list[str],
  describe: Describe,
  max_pixels: int,
  options: str = "",
) -> FileScan:
  """Decodes those files that aren't known yet, and orders all of them.

  The order is by base name, then content, so that it doesn't depend on where files lie; see also
  `FileStore.order`.

  Args:
    describe: from a file's bytes to int32 `[4]`, as `image_describer` makes it.
    max_pixels: of the images that it takes; it may not have been the same at an earlier start.
    options: what the images depend on beside their files; what is known is kept for each choice.
  """
  scan = FileScan(
    cache_path(store.path, options),
    names,
    *store.stats(names),
    shapes=np.full([len(names), 4], -1, np.int32),
    digests=np.zeros([len(names), DIGEST_BYTES], np.uint8),
    perceptual_hashes=np.zeros([len(names), HASH_BYTES], np.uint8),
  )
  scan.take_known(max_pixels, store.path)
  _add_digests(store, scan)
  scan.reorder(_order(store, scan))
  _look_at(store, scan, np.flatnonzero(scan.shapes[:, 2] < 0).tolist(), describe)
  if others := {
    name for name, error in scan.errors.items() if error == NO_IMAGE
  }:  # they may look like images
    logger.info("Passed over %d DICOM files without images, e.g. %s", len(others), min(others))
    scan.reorder([index for index, name in enumerate(scan.names) if name not in others])
  return scan


def _look_at(store: FileStore, scan: FileScan, index: list[int], describe: Describe) -> None:
  """Decodes files, with a progress bar in a terminal; keeps what is known now and then."""

  def look(at: int) -> tuple[bytes, np.ndarray | OSError | str]:
    try:
      data = _content(store, scan.names[at])
    except OSError as error:
      return b"", error
    try:
      return hashlib.sha256(data).digest(), describe(tf.constant(data)).numpy()
    except Exception as error:  # whatever libraries come up with
      return b"", NO_IMAGE if holds_no_image(data) else reason(error)

  unsaved, saved = list[int](), time.monotonic()
  bar = progress_bar("Checking images", "images", len(index))
  with bar, concurrent.futures.ThreadPoolExecutor() as pool:
    # The first one alone: several first calls at once would each optimize the function.
    starts = [0, *range(1, len(index), FILES_AT_A_TIME), len(index)]
    for part in (index[start:end] for start, end in itertools.pairwise(starts)):
      for at, (digest, found) in zip(part, pool.map(look, part), strict=True):
        if isinstance(found, np.ndarray):
          scan.shapes[at] = found
          scan.digests[at] = np.frombuffer(digest, np.uint8)
        elif isinstance(found, OSError):
          scan.mark_bad(at, short_message(found), passes=True)
        else:
          scan.mark_bad(at, found, passes=found == NO_MEMORY)
        bar.update()
      unsaved += part
      if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
        scan.save(unsaved)
        unsaved, saved = [], time.monotonic()
  scan.save(unsaved)


def _content(store: FileStore, name: str) -> bytes:
  """Reads a file, a second time if need be, as network disks fail for a moment."""
  with contextlib.suppress(OSError):
    return store.content(name)
  return store.content(name)


def decoders() -> str:
  """Returns the versions of the libraries that decode images."""
  found = []
  for name in DECODERS:
    with contextlib.suppress(metadata.PackageNotFoundError):
      found.append(f"{name} {metadata.version(name)}")
  return ", ".join(found)


def cache_path(root: str, options: str = "") -> pathlib.Path:
  """Returns where what is known of the files at a path is kept."""
  return in_cache("folder", root, VERSION, options, ".sqlite")


def in_cache(what: str, root: str, version: int, options: str, ending: str = "") -> pathlib.Path:
  """Returns where is kept what is known of the files at a path, by the version of that."""
  key = os.fsencode(os.path.realpath(root)) + bytes([version]) + options.encode()
  return cache_folder() / f"{what}-{hashlib.sha256(key).hexdigest()[:32]}{ending}"


def cache_folder() -> pathlib.Path:
  """Returns the folder of what is kept between starts."""
  base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return pathlib.Path(base, "conrec_tf")


def _read(path: pathlib.Path) -> list[tuple]:
  """Returns the rows of the cache; a file that is damaged or of the earlier format is removed."""
  with contextlib.suppress(OSError):
    for archive in path.parent.glob("folder-*.npz"):  # which nothing else would ever remove
      archive.unlink(missing_ok=True)
  if not path.exists():
    return []
  try:
    with contextlib.closing(sqlite3.connect(path)) as database:
      return database.execute("SELECT * FROM images").fetchall()
  except sqlite3.OperationalError:  # locked for long, not readable, or without a table
    return []
  except sqlite3.DatabaseError:
    with contextlib.suppress(OSError):
      path.unlink()
    return []


def _write(path: pathlib.Path, statement: str, rows: list[tuple]) -> None:
  """Changes rows of the cache, all or none of them; where that fails, nothing is kept."""
  if not rows:
    return
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
      database.execute(TABLE)
      database.executemany(statement, rows)
  except (OSError, sqlite3.Error) as error:
    logger.debug("What is known of the folder isn't kept: %s", error)


def _bytes(values: Sequence[bytes], count: int) -> np.ndarray:
  return np.frombuffer(b"".join(values), np.uint8).reshape(-1, count)


def _add_digests(store: FileStore, scan: FileScan) -> None:
  """Reads files of one base name, whose order is that of their content.

  Those that can't be read keep zeros: they come first, by name, and are read at the next start.
  """
  bases = [base_name(name) for name in scan.names]
  seen = collections.Counter(bases)
  wanted = [
    index
    for index, base in enumerate(bases)
    if seen[base] > 1 and not scan.digests[index].any() and scan.names[index] not in store.order
  ]

  def digest(index: int) -> bytes:
    try:
      return hashlib.sha256(store.content(scan.names[index])).digest()
    except OSError:
      return bytes(DIGEST_BYTES)

  with concurrent.futures.ThreadPoolExecutor() as pool:
    for index, found in zip(wanted, pool.map(digest, wanted), strict=True):
      scan.digests[index] = np.frombuffer(found, np.uint8)


def _order(store: FileStore, scan: FileScan) -> list[int]:
  def key(index: int) -> tuple[str, bytes, str]:
    name = scan.names[index]
    return *store.order.get(name, (base_name(name), scan.digests[index].tobytes())), name

  return sorted(range(len(scan.names)), key=key)
