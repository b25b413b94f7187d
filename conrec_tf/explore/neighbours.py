"""Which vectors lie nearest to which, by cosine: exactly, or of very many nearly so."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from conrec_tf.errors import UsageError

INSTALL = "pip install -r requirements-explore.txt"
MOST_EXACT = 100_000  # vectors of which all pairs are compared
LISTS_PER_ROOT = 4  # inverted lists of more, by the square root of their number
LISTS_SEARCHED = 16
TRAINED_ON = 64  # vectors for each list, of which the lists are learnt
BLOCK = 8192  # rows whose distances are computed at a time


class Neighbours(NamedTuple):
  """The nearest vectors of each query, the nearest first.

  Attributes:
    others: int32 `[Q, k]`, numbers of vectors.
    distance: float32 `[Q, k]`, 1 less the cosine, from 0 to 2.
  """

  others: np.ndarray
  distance: np.ndarray


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
  """Returns vectors float `[N, F]` as float32 with length 1; one of zeros stays as it is."""
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)


def neighbours(units: np.ndarray, count: int, seed: int) -> Neighbours:
  """Returns the nearest others of each vector.

  Of up to 100,000 vectors all pairs are compared. Of more, each with those in 16 of the lists into
  which k-means sorts them, by faiss, or in all of them where those hold too few.

  Args:
    units: float32 `[N, F]`, of length 1.
    count: how many; all others where there are fewer.
    seed: fixes the lists.

  Raises:
    UsageError: there are more than 100,000, and faiss isn't installed.
  """
  count = min(count, len(units) - 1)
  found = _search(units, units, count + 1, seed)
  # A copy of a vector may come before it, and several may leave no place for it.
  is_own = found == np.arange(len(units))[:, np.newaxis]
  own = np.where(is_own.any(axis=1), is_own.argmax(axis=1), count)
  is_other = np.arange(count + 1) != own[:, np.newaxis]
  return _measured(units, units, found[is_other].reshape(len(units), count))


def nearest(queries: np.ndarray, units: np.ndarray, count: int, seed: int) -> Neighbours:
  """Returns the nearest vectors of each query.

  Args:
    queries: float32 `[Q, F]`, of length 1.
    units: float32 `[N, F]`, of length 1.
    count: how many; all where there are fewer.
    seed: see `neighbours`, as for all else.

  Raises:
    UsageError: there are too many without faiss.
  """
  return _measured(queries, units, _search(queries, units, min(count, len(units)), seed))


def _search(queries: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Returns the numbers of the nearest vectors, int `[Q, count]`."""
  is_exact = len(queries) * len(units) <= MOST_EXACT**2
  try:
    import faiss
  except ImportError:
    if not is_exact:
      raise UsageError(
        f"embeddings must be of at most {MOST_EXACT} images without faiss ({INSTALL}). "
        f"Received: {len(queries)}"
      ) from None
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(units)
    return search.kneighbors(queries, return_distance=False)
  size = units.shape[1]
  index: Any = faiss.IndexFlatL2(size)
  if not is_exact:
    lists = round(LISTS_PER_ROOT * len(units) ** 0.5)
    index = faiss.IndexIVFFlat(index, size, lists)
    index.nprobe, index.cp.seed = LISTS_SEARCHED, seed + 1
    few = min(len(units), lists * TRAINED_ON)
    index.train(units[np.random.default_rng(seed).choice(len(units), few, replace=False)])
  index.add(units)
  found = index.search(queries, count)[1]
  short = np.flatnonzero((found < 0).any(axis=1))  # whose lists hold too few
  if len(short) and not is_exact:
    index.nprobe = lists
    found[short] = index.search(queries[short], count)[1]
  return found


def _measured(queries: np.ndarray, units: np.ndarray, index: np.ndarray) -> Neighbours:
  """Returns neighbours in order, their distances computed anew: of near ones rounding is large."""
  ordered = np.empty(index.shape, np.int32)
  distances = np.empty(index.shape, np.float32)
  for start in range(0, len(index), BLOCK):
    rows = index[start : start + BLOCK]
    near = np.empty(rows.shape, np.float32)
    for column, numbers in enumerate(rows.T):
      apart = queries[start : start + BLOCK] - units[numbers]
      near[:, column] = np.square(apart).sum(axis=1) / 2
    order = np.lexsort((rows, near))
    ordered[start : start + BLOCK] = np.take_along_axis(rows, order, axis=1)
    distances[start : start + BLOCK] = np.take_along_axis(near, order, axis=1)
  return Neighbours(ordered, distances)
