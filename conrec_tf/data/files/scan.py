"""The image files of a folder and what is known of them, kept between starts.

Of each file the cache holds name, size, time of change, the decoded shape or why it can't be
decoded, and a digest of its content. A file that is as it was isn't opened again, but for those
that another version of a library may decode. Why a file couldn't be read isn't kept: permissions
and network disks change while the file doesn't. The cache lies in `$XDG_CACHE_HOME/conrec_tf`, by
default `~/.cache/conrec_tf`; without it, or where it can't be written, all files are decoded anew.
"""

import collections
from collections.abc import Iterable, Sequence
import concurrent.futures
import contextlib
import dataclasses
import hashlib
from importlib import metadata
import itertools
import logging
import os
import pathlib
import time
import zipfile

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.data.files.store import FileStore
from conrec_tf.data.files.walk import base_name
from conrec_tf.data.images.bad_image import NO_MEMORY, reason
from conrec_tf.data.images.formats import holds_no_image
from conrec_tf.data.images.inspection import Describe
from conrec_tf.errors import UsageError, short_message
from conrec_tf.files import remove_leftovers, replacing

logger = logging.getLogger(__name__)

VERSION = 6  # of what is kept, and of how images are decoded
# What decodes, or takes part in it where it is there.
DECODERS = (
  *("tensorflow", "simplejpeg", "pillow", "pillow-heif", "tifffile", "imagecodecs", "nibabel"),
  *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
  "python-gdcm",
)
NO_IMAGE = "a DICOM file without an image"
SECONDS_BETWEEN_SAVES = 10.0
FILES_AT_A_TIME = 64  # between two saves, or after Ctrl-C, these are looked at to the end
DIGEST_BYTES, LOOKS_BYTES = 32, 18


