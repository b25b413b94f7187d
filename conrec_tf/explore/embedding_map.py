"""A map of vectors in the plane: t-SNE of up to 100,000, and the rest placed by those."""

import logging
import os
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from conrec_tf.explore.neighbours import INSTALL, Neighbours, nearest, neighbours

logger = logging.getLogger(__name__)

MOST_FITTED = 100_000
MOST_FITTED_BY_SKLEARN = 5_000  # whose t-SNE takes far longer
FEWEST = 4  # images of a map
FEW = 5_000  # points for which more threads take longer
PERPLEXITY = 10  # a third of the neighbours that are known of each
REDUCED = 50  # numbers of a vector that scikit-learn gets
SMALLEST_SPREAD = 1e-6  # of vectors; below it is rounding alone
PLACED_BY = 5  # neighbours whose places are averaged


class Map(NamedTuple):
  """Places of vectors in the plane; axes and large distances have no meaning.

  Attributes:
    places: float32 `[N, 2]`.
    fitted: vectors that t-SNE was fitted to; others lie between their nearest of those.
    by: the library; empty where there is too little between vectors: they stand in a row then.
  """

  places: np.ndarray
  fitted: int
  by: str


def embedding_map(units: np.ndarray, found: Neighbours, seed: int) -> Map:
  """Returns a map in which neighbours lie side by side.

  By openTSNE of at most 100,000 vectors; where it isn't installed, by scikit-learn of 5,000.

  Args:
    units: float32 `[N, F]`, of length 1.
    found: their neighbours, at least thirty where there are so many.
    seed: fixes the map.
  """
  try:
    import openTSNE  # noqa: F401

    most, by = MOST_FITTED, "openTSNE"
  except ImportError:
    most, by = MOST_FITTED_BY_SKLEARN, "scikit-learn"
  few = min(len(units), most)
  if few < len(units) and most < MOST_FITTED:
    logger.info("The map is fitted to %d of %d images; for more: %s", few, len(units), INSTALL)
  chosen = np.sort(np.random.default_rng(seed).choice(len(units), few, replace=False))
  fitted = units[chosen]
  points = np.pad(np.arange(few, dtype=np.float32)[:, np.newaxis], [(0, 0), (0, 1)])
  reduced = _reduced(fitted, seed)
  if reduced is None:
    by = ""
  elif by == "openTSNE":
    if few < len(units):
      found = neighbours(fitted, found.others.shape[1], seed)
    points = _by_open_tsne(reduced[:, :2], found, seed)
  else:
    points = _by_sklearn(reduced, seed)
  places = np.empty([len(units), 2], np.float32)
  places[chosen] = points
  rest = np.setdiff1d(np.arange(len(units)), chosen)
  if len(rest):
    places[rest] = placed(nearest(units[rest], fitted, PLACED_BY, seed), places[chosen])
  return Map(places, few, by)


def placed(found: Neighbours, places: np.ndarray) -> np.ndarray:
  """Returns places between those of neighbours, float `[Q, 2]`, the nearer the more they count.

  Args:
    found: the nearest of each, among vectors whose places are known.
    places: float `[N, 2]`.
  """
  weights = 1 / np.maximum(found.distance, 1e-6)
  weights /= weights.sum(axis=1, keepdims=True)
  return (weights[..., np.newaxis] * places[found.others]).sum(axis=1)


def _reduced(fitted: np.ndarray, seed: int) -> np.ndarray | None:
  """Returns principal components, float32 `[N, D]`, the first of deviation 1; None without any.

  D is 2 at least, as a map has; vectors of one number leave the second at 0.
  """
  if len(fitted) < FEWEST:
    return None
  reduced = PCA(min(REDUCED, *fitted.shape), random_state=seed).fit_transform(fitted)
  reduced = np.pad(reduced, [(0, 0), (0, max(0, 2 - reduced.shape[1]))])
  # Distances between nearly constant embeddings are tiny, and t-SNE takes them as they come.
  spread = reduced[:, 0].std()
  return None if spread < SMALLEST_SPREAD else reduced / spread


def _by_sklearn(reduced: np.ndarray, seed: int) -> np.ndarray:
  """Returns points `[N, 2]` of vectors `[N, F]`."""
  perplexity = min(3.0 * PERPLEXITY, (len(reduced) - 1) / 3)
  with threadpool_limits(1):  # by several, sums differ in their last digits at each call
    return TSNE(init="pca", perplexity=perplexity, max_iter=500, random_state=seed).fit_transform(
      reduced
    )


def _by_open_tsne(start: np.ndarray, found: Neighbours, seed: int) -> np.ndarray:
  """Returns points `[N, 2]`; they begin at the two principal components, float `[N, 2]`."""
  from openTSNE import TSNE as OpenTSNE
  from openTSNE.affinity import PerplexityBasedNN
  from openTSNE.nearest_neighbors import PrecomputedNeighbors

  threads = 1 if len(start) < FEW else len(os.sched_getaffinity(0))
  known = PrecomputedNeighbors(found.others, np.sqrt(found.distance))
  affinities = PerplexityBasedNN(
    knn_index=known, perplexity=min(PERPLEXITY, found.others.shape[1] / 3), n_jobs=threads
  )
  fitted = OpenTSNE(n_jobs=threads, random_state=seed).fit(
    affinities=affinities, initialization=start.astype(np.float64) * 1e-4
  )
  return np.asarray(fitted)
