"""The image files of a folder and what is known of them, kept between starts.

Of each file the cache holds name, size, time of change, the decoded shape or why it can't be
decoded, and a digest of its content where that was needed. A file that is as it was isn't opened
again. The cache lies in `$XDG_CACHE_HOME/conrec_tf`, by default `~/.cache/conrec_tf`; without it,
or where it can't be written, all files are decoded anew.
"""

import collections
from collections.abc import Iterable, Sequence
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import logging
import os
import pathlib
import zipfile

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.data.file_formats import EXTRA
from conrec_tf.data.file_store import FileStore
from conrec_tf.data.folder_walk import base_name
from conrec_tf.data.inspection import Describe, decode_error, scan_images

logger = logging.getLogger(__name__)

VERSION = 3  # of what is kept, and of how images are decoded
SECONDS_BETWEEN_SAVES = 10.0
DIGEST_BYTES, LOOKS_BYTES = 32, 18
READ_AT_A_TIME = 64  # files


@dataclasses.dataclass
class FileScan:
  """What is known of image files, in one order.

  Attributes:
    names: paths below the folder.
    sizes, times: int64 `[N]`, bytes and nanoseconds of the last change.
    shapes: int32 `[N, 4]`, heights, widths, channels, bits a channel; -1 where a file wasn't
      decoded yet, 0 where it can't be.
    errors: why a file can't be decoded, by name.
    digests: uint8 `[N, 32]`, SHA-256 of the content; zeros where it wasn't needed.
    looks: uint8 `[N, 18]`, perceptual hashes; zeros where they weren't needed.
  """

  names: list[str]
  sizes: np.ndarray
  times: np.ndarray
  shapes: np.ndarray
  errors: dict[str, str]
  digests: np.ndarray
  looks: np.ndarray

  @classmethod
  def of_files(cls, names: list[str], sizes: np.ndarray, times: np.ndarray) -> "FileScan":
    """Returns a scan of files of which nothing is known yet."""
    count = len(names)
    return cls(
      names,
      sizes,
      times,
      np.full([count, 4], -1, np.int32),
      {},
      np.zeros([count, DIGEST_BYTES], np.uint8),
      np.zeros([count, LOOKS_BYTES], np.uint8),
    )

  @property
  def is_good(self) -> np.ndarray:
    """Which files can be decoded, bool `[N]`."""
    return self.shapes[:, 2] > 0

  def take_over(self, known: "FileScan") -> None:
    """Takes what another scan knows of files that haven't changed since."""
    places = {name: place for place, name in enumerate(known.names)}
    for place, name in enumerate(self.names):
      other = places.get(name)
      if (
        other is not None
        and self.sizes[place] == known.sizes[other] >= 0
        and self.times[place] == known.times[other]
      ):
        self.shapes[place] = known.shapes[other]
        self.digests[place] = known.digests[other]
        self.looks[place] = known.looks[other]
        self.errors |= {name: known.errors[name]} if name in known.errors else {}

  def forget_circumstances(self, max_pixels: int) -> None:
    """Makes unknown again what another limit of pixels or a missing library decided."""
    areas = self.shapes[:, 0].astype(np.int64) * self.shapes[:, 1]
    self.shapes[areas > max_pixels] = -1
    for name in [
      name for name, error in self.errors.items() if "--max_pixels" in error or EXTRA in error
    ]:
      self.shapes[self.names.index(name)] = -1
      del self.errors[name]

  def reorder(self, order: Sequence[int]) -> None:
    """Puts the files into another order."""
    self.names = [self.names[place] for place in order]
    self.sizes, self.times = self.sizes[order], self.times[order]
    columns = (self.shapes, self.digests, self.looks)
    self.shapes, self.digests, self.looks = (column[order] for column in columns)


def scan_files(store: FileStore, names: list[str], describe: Describe, max_pixels: int) -> FileScan:
  """Decodes those files that aren't known yet, and orders all of them.

  The order is by base name, then content, so that it doesn't depend on where files lie.

  Args:
    store: where they lie.
    names: of the image files in it.
    describe: from a file's bytes, a string scalar, to int32 `[4]`; see `describe_image`.
    max_pixels: of the images that it takes; it may not have been the same at an earlier start.
  """
  scan = FileScan.of_files(names, *store.stats(names))
  cache = cache_path(store.path)
  known = load_scan(cache)
  if known:
    scan.take_over(known)
    scan.forget_circumstances(max_pixels)
  _add_digests(store, scan, _of_one_base_name(scan))
  scan.reorder(_order(scan))
  unknown = np.flatnonzero(scan.shapes[:, 2] < 0)
  if len(unknown):
    locations = store.locations([scan.names[place] for place in unknown])

    def described(location: tf.Tensor) -> tf.Tensor:
      return describe(store.read(location))

    def keep(shapes: np.ndarray) -> None:
      scan.shapes[unknown] = shapes
      save_scan(cache, scan)

    images = tf.data.Dataset.from_tensor_slices(locations)
    shapes = scan_images(images, described, "Checking images", keep, SECONDS_BETWEEN_SAVES)
    scan.shapes[unknown] = np.maximum(shapes, 0)
    for place, location in zip(unknown, locations):
      if not scan.shapes[place, 2]:
        scan.errors[scan.names[place]] = decode_error(described, location)
  if len(unknown) or not known or len(known.names) != len(names):
    save_scan(cache, scan)
  return scan