@dataclasses.dataclass
class FileScan:
  """What is known of image files, in one order.

  Attributes:
    names: paths below the folder.
    sizes, times: int64 `[N]`, bytes and nanoseconds of the last change.
    shapes: int32 `[N, 4]`, heights, widths, channels, bits a channel; -1 where a file wasn't
      decoded yet, 0 where it can't be.
    errors: why a file can't be decoded, by name; `NO_IMAGE` where nothing is wrong with that.
    digests: uint8 `[N, 32]`, SHA-256 of the content; zeros where it couldn't be decoded.
    perceptual_hashes: uint8 `[N, 18]`; zeros where they weren't needed.
    decoders: the versions of the libraries that failed where there are errors.
    passing: names of the files whose errors say nothing of the next start.
    path: where it is kept; None for nowhere.
  """

  names: list[str]
  sizes: np.ndarray
  times: np.ndarray
  shapes: np.ndarray
  errors: dict[str, str]
  digests: np.ndarray
  perceptual_hashes: np.ndarray
  decoders: str = ""
  passing: set[str] = dataclasses.field(default_factory=set)
  path: pathlib.Path | None = None

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
      decoders(),
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
        self.perceptual_hashes[place] = known.perceptual_hashes[other]
        self.errors |= {name: known.errors[name]} if name in known.errors else {}

  def mark_bad(self, place: int, error: str, passes: bool) -> None:
    """Says why a file can't be taken, and whether that passes."""
    self.shapes[place] = 0
    self.errors[self.names[place]] = error
    self.passing |= {self.names[place]} if passes else set()

  def forget_circumstances(self, max_pixels: int) -> None:
    """Makes unknown again what another limit of pixels or other libraries decided."""
    areas = self.shapes[:, 0].astype(np.int64) * self.shapes[:, 1]
    self.shapes[areas > max_pixels] = -1
    is_other, self.decoders = self.decoders != decoders(), decoders()
    places = {name: place for place, name in enumerate(self.names)}
    for name, error in list(self.errors.items()):
      if is_other or "--max_pixels" in error:
        self.shapes[places[name]] = -1
        del self.errors[name]

  def reorder(self, order: Sequence[int]) -> None:
    """Puts the files into another order; those that aren't in it are left out."""
    self.names = [self.names[place] for place in order]
    names = set(self.names)
    self.errors = {name: error for name, error in self.errors.items() if name in names}
    self.sizes, self.times = self.sizes[order], self.times[order]
    columns = (self.shapes, self.digests, self.perceptual_hashes)
    self.shapes, self.digests, self.perceptual_hashes = (column[order] for column in columns)


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
    store: where they lie.
    names: of the image files in it.
    describe: from a file's bytes to int32 `[4]`, as `image_describer` makes it.
    max_pixels: of the images that it takes; it may not have been the same at an earlier start.
    options: what the images depend on beside their files; what is known is kept for each choice.
  """
  scan = FileScan.of_files(names, *store.stats(names))
  cache = scan.path = cache_path(store.path, options)
  known = load_scan(cache)
  if known:
    known.forget_circumstances(max_pixels)
    scan.take_over(known)
  _add_digests(store, scan)
  scan.reorder(_order(store, scan))
  unknown = np.flatnonzero(scan.shapes[:, 2] < 0).tolist()
  _look_at(store, scan, unknown, describe)
  if unknown or not known or len(known.names) != len(names):
    save_scan(cache, scan)
  _pass_over_others(scan)
  return scan


def _look_at(store: FileStore, scan: FileScan, places: list[int], describe: Describe) -> None:
  """Decodes files, with a progress bar in a terminal; keeps what is known now and then."""

  def look(place: int) -> tuple[bytes, np.ndarray | OSError | str]:
    try:
      data = _content(store, scan.names[place])
    except OSError as error:
      return b"", error
    try:
      return hashlib.sha256(data).digest(), describe(tf.constant(data)).numpy()
    except Exception as error:  # whatever libraries come up with
      return b"", NO_IMAGE if holds_no_image(data) else reason(error)

  saved = time.monotonic()
  bar = tqdm(total=len(places), desc="Checking images", unit=" images", disable=None, leave=False)
  with bar, concurrent.futures.ThreadPoolExecutor() as pool:
    # The first one alone: several first calls at once would each optimize the function.
    starts = [0, *range(1, len(places), FILES_AT_A_TIME), len(places)]
    for part in (places[start:end] for start, end in itertools.pairwise(starts)):
      for place, (digest, found) in zip(part, pool.map(look, part), strict=True):
        if isinstance(found, np.ndarray):
          scan.shapes[place] = found
          scan.digests[place] = np.frombuffer(digest, np.uint8)
        elif isinstance(found, OSError):
          scan.mark_bad(place, short_message(found), passes=True)
        else:
          scan.mark_bad(place, found, passes=found == NO_MEMORY)
        bar.update()
      if scan.path and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
        save_scan(scan.path, scan)
        saved = time.monotonic()


def _content(store: FileStore, name: str) -> bytes:
  """Reads a file, a second time if need be, as network disks fail for a moment.

  Raises:
    OSError: it can't be read.
  """
  with contextlib.suppress(OSError):
    return store.content(name)
  return store.content(name)


def _pass_over_others(scan: FileScan) -> None:
  """Leaves out files that are no images though they may look like it, and counts them."""
  others = {name for name, error in scan.errors.items() if error == NO_IMAGE}
  if others:
    logger.info("Passed over %d DICOM files without images, e.g. %s", len(others), min(others))
    scan.reorder([place for place, name in enumerate(scan.names) if name not in others])


def decoders() -> str:
  """Returns the versions of the libraries that decode images."""
  found = []
  for name in DECODERS:
    with contextlib.suppress(metadata.PackageNotFoundError):
      found.append(f"{name} {metadata.version(name)}")
  return ", ".join(found)


def cache_path(root: str, options: str = "") -> pathlib.Path:
  """Returns where what is known of the files at a path is kept."""
  place = os.fsencode(os.path.realpath(root)) + bytes([VERSION]) + options.encode()
  key = hashlib.sha256(place).hexdigest()
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
        dict(zip(_split(archive["error_names"]), _split(archive["errors"]), strict=True)),
        archive["digests"],
        archive["looks"],
        str(archive["decoders"]),
      )
    whole = all(len(column) == len(names) for column in (scan.sizes, scan.times, scan.shapes))
    return scan if whole else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def save_scan(path: pathlib.Path, scan: FileScan) -> None:
  """Writes a scan, whole or not at all; where that fails, nothing is kept."""
  passing = np.array([name in scan.passing for name in scan.names], bool)
  errors = {name: error for name, error in scan.errors.items() if name not in scan.passing}
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with replacing(path) as temporary, temporary.open("wb") as file:
      np.savez(
        file,
        names=_join(scan.names),
        sizes=scan.sizes,
        times=scan.times,
        shapes=np.where(passing[:, np.newaxis], -1, scan.shapes),
        error_names=_join(errors),
        errors=_join(errors.values()),
        digests=scan.digests,
        looks=scan.perceptual_hashes,
        decoders=scan.decoders,
      )
  except (OSError, UsageError) as error:
    logger.debug("What is known of the folder isn't kept: %s", error)


def _add_digests(store: FileStore, scan: FileScan) -> None:
  """Reads files of one base name, whose order is that of their content.

  Those that can't be read keep zeros: they come first, by name, and are read at the next start.
  """
  bases = [base_name(name) for name in scan.names]
  seen = collections.Counter(bases)
  wanted = [
    place
    for place, base in enumerate(bases)
    if seen[base] > 1 and not scan.digests[place].any() and scan.names[place] not in store.order
  ]

  def digest(place: int) -> bytes:
    try:
      return hashlib.sha256(store.content(scan.names[place])).digest()
    except OSError:
      return bytes(DIGEST_BYTES)

  with concurrent.futures.ThreadPoolExecutor() as pool:
    for place, found in zip(wanted, pool.map(digest, wanted), strict=True):
      scan.digests[place] = np.frombuffer(found, np.uint8)


def _order(store: FileStore, scan: FileScan) -> list[int]:
  def key(place: int) -> tuple[str, bytes, str]:
    name = scan.names[place]
    return *store.order.get(name, (base_name(name), scan.digests[place].tobytes())), name

  return sorted(range(len(scan.names)), key=key)


def _join(texts: Iterable[str]) -> np.ndarray:
  """Returns texts as bytes; file names have no zeros in them."""
  return np.array(bytearray(b"\0".join(map(os.fsencode, texts))), np.uint8)


def _split(data: np.ndarray) -> list[str]:
  return [os.fsdecode(text) for text in data.tobytes().split(b"\0")] if data.size else []
