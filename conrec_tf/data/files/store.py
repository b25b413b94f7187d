"""Reads image files from a folder, or from anything else that does what it does."""

from collections.abc import Mapping, Sequence
import concurrent.futures
import itertools
import os
from typing import Protocol

import numpy as np
import tensorflow as tf

from conrec_tf.data.files.walk import paths_below

STATS_AT_A_TIME = 256


class FileStore(Protocol):
  """Image files by name.

  Attributes:
    path: where they lie, for messages and as a key of what is known of them.
    order: `{name: (base name, digest)}` of images whose place among others isn't that of their own
      name and content, but of the file that they are part of.
  """

  path: str
  order: Mapping[str, tuple[str, bytes]]

  def stats(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns sizes in bytes and times of the last change in ns, int64 `[N]`.

    Both are -1 for no file, the time also for one that may not be read.
    """

  def locations(self, names: Sequence[str]) -> np.ndarray:
    """Returns what `read` takes, an array of N rows."""

  def read(self, location: tf.Tensor) -> tf.Tensor:
    """Returns a file's bytes in the graph, a string scalar; fails where there is none."""

  def content(self, name: str) -> bytes:
    """Returns a file's bytes.

    Raises:
      OSError: it can't be read.
    """


class Folder:
  """Image files below a folder, by their path within it."""

  def __init__(self, path: str) -> None:
    self.path = path
    self.order: Mapping[str, tuple[str, bytes]] = {}

  def stats(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Looks at files by several threads, many at a time, as each costs next to nothing."""
    paths = list(paths_below(self.path, names))
    parts = [paths[at : at + STATS_AT_A_TIME] for at in range(0, len(paths), STATS_AT_A_TIME)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
      found = itertools.chain(*pool.map(lambda part: list(map(_stat, part)), parts))
      sizes, times = np.array(list(found), np.int64).reshape(-1, 2).T
    return sizes, times

  def locations(self, names: Sequence[str]) -> np.ndarray:
    """Returns paths, object `[N]`."""
    return np.array([os.fsencode(path) for path in paths_below(self.path, names)], object)

  def read(self, location: tf.Tensor) -> tf.Tensor:
    """Reads a path."""
    return tf.io.read_file(location)

  def content(self, name: str) -> bytes:
    """Reads a file outside of the graph."""
    with open(os.path.join(self.path, name), "rb") as file:
      return file.read()


def _stat(path: str) -> tuple[int, int]:
  try:
    stat = os.stat(path)
  except OSError:
    return -1, -1
  return stat.st_size, stat.st_mtime_ns if os.access(path, os.R_OK) else -1