def cache_path(root: str) -> pathlib.Path:
  """Returns where what is known of the files at a path is kept."""
  key = hashlib.sha256(os.fsencode(os.path.realpath(root)) + bytes([VERSION])).hexdigest()
  return cache_folder() / f"folder-{key[:32]}.npz"


def cache_folder() -> pathlib.Path:
  """Returns the folder of what is kept between starts."""
  base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return pathlib.Path(base, "conrec_tf")


def load_scan(path: pathlib.Path) -> FileScan | None:
  """Reads a scan; None where there is none, or none that can be read."""
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      names = _split(archive["names"])
      scan = FileScan(
        names,
        archive["sizes"],
        archive["times"],
        archive["shapes"],
        dict(zip(_split(archive["error_names"]), _split(archive["errors"]))),
        archive["digests"],
        archive["looks"],
      )
    whole = all(len(column) == len(names) for column in (scan.sizes, scan.times, scan.shapes))
    return scan if whole else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def save_scan(path: pathlib.Path, scan: FileScan) -> None:
  """Writes a scan under a temporary name and renames it; where that fails, nothing is kept."""
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
      np.savez(
        file,
        names=_join(scan.names),
        sizes=scan.sizes,
        times=scan.times,
        shapes=scan.shapes,
        error_names=_join(scan.errors),
        errors=_join(scan.errors.values()),
        digests=scan.digests,
        looks=scan.looks,
      )
    os.replace(temporary, path)
  except OSError as error:
    logger.debug("What is known of the folder isn't kept: %s", error)
    with contextlib.suppress(OSError):
      temporary.unlink()


def _of_one_base_name(scan: FileScan) -> list[int]:
  """Returns places of the files whose order is that of their content."""
  bases = [base_name(name) for name in scan.names]
  seen = collections.Counter(bases)
  return [place for place, base in enumerate(bases) if seen[base] > 1]


def _add_digests(store: FileStore, scan: FileScan, places: Iterable[int]) -> int:
  """Reads files whose digest isn't known yet; returns how many.

  Args:
    store: where they lie.
    scan: of them; gets their digests.
    places: of the files in it.
  """
  wanted = [place for place in places if not scan.digests[place].any()]
  with (
    concurrent.futures.ThreadPoolExecutor() as pool,
    tqdm(total=len(wanted), desc="Comparing", unit=" files", disable=None, leave=False) as bar,
  ):
    for start in range(0, len(wanted), READ_AT_A_TIME):
      some = wanted[start : start + READ_AT_A_TIME]
      for place, content in zip(some, pool.map(store.content, [scan.names[at] for at in some])):
        scan.digests[place] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
      bar.update(len(some))
  return len(wanted)


def content_keys(store: FileStore, scan: FileScan, splits: Sequence[np.ndarray]) -> np.ndarray:
  """Returns keys of files, bytes, object `[N]`, that are equal where images of two splits are.

  Files are read where one of each split has the same size, once: their digests are kept.

  Args:
    store: where they lie.
    scan: of them.
    splits: places of the images of two splits; or none, for files that are known to differ.
  """
  keys = np.array([b"%d" % place for place in range(len(scan.names))], object)
  if splits:
    first, second = (np.unique(split[scan.is_good[split]]) for split in splits)
    sizes = np.intersect1d(
      scan.sizes[np.setdiff1d(first, second)], scan.sizes[np.setdiff1d(second, first)]
    )
    either = np.union1d(first, second)
    alike = either[np.isin(scan.sizes[either], sizes)]
    if _add_digests(store, scan, alike):
      save_scan(cache_path(store.path), scan)
    keys[alike] = [scan.digests[place].tobytes() for place in alike]
  return keys


def _order(scan: FileScan) -> list[int]:
  def key(place: int) -> tuple[str, bytes, str]:
    name = scan.names[place]
    return base_name(name), scan.digests[place].tobytes(), name

  return sorted(range(len(scan.names)), key=key)


def _join(texts: Iterable[str]) -> np.ndarray:
  """Returns texts as bytes; file names have no zeros in them."""
  return np.array(bytearray(b"\0".join(map(os.fsencode, texts))), np.uint8)


def _split(data: np.ndarray) -> list[str]:
  return [os.fsdecode(text) for text in data.tobytes().split(b"\0")] if data.size else []
