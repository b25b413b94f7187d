"""Images of Parquet files, unpacked once into a file each, where every image has an offset.

A row of a Parquet file can't be reached without unpacking all rows around it. So the images of a
file are copied, as they are encoded, one after the other: `<images><sizes, int64 [N]><N, int64>`.
Copies lie in `scan.cache_folder()` and are known by the file's real path, size and time of
change; one whose file has changed since is replaced.
"""

from collections.abc import Iterator, Sequence
import contextlib
import hashlib
import logging
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from conrec_tf.data.files.scan import cache_folder
from conrec_tf.data.images.bad_image import reason
from conrec_tf.errors import UsageError, as_usage_error
from conrec_tf.files import remove_leftovers, replacing
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

VERSION = 1  # of the copies
ROWS_AT_ONCE = 64
BYTES_AT_ONCE = 2**20  # of a column that is read, which bounds the memory with the largest image
NUMBER = np.dtype("<i8")


class Copy(NamedTuple):
  """Copy of a file's images: its path, and int64 `[N]` by row, bytes."""

  path: str
  offsets: np.ndarray
  sizes: np.ndarray


@contextlib.contextmanager
def parquet_file(path: str) -> Iterator[Any]:
  """Opens a Parquet file, a `pyarrow.parquet.ParquetFile`.

  Raises:
    UsageError: it can't be read or is damaged, here or within the context.
  """
  with as_usage_error("dataset must be of a kind whose library is there", "parquet", ImportError):
    from pyarrow import parquet
  with _as_damaged(path):
    with parquet.ParquetFile(
      path, buffer_size=BYTES_AT_ONCE, pre_buffer=False, page_checksum_verification=True
    ) as file:
      yield file


@contextlib.contextmanager
def _as_damaged(path: str) -> Iterator[None]:
  """Turns whatever reading a Parquet file raises into a `UsageError` that names it."""
  try:
    yield
  except UsageError:
    raise
  except Exception as error:  # of Arrow, zlib and others, which have no common class
    raise UsageError(
      f"data_dir must hold Parquet files that are whole ({reason(error)}). Received: {path}"
    ) from error


def unpacked(paths: Sequence[str], column: str) -> list[Copy]:
  """Returns copies of the images of Parquet files, of which those that aren't there yet are made.

  Raises:
    UsageError: a file is damaged or names images without holding them, or there is no room.
  """
  found = [_known_copy(_copy_path(path, column)) for path in paths]
  missing = [path for path, copy in zip(paths, found, strict=True) if copy is None]
  if missing:
    count, size = 0, 0
    for path in missing:
      with parquet_file(path) as file:
        count += file.metadata.num_rows
        size += _column_bytes(file.metadata, column)
    logger.info(
      "Unpacking %d images of %d Parquet files, which takes about %.0f MB of disk in %s; at the "
      "next start they are there",
      count,
      len(missing),
      size / 1e6,
      cache_folder(),
    )
    with progress_bar("Unpacking images", "images", count) as bar:
      for path in missing:
        _unpack(path, column, bar)
  return [
    copy or _made_copy(path, _copy_path(path, column))
    for path, copy in zip(paths, found, strict=True)
  ]


def _column_bytes(metadata: Any, column: str) -> int:
  """Returns how many bytes a column unpacks to, about, as the file's metadata say."""
  groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
  chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
  wanted = (column, f"{column}.bytes")
  return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in wanted)


def _copy_path(path: str, column: str) -> pathlib.Path:
  """Returns where the copy of a file's images lies; others of that file differ after the dash."""
  stat = os.stat(path)
  file = _short_digest(os.fsencode(os.path.realpath(path)), column.encode())
  state = _short_digest(f"{VERSION} {stat.st_size} {stat.st_mtime_ns}".encode())
  return cache_folder() / f"parquet-{file}-{state}.images"


def _short_digest(*parts: bytes) -> str:
  return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _known_copy(path: pathlib.Path) -> Copy | None:
  """Returns a copy, or None where there is none that is whole."""
  try:
    with path.open("rb") as file:
      end = file.seek(-NUMBER.itemsize, os.SEEK_END)
      count = int(np.frombuffer(file.read(), NUMBER)[0])
      start = end - count * NUMBER.itemsize
      if not 0 <= start <= end:
        return None
      file.seek(start)
      sizes = np.frombuffer(file.read(count * NUMBER.itemsize), NUMBER).astype(np.int64)
  except (OSError, ValueError):
    return None
  if sizes.sum() != start:
    return None
  return Copy(str(path), np.cumsum(sizes) - sizes, sizes)


def _made_copy(path: str, copy_path: pathlib.Path) -> Copy:
  """Returns the copy that was just made of a file."""
  copy = _known_copy(copy_path)
  if copy is None:
    raise UsageError(
      "data_dir must hold Parquet files, and XDG_CACHE_HOME copies of their images, that stay as "
      f"they are. Received: {path}, which has changed, or whose copy {copy_path} is gone"
    )
  return copy


def _unpack(path: str, column: str, bar: tqdm) -> None:
  """Copies the images of a file, whole or not at all, in the place of older copies of that file."""
  target, stat = _copy_path(path, column), os.stat(path)
  folder, sizes = target.parent, list[int]()
  with parquet_file(path) as file:
    images = _images(file, path, column)
    room = "XDG_CACHE_HOME must name a folder with room for unpacked images"
    with as_usage_error(room, f"{folder}, for {path}", OSError):
      folder.mkdir(parents=True, exist_ok=True)
      remove_leftovers(folder)
      with replacing(target) as temporary:
        with temporary.open("wb") as copy:
          for image in images:
            copy.write(image)
            sizes.append(len(image))
            bar.update()
          copy.write(np.array([*sizes, len(sizes)], NUMBER).tobytes())
        os.utime(temporary, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
  for other in folder.glob(f"{target.name.rpartition('-')[0]}-*"):
    if other != target:
      with contextlib.suppress(OSError):
        other.unlink()


def _images(file: Any, path: str, column: str) -> Iterator[bytes]:
  """Yields the encoded images of a file in its order; nothing where one is missing."""
  row = 0
  with _as_damaged(path):  # here, as what writing raises is another fault
    batches = file.iter_batches(ROWS_AT_ONCE, columns=[column], use_threads=False)
    for batch in batches:
      for value in batch.column(0):
        image = value.as_py()
        if isinstance(image, dict):
          if image.get("bytes") is None and image.get("path"):
            raise UsageError(
              f"data_dir must hold images, and not their paths, in column {column}; the library "
              "datasets puts them in where Dataset.to_parquet or push_to_hub writes them. "
              f"Received: {image['path']} alone in row {row} of {path}"
            )
          image = image.get("bytes")
        yield image or b""
        row += 1
  if row != file.metadata.num_rows:
    raise UsageError(
      "data_dir must hold Parquet files that are whole. "
      f"Received: {row} of {file.metadata.num_rows} rows in {path}"
    )
