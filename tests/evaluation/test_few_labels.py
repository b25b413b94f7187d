import logging

import numpy as np
import pytest

from conrec_tf.evaluation import few_labels


def test_label_fraction_curve_averages_repeats(rng, caplog):
  split = (rng.normal(size=(300, 8)), rng.permutation(np.arange(300) % 7))
  sizes = []
  with caplog.at_level(logging.INFO, "conrec_tf"):
    rows = few_labels.label_fraction_curve(
      lambda split: sizes.append(len(split[1])) or len(sizes),
      split,
      (0.01, 0.5, 1.0),
      repetitions=3,
      seed=0,
    )
  assert sizes == [7, 7, 7, 150, 150, 150, 300]
  assert rows[1] == {
    "fraction": 0.5,
    "labels": 150,
    "repetitions": 3,
    "mean": 5.0,
    "std": pytest.approx(1.0),
  }
  assert "Label fraction 0.01 has 7 labels instead of 3" in caplog.text


def _agreement(labels):
  return lambda classes: float(np.mean(classes == labels))


@pytest.mark.parametrize("standardise", [False, True])
def test_prototypes_against_loops(rng, standardise, caplog):
  centres = rng.normal(size=(4, 6)) + 9
  labels, asked = rng.permutation(np.repeat(np.arange(4), [30, 3, 20, 20])), np.arange(40) % 4
  train = centres[labels] + 0.7 * rng.normal(size=(73, 6)), labels
  test = centres[asked] + 0.7 * rng.normal(size=(40, 6))
  with caplog.at_level("INFO", "conrec_tf"):
    [row] = few_labels.few_shot_curve(_agreement(asked), train, test, (5,), 1, standardise, seed=3)
  assert caplog.messages == [
    "5 images a class: 18 labels instead of 20, as classes with fewer images give all"
  ]
  assert row["images"] == 5 and row["labels"] == 5 + 3 + 5 + 5 and row["repetitions"] == 1
  draws = np.random.default_rng([3, 0, 5])
  prototypes = []
  scale = train[0].std(axis=0) if standardise else 1.0

  def directions(vectors):
    centred = (vectors - train[0].mean(axis=0)) / scale
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)

  for name in range(4):
    members = draws.permutation(np.flatnonzero(labels == name))[:5]
    prototypes.append(directions(train[0])[members].mean(axis=0))
  nearest = [np.linalg.norm(prototypes - one, axis=1).argmin() for one in directions(test)]
  assert row["mean"] == np.mean(nearest == asked) > 0.4 and row["std"] == 0


def test_more_shots_are_better_and_all_methods_get_the_same(rng):
  labels = np.arange(400) % 5
  vectors = rng.normal(size=(5, 8))[labels] + 1.5 * rng.normal(size=(400, 8))
  rows = [
    few_labels.few_shot_curve(
      _agreement(labels[200:]),
      (part[:200], labels[:200]),
      part[200:],
      (1, 4, 16),
      20,
      True,
      0,
    )
    for part in (vectors, vectors[:, ::-1])
  ]
  means = [row["mean"] for row in rows[0]]
  assert means == sorted(means) and means[0] < means[2] - 0.1
  assert means == pytest.approx([row["mean"] for row in rows[1]])
