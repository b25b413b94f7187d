"""Random subsets of the labels, the same for every method: shares, and a few of each class."""

import dataclasses

import numpy as np

from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError


def stratified_subset(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
  """Returns indices of a share of the examples, each class as near to its share as counts allow.

  At least one example of each class, even if that exceeds the fraction. Of several labels each,
  any examples.

  Args:
    labels: int `[N]`, or `[N, L]` of several labels.
    fraction: in (0, 1].
  """
  if labels.ndim == 2:
    return np.sort(rng.permutation(len(labels))[: max(1, round(fraction * len(labels)))])
  classes, counts = np.unique(labels, return_counts=True)
  quotas = fraction * counts
  takes = np.maximum(1, np.floor(quotas)).astype(int)
  # Largest remainders first, until the total is right.
  for index in np.argsort(takes - quotas, kind="stable"):
    if takes.sum() >= round(fraction * len(labels)):
      break
    takes[index] += takes[index] < counts[index]
  chosen = [
    rng.permutation(np.flatnonzero(labels == name))[:take]
    for name, take in zip(classes, takes, strict=True)
  ]
  return np.sort(np.concatenate(chosen))


def share_subsets(
  labels: np.ndarray, fraction: float, repetitions: int, seed: int
) -> list[np.ndarray]:
  """Returns the indices of random subsets of a share; of the whole there is one.

  They are the same for every method; see `stratified_subset`.
  """
  return [
    stratified_subset(
      labels, fraction, np.random.default_rng([seed, repetition, round(1e6 * fraction)])
    )
    for repetition in range(repetitions if fraction < 1 else 1)
  ]


def shot_subsets(
  labels: np.ndarray, count: int, repetitions: int, seed: int
) -> list[list[np.ndarray]]:
  """Returns the indices of random subsets of so many images of each class, by class.

  They are the same for every method; a class that has fewer gives all that it has.

  Args:
    labels: int `[N]`.
  """
  classes = np.unique(labels)
  subsets = []
  for repetition in range(repetitions):
    rng = np.random.default_rng([seed, repetition, count])
    subsets.append([rng.permutation(np.flatnonzero(labels == name))[:count] for name in classes])
  return subsets


def with_share_of_labels(source: DatasetSource, fraction: float, seed: int) -> DatasetSource:
  """Returns a dataset of which a share of the labelled training images is left.

  It is the first subset that linear evaluation learns from; see `share_subsets`.

  Args:
    source: images without a label and bad ones don't count.
    fraction: in (0, 1].
    seed: fixes the subset.

  Raises:
    UsageError: there are no labels.
  """
  whole = source.train.without_stand_ins.labelled
  if whole.labels is None:
    raise UsageError(
      f"dataset must have labels for train_label_fraction. Received: {source.name} without"
    )
  [chosen] = share_subsets(whole.labels(), fraction, 1, seed)
  name = f"{fraction:g} of the labels of {whole.name}"
  return dataclasses.replace(source, train=whole.part(chosen, name))
