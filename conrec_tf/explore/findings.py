"""All that is found out about embedded images, one part after the other."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import logging
import time

import numpy as np

from conrec_tf.config import Explore
from conrec_tf.data.duplicates import Duplicate
from conrec_tf.explore import label_errors
from conrec_tf.explore.clusters import Clusters, cluster_count, clusters
from conrec_tf.explore.coreset import Coreset, coreset
from conrec_tf.explore.duplicates import Pair, near_duplicates
from conrec_tf.explore.embedding_map import Map, embedding_map
from conrec_tf.explore.label_errors import Check, Suspects
from conrec_tf.explore.neighbours import Neighbours, neighbours, unit_vectors
from conrec_tf.explore.outliers import isolation

logger = logging.getLogger(__name__)

NEIGHBOURS = 30  # that are known of each image


@dataclasses.dataclass(frozen=True)
class Findings:
  """What was found out about N images, by their numbers.

  Attributes:
    neighbours: of each image.
    map: its place.
    clusters: its group.
    isolated: float32 `[N]`, how far it lies from others, in units of the median.
    pairs: images that are nearly the same.
    suspects: labels that may be wrong; None where images don't have one label each.
    check: how many changed labels are found; None as well.
    next: images to label.
  """

  neighbours: Neighbours
  map: Map
  clusters: Clusters
  isolated: np.ndarray
  pairs: Sequence[Pair]
  suspects: Suspects | None
  check: Check | None
  next: Coreset


def explored(
  vectors: np.ndarray,
  labels: np.ndarray | None,
  classes: int,
  options: Explore,
  by_hash: Sequence[Duplicate],
  seed: int,
) -> Findings:
  """Finds all that `Findings` holds, and says how long each part took.

  Args:
    vectors: float `[N, F]`.
    labels: int `[N]`, -1 where an image has none, or 0 and 1 of several labels, `[N, L]`; None
      without labels.
    classes: how many there are.
    options: how many clusters, and images to label next.
    by_hash: images that look like an earlier one.
    seed: fixes all that is drawn.

  Raises:
    UsageError: there are more than 100,000 images without faiss.
  """
  with _timed("neighbours"):
    units = unit_vectors(vectors)
    found = neighbours(units, NEIGHBOURS, seed)
  with _timed("map"):
    drawn = embedding_map(units, found, seed)
  with _timed("clusters"):
    count = options.num_clusters or cluster_count(len(units), classes)
    groups = clusters(units, count, seed)
  with _timed("outliers, duplicates"):
    isolated = isolation(found.distance)
    pairs = near_duplicates(units, found, by_hash)
  suspects = check = None
  if labels is not None and labels.ndim == 1 and len(np.unique(labels[labels >= 0])) > 1:
    with _timed("label errors"):
      suspects = label_errors.suspects(vectors, labels, classes, found, seed)
      check = label_errors.check(vectors, labels, classes, found, seed)
  with _timed("label next"):
    known = labelled(labels)
    if len(known) == len(units):
      known = known[:0]
    chosen = coreset(units, options.label_next, known, seed)
  return Findings(found, drawn, groups, isolated, pairs, suspects, check, chosen)


def labelled(labels: np.ndarray | None) -> np.ndarray:
  """Returns which images have a label, int `[M]`; of several labels all have."""
  if labels is None:
    return np.zeros(0, np.int64)
  return np.arange(len(labels)) if labels.ndim > 1 else np.flatnonzero(labels >= 0)


@contextlib.contextmanager
def _timed(part: str) -> Iterator[None]:
  began = time.monotonic()
  yield
  logger.info("  %-20s %.1f s", part, time.monotonic() - began)
