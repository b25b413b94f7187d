"""Labels that may be wrong: neighbours and a classifier that hasn't seen them name another one."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.explore.neighbours import Neighbours

FOLDS = 5
VOTERS = 10  # neighbours that vote
MOST_FITTED = 20_000  # images that a classifier learns from, and of which labels are changed
BLOCK = 8192  # images that are told at a time
CHANGED = 0.03  # share of labels that are changed to see how many of them are found


class Suspects(NamedTuple):
  """Images whose label may be wrong, the most likely first.

  Attributes:
    image: int `[S]`.
    suggested: int `[S]`, the label that both name.
    score: float `[S]`, from 0 to 2: by how much more likely both find it than the label.
  """

  image: np.ndarray
  suggested: np.ndarray
  score: np.ndarray


class Check(NamedTuple):
  """How many labels that were changed on purpose are found.

  Attributes:
    changed: how many were.
    found: share of them that is suspected, of `Suspects`.
    by_chance: share of all images that is: what a list as long, made at random, would find.
  """

  changed: int
  found: float
  by_chance: float


def suspects(
  vectors: np.ndarray, labels: np.ndarray, count: int, found: Neighbours, seed: int
) -> Suspects:
  """Returns images to which neighbours and a cross-fitted classifier give one other label.

  Neighbours give a label if none has more of their votes, and the image's own has less.
  The classifier is that of linear evaluation, on standardised vectors, in five folds: each image
  is told by one that learnt from the others.

  Args:
    vectors: float `[N, F]`.
    labels: int `[N]`, below `count`; -1 where an image has none.
    count: classes.
    found: the neighbours of each image, of which ten vote, as far as they have labels.
    seed: fixes the folds.
  """
  parts = []
  for index, probabilities in cross_fitted(vectors, labels, count, seed):
    votes = neighbour_votes(labels, count, found.others[index, :VOTERS])
    rows, told, most = np.arange(len(index)), probabilities.argmax(axis=1), votes.max(axis=1)
    # Of ties none depends on the order of classes; where no neighbour has a label, none is named.
    rows = np.flatnonzero((votes[rows, told] == most) & (votes[rows, labels[index]] < most))
    index, told, both = index[rows], told[rows], (votes + probabilities)[rows]
    rows = np.arange(len(rows))
    parts.append((index, told, both[rows, told] - both[rows, labels[index]]))
  if not parts:
    return Suspects(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
  image, suggested, score = map(np.concatenate, zip(*parts, strict=True))
  order = np.lexsort((image, -score))
  return Suspects(image[order], suggested[order], score[order])


def neighbour_votes(labels: np.ndarray, count: int, index: np.ndarray) -> np.ndarray:
  """Returns the share of each label among the neighbours that have one, float32 `[N, count]`."""
  shares = np.zeros([len(index), count], np.float32)
  for column in labels[index].T:
    rows = np.flatnonzero(column >= 0)
    shares[rows, column[rows]] += 1
  return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)


def cross_fitted(
  vectors: np.ndarray, labels: np.ndarray, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields images with labels, and how likely each label is to classifiers that saw others alone.

  A classifier learns from at most 20,000 images. Those of a fold are left out where all others are
  of one class. See `suspects` for what it takes.

  Yields:
    int `[n]` and float `[n, count]`, of some images at a time.
  """
  rng = np.random.default_rng(seed)
  known = rng.permutation(np.flatnonzero(labels >= 0))
  for fold in range(FOLDS):
    others = np.setdiff1d(known, known[fold::FOLDS])
    if len(others) > MOST_FITTED:
      others = np.sort(rng.choice(others, MOST_FITTED, replace=False))
    if len(np.unique(labels[others])) < 2:
      continue
    classifier = Classes(count).fit((vectors[others], labels[others]), standardise=True)
    held = known[fold::FOLDS]
    for start in range(0, len(held), BLOCK):
      index = held[start : start + BLOCK]
      yield index, classifier.probabilities(vectors[index])


def check(
  vectors: np.ndarray, labels: np.ndarray, count: int, found: Neighbours, seed: int
) -> Check:
  """Changes 3 % of the labels at random, and tells how many of them are suspected then.

  Each gets the label of another image that is of another class, of which there must be two. See
  `suspects` for what it takes.
  """
  rng = np.random.default_rng(seed)
  known = np.flatnonzero(labels >= 0)
  chosen = rng.choice(known, min(len(known), max(1, round(CHANGED * len(known)))), replace=False)
  changed = labels.copy()
  same = chosen
  while len(same):
    changed[same] = rng.choice(labels[known], len(same))
    same = same[changed[same] == labels[same]]
  images = suspects(vectors, changed, count, found, seed).image
  return Check(len(chosen), float(np.isin(chosen, images).mean()), len(images) / max(1, len(known)))
