"""What embeddings look like without labels: their rank, their spread, dead dimensions.

They compare runs of one method on one dataset, and show a collapse; between methods they mean
little.
"""

import logging
from typing import Any

import numpy as np

from conrec_tf.metrics import DEAD_DIMENSIONS, EFFECTIVE_RANK, RANK_ME, UNIFORMITY

logger = logging.getLogger(__name__)

DEAD = 1e-3  # of the largest standard deviation
COLLAPSED = 1.5  # RankMe of embeddings that are nearly all alike; 1 is the least
PAIRED = 2000  # images, all pairs of which are looked at
EPSILON = 1e-7  # as in RankMe's definition


def label_free_measures(embeddings: np.ndarray) -> dict[str, float]:
  """Returns measures of embeddings float `[N, F]`, by name.

  RankMe (arXiv 2210.02885, equation 1) is in [1, min(N, F)], and so is the effective rank (Roy and
  Vetterli 2007), which is that of centred embeddings; uniformity (arXiv 2005.10242) is at most 0,
  the lower the more evenly embeddings lie on the sphere; dead dimensions are a share.
  """
  embeddings = embeddings.astype(np.float64)
  deviations = embeddings.std(axis=0)
  return {
    RANK_ME: rank_me(embeddings),
    EFFECTIVE_RANK: rank_me(embeddings - embeddings.mean(axis=0)),
    UNIFORMITY: uniformity(
      np.random.default_rng(0).permutation(embeddings)[:PAIRED]  # a split may be sorted by class
    ),
    DEAD_DIMENSIONS: float(np.mean(deviations <= DEAD * deviations.max())),
  }


def rank_me(embeddings: np.ndarray) -> float:
  """Returns the exponential of the entropy of singular values, as shares of their sum."""
  gram = (
    embeddings.T @ embeddings
    if len(embeddings) > len(embeddings.T)
    else (embeddings @ embeddings.T)
  )
  values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
  shares = values / max(values.sum(), EPSILON) + EPSILON
  return float(np.exp(-np.sum(shares * np.log(shares))))


def uniformity(embeddings: np.ndarray) -> float:
  """Returns the logarithm of the mean over pairs of exp(-2 * squared distance), on the sphere."""
  lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
  directions = embeddings / np.maximum(lengths, EPSILON)
  cosines = (directions @ directions.T)[np.triu_indices(len(directions), 1)]
  return float(np.log(np.mean(np.exp(-4.0 * (1.0 - cosines)))))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
  """Returns the mean squared distance of two views' embeddings on the sphere (arXiv 2005.10242).

  It is in [0, 4]; 0 where views of an image are embedded alike.

  Args:
    first, second: embeddings float `[N, F]` of either view.
  """
  directions = [
    views / np.maximum(np.linalg.norm(views, axis=1, keepdims=True), EPSILON)
    for views in (first.astype(np.float64), second.astype(np.float64))
  ]
  return float(np.mean(np.sum((directions[0] - directions[1]) ** 2, axis=1)))


def warn_of_collapse(result: dict[str, Any]) -> None:
  """Warns when the embeddings of a trained network are nearly all alike."""
  rank = result.get(RANK_ME, np.inf)
  if rank < COLLAPSED:
    logger.warning(
      "Embeddings have collapsed: RankMe is %.2f, where 1 means that all are alike; look at the "
      "losses, try a lower learning rate or a higher temperature",
      rank,
    )
