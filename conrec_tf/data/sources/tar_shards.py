"""Files in tar archives that aren't compressed, each reached by its offset."""

from collections.abc import Mapping, Sequence
import os
import posixpath
import tarfile
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

LINKS_AT_MOST = 40  # from one to the next, as Linux follows them
BYTES_AT_ONCE = 2**20


class ArchivedFile(NamedTuple):
  """A file in an archive.

  Attributes:
    name: within the archive.
    offset: of what is stored of it, bytes.
    size: of the file, bytes.
    pieces: of a sparse file, where each piece that is stored begins in it, and its bytes; all else
      is zeros. None where all is stored.
  """

  name: str
  offset: int
  size: int
  pieces: tuple[tuple[int, int], ...] | None = None


def archived_files(path: str) -> tuple[list[ArchivedFile], list[str]]:
  """Looks through an archive; links within it, hard and symbolic ones, are the files they lead to.

  Returns:
    The files in the order of the archive, and the names of what else it holds but folders: devices,
    and links that lead to no file of it.

  Raises:
    tarfile.TarError, OSError: it isn't an archive, is compressed, or can't be read.
    ValueError: it was cut or damaged, or other archives follow in the same file.
  """
  with tarfile.open(path, "r:") as archive:
    members = archive.getmembers()
    _check_end(path, archive.offset)
  by_name = {posixpath.normpath(member.name): member for member in members}
  files, others = list[ArchivedFile](), list[str]()
  for member in members:
    if found := _followed(member, by_name):
      sparse: Any = found.sparse  # pairs, whatever typeshed says
      pieces = None if sparse is None else tuple(sparse)
      files.append(ArchivedFile(member.name, found.offset_data, found.size, pieces))
    elif not member.isdir():
      others.append(member.name)
  return files, others


def _followed(
  member: tarfile.TarInfo, by_name: Mapping[str, tarfile.TarInfo]
) -> tarfile.TarInfo | None:
  """Returns the file that a member is or leads to, or None."""
  found: tarfile.TarInfo | None = member
  for _ in range(LINKS_AT_MOST):
    if not found or not (found.issym() or found.islnk()):
      break
    folder = posixpath.dirname(found.name) if found.issym() else ""
    found = by_name.get(posixpath.normpath(posixpath.join(folder, found.linkname)))
  return found if found and found.isfile() else None


def _check_end(path: str, offset: int) -> None:
  """Raises ValueError unless zeros, at least a block of them, are all that follows the members.

  `tarfile` takes an archive that was cut between two files, or that is damaged from one on, for one
  that ends there.
  """
  with open(path, "rb") as file:
    file.seek(offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
      raise ValueError(f"it is cut or damaged at byte {offset}")
    while data := file.read(BYTES_AT_ONCE):
      if data.count(0) < len(data):
        raise ValueError("more follows its end, as in archives put together by cat")


class TarShards:
  """Files in tar archives by name; see `FileStore`.

  Args:
    path: as the user gave it: a folder, or a pattern.
    shards: paths of the archives.
    files: by name, each with the number of its archive.
  """

  def __init__(
    self, path: str, shards: Sequence[str], files: Mapping[str, tuple[int, ArchivedFile]]
  ) -> None:
    self.path = path
    self.order: Mapping[str, tuple[str, bytes]] = {}
    self._shards, self._files = shards, files
    self._times = [os.stat(shard).st_mtime_ns for shard in shards]
    self._pieces = {(shard, file.offset): file.pieces for shard, file in files.values()}
    self._descriptors: dict[int, int] = {}  # of archives, opened when first read

  def stats(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns sizes of the files and times of their archives."""
    files = [self._files[name] for name in names]
    sizes = np.array([file.size for _, file in files], np.int64)
    return sizes, np.array([self._times[shard] for shard, _ in files], np.int64)

  def locations(self, names: Sequence[str]) -> np.ndarray:
    """Returns the archive's number, offset and size of each, int64 `[N, 3]`."""
    files = [self._files[name] for name in names]
    locations = [(shard, file.offset, file.size) for shard, file in files]
    return np.array(locations, np.int64).reshape(-1, 3)

  def read(self, location: tf.Tensor) -> tf.Tensor:
    """Reads a part of an archive."""
    data = tf.numpy_function(lambda found: self._part(*found.tolist()), [location], tf.string)
    return tf.ensure_shape(data, [])

  def content(self, name: str) -> bytes:
    """Reads a file outside of the graph."""
    shard, file = self._files[name]
    return self._part(shard, file.offset, file.size)

  def _part(self, shard: int, offset: int, size: int) -> bytes:
    if shard not in self._descriptors:
      self._descriptors[shard] = os.open(self._shards[shard], os.O_RDONLY)
    descriptor, pieces = self._descriptors[shard], self._pieces[shard, offset]
    if pieces is None:
      return self._read(descriptor, size, offset)
    data = bytearray(size)
    for start, count in pieces:
      data[start : start + count] = self._read(descriptor, count, offset)
      offset += count
    return bytes(data)

  def _read(self, descriptor: int, count: int, offset: int) -> bytes:
    data = os.pread(descriptor, count, offset)
    if len(data) < count:
      raise OSError(f"a file of {self.path} has been cut")
    return data
