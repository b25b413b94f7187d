"""Files of several images unpacked into the cache, where each image is a PNG of its own.

A frame can't be reached without reading the file, and a compressed volume not without unpacking
it; so that is done once. Beside the images lies what they were made of: a file that is as it was
isn't unpacked again, one that changed is, and what was made of one that is gone is removed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import time

import numpy as np
import tensorflow as tf

from conrec_tf.config import Data
from conrec_tf.data.files.layout import Layout
from conrec_tf.data.files.scan import SECONDS_BETWEEN_SAVES, decoders, in_cache
from conrec_tf.data.files.store import Folder
from conrec_tf.data.files.walk import (
  DICOM_ENDINGS,
  ENDINGS,
  NIFTI_ENDINGS,
  base_name,
  readable,
)
from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.images.formats import NOT_UNPACKED, is_dicom, open_frames
from conrec_tf.data.images.frames import ALL
from conrec_tf.data.images.header import saying_that_it_fills_bits
from conrec_tf.errors import UsageError, short_message
from conrec_tf.files import remove, remove_leftovers, replacing, write_text
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

VERSION = 1  # of how files are unpacked
INDEX, LOCK = "index.json", "lock"
PASSES = "passes"  # of circumstances: it couldn't be read, or memory was short
DIGITS = 4  # of the number of a frame, at least


@dataclasses.dataclass(frozen=True)
class Unpacked:
  """Images that were made of a file.

  Attributes:
    size, time: of the file, bytes and nanoseconds of its last change.
    images: how many there are; 0 where the file is none of several images.
    digest: SHA-256 of the file, hexadecimal.
    disk: bytes that the images take.
    circumstances: where the only image is a note of why the file can't be unpacked, what may
      change that; else empty.
  """

  size: int
  time: int
  images: int = 0
  digest: str = ""
  disk: int = 0
  circumstances: str = ""


class FramesFolder(Folder):
  """A folder of which some files have been unpacked: `scan.dcm` is `scan.dcm/0000` and so on.

  Args:
    made: `{file: what was made of it}`, of those that were unpacked.
    folder_of: from a file to the folder of its images.
  """

  def __init__(
    self, path: str, made: Mapping[str, Unpacked], folder_of: Callable[[str], pathlib.Path]
  ) -> None:
    super().__init__(path)
    self._made = made
    self._images: dict[str, str] = {}  # paths by name
    self._files: dict[str, str] = {}  # by the names of their images
    for file, found in made.items():
      for number, name in enumerate(names_of_images(file, found.images)):
        self._images[name] = str(folder_of(file) / _file_name(number))
        self._files[name] = file
    self.order = {
      name: (base_name(file), bytes.fromhex(made[file].digest))
      for name, file in self._files.items()
    }

  def stats(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the file's time, and its size by the number of images in it.

    What failed for a reason that passes is as no file, so that nothing of it is kept.
    """
    files = {file: number for number, file in enumerate(dict.fromkeys(map(self.file_of, names)))}
    sizes, times = super().stats(list(files))
    numbers = np.array([files[self.file_of(name)] for name in names], np.int64)
    made = [self._made.get(file, Unpacked(0, 0, 1)) for file in files]
    is_gone = (sizes < 0) | [found.circumstances == PASSES for found in made]
    sizes = np.where(is_gone, -1, sizes // [found.images for found in made])
    return sizes[numbers], times[numbers]

  def locations(self, names: Sequence[str]) -> np.ndarray:
    """Returns paths, object `[N]`."""
    whole = super().locations(names)
    paths = [self._images.get(name) for name in names]
    return np.array(
      [own if path is None else os.fsencode(path) for own, path in zip(whole, paths, strict=True)],
      object,
    )

  def content(self, name: str) -> bytes:
    """Reads an image outside of the graph."""
    return super().content(self._images.get(name, name))  # a path that is whole stays as it is

  def file_of(self, name: str) -> str:
    """Returns the file that an image was unpacked from, or is."""
    return self._files.get(name, name)

  def layout(self, names: Sequence[str], of_files: Callable[[list[str]], Layout]) -> Layout:
    """Returns splits, labels and groups of images, which are those of their files.

    Where `of_files`, the same of files, knows no groups, each file is one.
    """
    of_images = list(map(self.file_of, names))
    files = list(dict.fromkeys(of_images))
    found = of_files(files)
    if files == list(names):
      return found
    numbers = {file: number for number, file in enumerate(files)}
    at = np.array([numbers[file] for file in of_images])
    groups = np.array([readable(file) for file in files], object)
    if found.groups is not None:
      groups = found.groups
    return Layout(found.splits[at], found.labels[at], found.class_names, groups[at])


def names_of_images(file: str, count: int) -> list[str]:
  """Returns what the images of a file are called: by its name if there is one, else numbered."""
  if count == 1:
    return [file]
  digits = max(DIGITS, len(str(count - 1)))
  return [f"{file}/{number:0{digits}}" for number in range(count)]


def unpacked_folder(data: Data, root: str, files: Sequence[str]) -> tuple[FramesFolder, list[str]]:
  """Unpacks files of several images as `--dicom_frames` says, with a progress bar in a terminal.

  It returns where the images lie, and their names. A file that can't be unpacked is one image,
  which fails with the reason.

  Raises:
    UsageError: the cache can't be written.
  """
  choice = data.dicom_frames
  candidates = [file for file in files if choice and _may_be_several(root, file, choice)]
  folder = in_cache("frames", root, VERSION, f"{choice} {data.dicom_window}").absolute()
  made: dict[str, Unpacked] = {}
  if candidates:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      with _alone(folder):
        remove_leftovers(folder)
        made = _make(data, root, folder, candidates)
    except (OSError, UsageError) as error:
      raise UsageError(
        "XDG_CACHE_HOME must be a folder that can be written, for the images of files of several "
        f"({short_message(error)}). Received: {folder}"
      ) from error
  store = FramesFolder(root, made, lambda file: folder / _key(file))
  names = [
    name
    for file in files
    for name in (names_of_images(file, made[file].images) if file in made else [file])
  ]
  if good := [found for found in made.values() if not found.circumstances]:
    logger.info(
      "%d files of several images are %d images, %.0f MB in %s; splits, labels and groups are "
      "those of the files",
      len(good),
      sum(found.images for found in good),
      sum(found.disk for found in good) / 1e6,
      folder,
    )
  return store, names


def _make(data: Data, root: str, folder: pathlib.Path, files: Sequence[str]) -> dict[str, Unpacked]:
  """Unpacks what isn't there yet; returns what was made of files that aren't single images."""
  index = _read_index(folder)
  for file in index.keys() - set(files):
    if not os.path.exists(os.path.join(root, file)):
      remove(folder / _key(file))
      del index[file]
  sizes, times = Folder(root).stats(files)
  circumstances = f"{data.max_pixels} {decoders()}"
  wanted = []
  for file, size, changed in zip(files, sizes.tolist(), times.tolist(), strict=True):
    known = index.get(file)
    is_same = known and (known.size, known.time) == (size, changed) and size >= 0 <= changed
    if (
      not (known and is_same and known.circumstances in ("", circumstances))
      or known.images
      and not _is_whole(folder / _key(file), known.images)
    ):
      wanted.append((file, size, changed))
  kept = time.monotonic()
  try:
    for file, size, changed in progress_bar("Unpacking frames", "files", values=wanted):
      index[file] = dataclasses.replace(
        _unpack(data, os.path.join(root, file), folder / _key(file), circumstances),
        size=size,
        time=changed,
      )
      if time.monotonic() - kept > SECONDS_BETWEEN_SAVES:
        _write_index(folder, index)
        kept = time.monotonic()
  finally:
    if wanted:
      _write_index(folder, index)
  return {file: index[file] for file in files if index[file].images}


def _unpack(options: Data, path: str, folder: pathlib.Path, circumstances: str) -> Unpacked:
  """Writes the images of a file, all or none of them, or a note of why that fails."""
  if options.dicom_frames == ALL and _is_single_dicom(path):
    remove(folder)
    return Unpacked(0, 0)
  try:
    with as_bad_image():
      data = pathlib.Path(path).read_bytes()
      frames = open_frames(data, options.max_pixels, options.dicom_window)
    frame_numbers = range(frames.count) if options.dicom_frames == ALL else [frames.middle]
    written = 0
    with replacing(folder) as temporary:
      temporary.mkdir()
      for number, frame in enumerate(frame_numbers):
        try:
          with as_bad_image():
            image = frames.read(frame)
        except BadImage as error:
          raise BadImage(f"{frames.what.removesuffix('s')} {frame}: {error}") from error
        written += (temporary / _file_name(number)).write_bytes(_encoded(image))
    return Unpacked(0, 0, len(frame_numbers), hashlib.sha256(data).hexdigest(), written)
  except BadImage as error:
    note = NOT_UNPACKED + str(error).encode(errors="replace")
    with replacing(folder) as temporary:
      temporary.mkdir()
      (temporary / _file_name(0)).write_bytes(note)
    passes = isinstance(error.__cause__, OSError | MemoryError)
    return Unpacked(0, 0, 1, circumstances=PASSES if passes else circumstances)


def _encoded(image: np.ndarray) -> bytes:
  """Returns an image as PNG, of which `--image_bits` says nothing."""
  png = tf.io.encode_png(image, compression=1).numpy()
  return png if image.dtype == np.uint8 else saying_that_it_fills_bits(png)


def _may_be_several(root: str, file: str, choice: str) -> bool:
  """Returns whether a file is NIfTI or, if all frames are wanted, DICOM; by name or beginning."""
  name = file.lower()
  if name.endswith(NIFTI_ENDINGS):
    return True
  if choice != ALL or name.endswith(ENDINGS) and not name.endswith(DICOM_ENDINGS):
    return False
  try:
    with open(os.path.join(root, file), "rb") as stream:
      return is_dicom(stream.read(132))
  except OSError:
    return False


def _is_single_dicom(path: str) -> bool:
  """Returns whether a file is DICOM of one frame, as far as can be told."""
  if path.lower().endswith(NIFTI_ENDINGS):
    return False
  try:
    from conrec_tf.data.images import dicom  # which needs pydicom from its first line
  except ImportError:
    return False
  return dicom.frames_of_file(path) == 1


def _key(file: str) -> str:
  return hashlib.sha256(os.fsencode(file)).hexdigest()[:32]


def _file_name(number: int) -> str:
  return f"{number}.png"


def _is_whole(folder: pathlib.Path, count: int) -> bool:
  """Returns whether so many images lie in a folder, of which nobody has cleaned some away."""
  try:
    return len(os.listdir(folder)) == count
  except OSError:
    return False


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Waits until no other process unpacks into a folder, where its file system has locks."""
  with (folder / LOCK).open("w") as file:
    with contextlib.suppress(OSError):
      fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _read_index(folder: pathlib.Path) -> dict[str, Unpacked]:
  try:
    entries = json.loads((folder / INDEX).read_bytes())
    return {os.fsdecode(bytes.fromhex(file)): Unpacked(*entry) for file, entry in entries.items()}
  except (OSError, ValueError, TypeError, AttributeError):
    return {}


def _write_index(folder: pathlib.Path, index: Mapping[str, Unpacked]) -> None:
  entries = {os.fsencode(file).hex(): dataclasses.astuple(found) for file, found in index.items()}
  write_text(folder / INDEX, json.dumps(entries))
