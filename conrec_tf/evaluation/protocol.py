"""One protocol for any network: what is predicted from its embeddings with few labels and all."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from conrec_tf.data.label_subsets import share_subsets, shot_subsets
from conrec_tf.evaluation.few_labels import directions, nearest_prototypes, shots_words
from conrec_tf.evaluation.label_kinds import LabelKind
from conrec_tf.evaluation.representation_sweep import choices

ALL_LABELS = 1.0  # as a share


@dataclasses.dataclass(frozen=True)
class Protocol:
  """What a network is measured at.

  Attributes:
    fractions: shares of the training labels that logistic regression learns from, in (0, 1].
    shots: images of each class that prototypes are made of; empty where images have several labels.
    repetitions: random subsets of each but the whole.
    seed: fixes the subsets, which are the same for every network, and the held-out fifth.
  """

  fractions: tuple[float, ...]
  shots: tuple[int, ...]
  repetitions: int
  seed: int

  @property
  def amounts(self) -> dict[str, str]:
    """The amounts of labels, as keys, and in words."""
    fractions = {
      fraction_key(each): f"{100 * each:g} % of the labels" if each < ALL_LABELS else "all labels"
      for each in self.fractions
    }
    return {shots_key(each): shots_words(each) for each in self.shots} | fractions


def fraction_key(fraction: float) -> str:
  """Returns the key of a share of the labels."""
  return f"fraction_{fraction:g}"


def shots_key(count: int) -> str:
  """Returns the key of so many images of each class."""
  return f"shots_{count}"


def label_counts(protocol: Protocol, labels: np.ndarray) -> dict[str, int]:
  """Returns how many labels each amount is, by key.

  Args:
    labels: of the training images, int `[N]`, or 0 and 1 of several labels, `[N, L]`.
  """
  counts = {}
  for fraction in protocol.fractions:
    counts[fraction_key(fraction)] = len(share_subsets(labels, fraction, 1, protocol.seed)[0])
  for count in protocol.shots:
    members = shot_subsets(labels, count, 1, protocol.seed)[0]
    counts[shots_key(count)] = sum(map(len, members))
  return counts


def predictions_by_labels(
  train: Mapping[str, np.ndarray],
  test: Mapping[str, np.ndarray],
  labels: np.ndarray,
  kind: LabelKind,
  protocol: Protocol,
  groups: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Predicts the labels of the test images with each amount of training labels.

  How the network is read (which representation, raw or standardised, with what regularisation) is
  chosen on a fifth of the training labels, held out; of the test images no label is known here.

  Args:
    train: embeddings float `[M, F]` of the training images, by name of the representation.
    test: embeddings float `[N, F]` of the test images, by the same names.
    labels: of the training images, int `[M]`, or 0 and 1 of several labels, `[M, L]`.
    kind: of the labels.
    groups: of the training images, each on one side of the fifth, object `[M]`, or None.

  Returns:
    What is predicted from each of R subsets by the amount's key, int `[R, N]`, or of several labels
    probabilities float `[R, N, L]`; and what was chosen, as `choices` has it.
  """
  rows = choices(kind.score, dict(train), labels, protocol.seed, groups)
  [chosen] = [row for row in rows if row["chosen"]]
  vectors, asked = train[chosen["representation"]], test[chosen["representation"]]
  subsets = (protocol.repetitions, protocol.seed)
  found = {}
  for fraction in protocol.fractions:
    outputs = [
      kind.outputs(
        (vectors[part], labels[part]),
        asked,
        chosen["standardised"],
        chosen["strength"],
      )
      for part in share_subsets(labels, fraction, *subsets)
    ]
    found[fraction_key(fraction)] = np.stack([kind.predicted(each) for each in outputs])
  if protocol.shots:
    known, asked = directions(vectors, asked, chosen["standardised"])
    classes = np.unique(labels)
    for count in protocol.shots:
      nearest = [
        nearest_prototypes(known, asked, members)
        for members in shot_subsets(labels, count, *subsets)
      ]
      found[shots_key(count)] = np.stack([classes[each] for each in nearest])
  return found, chosen
