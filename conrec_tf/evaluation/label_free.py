"""Measures without labels: of embeddings, of two views of an image, of the losses.

Those of embeddings compare runs of one method on one dataset, and show a collapse; between methods
they mean little.
"""

from collections.abc import Callable, Iterable
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.metrics import (
  ALIGNMENT,
  DEAD_DIMENSIONS,
  EFFECTIVE_RANK,
  EVAL,
  EVAL_TOTAL_LOSS,
  RANK_ME,
  SHARPNESS,
  UNIFORMITY,
)
from conrec_tf.models import ConRec

logger = logging.getLogger(__name__)

DEAD = 1e-3  # of the largest standard deviation
COLLAPSED = 1.5  # RankMe of embeddings that are nearly all alike; 1 is the least
PAIRED = 2000  # images, all pairs of which are looked at
EPSILON = 1e-7  # as in RankMe's definition
VIEWED = 512  # images whose views are enough for `view_measures`
LEAST_ENERGY = 1e-12  # of even images

# From a batch to the loss and `{metric name: scalar}`.
LossFn = Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, dict[str, tf.Tensor]]]


def label_free_measures(embeddings: np.ndarray) -> dict[str, float]:
  """Returns measures of embeddings float `[N, F]`, by name.

  RankMe (arXiv 2210.02885, equation 1) is in [1, min(N, F)], and so is the effective rank (Roy and
  Vetterli 2007), which is that of centred embeddings; uniformity (arXiv 2005.10242) is at most 0,
  the lower the more evenly embeddings lie on the sphere; dead dimensions are a share. Of a single
  image there are none.
  """
  if len(embeddings) < 2:
    return {}
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
  directions = _on_sphere(embeddings)
  cosines = (directions @ directions.T)[np.triu_indices(len(directions), 1)]
  return float(np.log(np.mean(np.exp(-4.0 * (1.0 - cosines)))))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
  """Returns the mean squared distance of two views' embeddings on the sphere (arXiv 2005.10242).

  It is in [0, 4]; 0 where views of an image are embedded alike, both float `[N, F]`.
  """
  apart = _on_sphere(first.astype(np.float64)) - _on_sphere(second.astype(np.float64))
  return float(np.mean(np.sum(apart**2, axis=1)))


def _on_sphere(embeddings: np.ndarray) -> np.ndarray:
  """Returns embeddings float `[N, F]` with length 1."""
  return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), EPSILON)


def warn_of_collapse(result: dict[str, Any]) -> None:
  """Warns when the embeddings of a trained network are nearly all alike."""
  rank = result.get(RANK_ME, np.inf)
  if rank < COLLAPSED:
    logger.warning(
      "Embeddings have collapsed: RankMe is %.2f, where 1 means that all are alike; look at the "
      "losses, try a lower learning rate or a higher temperature",
      rank,
    )


def view_measures(
  model: ConRec, batches: Iterable[dict[str, tf.Tensor]], layer: int
) -> dict[str, float]:
  """Measures how far apart clean views of an image are embedded, and how sharp it reconstructs.

  Args:
    batches: of two views, as `validation_batches` makes them.
    layer: what is embedded; see `ConRec.representation`.

  Returns:
    `{name: number}` of `alignment`, and with a decoder of the gradient energy of reconstructions
    of corrupted views over that of the views themselves: 1 where they are as sharp.
  """
  embeddings: list[list[np.ndarray]] = [[], []]
  energies: list[list[np.ndarray]] = [[], []]
  for batch in batches:
    for side, images in zip(embeddings, tf.unstack(batch["target"], axis=1), strict=True):
      side.append(model.embed(images, layer=layer).numpy())
    if model.decoder:
      made = model.reconstruct(batch["corrupted"][:, 0])
      for side, images in zip(energies, (made, batch["target"][:, 0]), strict=True):
        side.append(gradient_energy(images.numpy()))
  measures = {ALIGNMENT: alignment(*map(np.concatenate, embeddings))}
  if model.decoder:
    restored, whole = (float(np.mean(np.concatenate(side))) for side in energies)
    measures[SHARPNESS] = restored / max(whole, LEAST_ENERGY)
  return measures


def gradient_energy(images: np.ndarray) -> np.ndarray:
  """Returns the mean squared difference of pixels from the next ones, down and to the right.

  Of images float `[B, H, W, C]` it is float `[B]`; 0 for an even image.
  """
  return sum(np.mean(np.square(np.diff(images, axis=axis)), axis=(1, 2, 3)) for axis in (1, 2))


def validation_losses(loss_fn: LossFn, batches: Iterable[dict[str, tf.Tensor]]) -> dict[str, float]:
  """Returns means of the pre-training losses over batches, for data without labels.

  Args:
    loss_fn: from a batch to the loss, of a network in inference mode, and `{metric name: scalar}`.
    batches: `{corrupted, target}`, each float32 `[B, 2, H, W, C]`.
  """

  @tf.function(autograph=False)
  def measure(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    total, metrics = loss_fn(batch)
    return {EVAL_TOTAL_LOSS: total, **metrics}

  rows = [measure(batch) for batch in batches]
  return {
    name.replace("train/", EVAL): float(np.mean([row[name] for row in rows])) for name in rows[0]
  }
