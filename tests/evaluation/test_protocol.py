import numpy as np
import pytest

from conrec_tf.evaluation import few_labels
from conrec_tf.evaluation.label_kinds import Classes, Grades, MultiLabel
from conrec_tf.evaluation.protocol import Protocol, label_counts, predictions_by_labels
from conrec_tf.evaluation.representation_sweep import STRENGTHS

SEVERAL = Protocol(fractions=(0.1, 1.0), shots=(1, 4), repetitions=3, seed=5)


@pytest.fixture
def made(rng):
  """Embeddings of 120 and 40 images by two representations, one of which is noise; and labels."""
  labels = np.arange(160) % 3
  good = rng.normal(size=(3, 6))[labels] + 0.5 * rng.normal(size=(160, 6))
  vectors = {"noise": rng.normal(size=(160, 6)), "good": good}
  train, test = (
    {name: each[part] for name, each in vectors.items()} for part in (slice(120), slice(120, None))
  )
  return train, test, labels[:120], labels[120:]


def test_predictions_are_those_of_the_curves_of_few_labels(made):
  train, test, labels, asked = made
  kind = Classes(3)
  found, chosen = predictions_by_labels(train, test, labels, kind, SEVERAL)
  assert chosen["representation"] == "good" and chosen["strength"] in STRENGTHS
  assert {key: each.shape for key, each in found.items()} == {
    "fraction_0.1": (3, 40),
    "fraction_1": (1, 40),
    "shots_1": (3, 40),
    "shots_4": (3, 40),
  }
  accuracy = {key: (each == asked).mean(axis=1) for key, each in found.items()}
  standardise, strength = chosen["standardised"], chosen["strength"]
  split = (train["good"], labels)

  def score(learnt):
    return kind.quick(learnt, (test["good"], asked), standardise, strength)["linear_top_1_accuracy"]

  curve = few_labels.label_fraction_curve(score, split, SEVERAL.fractions, 3, seed=5)
  few = few_labels.few_shot_curve(
    lambda classes: kind.agreement(asked, classes),
    split,
    test["good"],
    SEVERAL.shots,
    3,
    standardise,
    seed=5,
  )
  for key, row in zip(found, [*curve, *few], strict=True):
    assert accuracy[key].mean() == pytest.approx(row["mean"])
  assert label_counts(SEVERAL, labels) == {
    key: row["labels"] for key, row in zip(found, [*curve, *few], strict=True)
  }


def test_grades_and_several_labels(made, rng):
  train, test, labels, asked = made
  found, _ = predictions_by_labels(train, test, labels, Grades(3), SEVERAL)
  assert Grades(3).agreement(asked, found["fraction_1"][0]) > 0.5
  bits = np.stack([labels == 0, labels > 0], axis=1).astype(int)
  protocol = Protocol((0.5, 1.0), (), 2, seed=0)
  found, _ = predictions_by_labels(train, test, bits, MultiLabel(("a", "b")), protocol)
  assert {key: each.shape for key, each in found.items()} == {
    "fraction_0.5": (2, 40, 2),
    "fraction_1": (1, 40, 2),
  }


def test_amounts_in_words():
  assert SEVERAL.amounts == {
    "shots_1": "1 image a class",
    "shots_4": "4 images a class",
    "fraction_0.1": "10 % of the labels",
    "fraction_1": "all labels",
  }
