"""Evaluation with few labels: shares of the training labels, and a few images of each class."""

from collections.abc import Callable, Sequence
import logging
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import StandardScaler, normalize

from conrec_tf.data.label_subsets import share_subsets, shot_subsets
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.evaluation.probes import Labelled

logger = logging.getLogger(__name__)


def directions(
  train: np.ndarray, test: np.ndarray, standardise: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Returns embeddings, centred by the mean of those of all training images, of length 1.

  Args:
    train, test: float `[M, F]` and `[N, F]`.
    standardise: whether they are also divided by their deviation before.
  """
  scaler = StandardScaler(with_std=standardise).fit(train)
  known, asked = (normalize(scaler.transform(part)) for part in (train, test))
  return known, asked


def nearest_prototypes(
  known: np.ndarray, asked: np.ndarray, members: Sequence[np.ndarray]
) -> np.ndarray:
  """Returns of each embedding which class' mean is nearest, int `[N]`, in the order of `members`.

  Args:
    known, asked: see `directions`.
    members: indices of a few of `known`, by class.
  """
  prototypes = np.stack([known[indices].mean(axis=0) for indices in members])
  return pairwise_distances_argmin(asked, prototypes)


def label_fraction_curve(
  score: Callable[[Labelled], float],
  train: Labelled,
  fractions: Sequence[float],
  repetitions: int,
  seed: int,
) -> list[dict[str, Any]]:
  """Returns rows of how a score grows with the number of labels (paper, Figure 2).

  Args:
    score: function of a training split.
    fractions: shares in (0, 1].
    repetitions: random subsets of each; the whole is measured once.
    seed: fixes the subsets, which so are the same for every method.
  """
  rows = []
  for fraction in fractions:
    subsets = share_subsets(train[1], fraction, repetitions, seed)
    scores = [score((train[0][chosen], train[1][chosen])) for chosen in subsets]
    say_if_more(fraction, len(subsets[0]), len(train[1]))
    rows.append({"fraction": float(fraction), **_summary(len(subsets[0]), scores)})
  return rows


def say_if_more(fraction: float, labels: int, every: int) -> None:
  """Logs where a share of the labels holds more of them than it says, for want of fewer.

  Args:
    labels: that it holds; see `stratified_subset`.
    every: labels that there are.
  """
  if labels > round(fraction * every):
    logger.info(
      "Label fraction %g has %d labels instead of %d, one for each class at least",
      fraction,
      labels,
      round(fraction * every),
    )


def shots_words(count: int) -> str:
  """Returns an amount of labels in words: so many images of each class."""
  return f"{count} {'image' if count == 1 else 'images'} a class"


def say_if_fewer(images: int, labels: int, classes: int) -> None:
  """Logs where so many images of each class are fewer, as a class doesn't have them.

  Args:
    labels: that there are of these images.
  """
  if labels < images * classes:
    logger.info(
      "%s: %d labels instead of %d, as classes with fewer images give all",
      shots_words(images),
      labels,
      images * classes,
    )


def few_shot_curve(
  score: Callable[[np.ndarray], float],
  train: Labelled,
  test: np.ndarray,
  shots: Sequence[int],
  repetitions: int,
  standardise: bool,
  seed: int,
) -> list[dict[str, Any]]:
  """Returns rows of what prototypes of a few images of each class reach (arXiv 1911.04623).

  A prototype is the mean of a class' embeddings; an image belongs to the nearest one. Embeddings
  are centred by the mean of all training images, whose labels that doesn't need, and brought to
  length 1.

  Args:
    score: function of the classes int `[N]` predicted for the test images.
    test: embeddings float `[N, F]`.
    shots: images of each class; a class that has fewer gives all that it has.
    repetitions: random subsets of each.
    standardise: whether embeddings are also divided by their deviation before.
  """
  known, asked = directions(train[0], test, standardise)
  rows = []
  classes = np.unique(train[1])
  for count in shots:
    subsets = shot_subsets(train[1], count, repetitions, seed)
    scores = [score(classes[nearest_prototypes(known, asked, each)]) for each in subsets]
    labels = sum(map(len, subsets[0]))
    say_if_fewer(count, labels, len(classes))
    rows.append({"images": count, **_summary(labels, scores)})
  return rows


def _summary(labels: int, scores: Sequence[float]) -> dict[str, Any]:
  mean, deviation = mean_and_deviation(scores)
  return {"labels": labels, "repetitions": len(scores), "mean": mean, "std": deviation}
