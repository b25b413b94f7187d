import numpy as np
import pytest

from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.linear_evaluation import held_out_labels
from conrec_tf.evaluation.representation_sweep import STRENGTHS, sweep


def accuracy(train, test, standardise, strength):
  return Classes(4).quick(train, test, standardise, strength)["linear_top_1_accuracy"]


@pytest.fixture
def made(rng):
  labels = np.arange(300) % 4
  good = rng.normal(size=(4, 10))[labels] + rng.normal(size=(300, 10))
  wide = np.concatenate([good, 3 * rng.normal(size=(300, 60))], axis=1)
  return {"good": good, "noise": rng.normal(size=(300, 10)), "wide": 1e-3 * wide}, labels


def parts(made, test_labels=None):
  vectors, labels = made
  train, test = (
    {name: each[part] for name, each in vectors.items()} for part in (slice(200), slice(200, None))
  )
  return train, test, (labels[:200], labels[200:] if test_labels is None else test_labels)


def test_each_reading_gets_the_strength_that_suits_it(made):
  train, test, labels = parts(made)
  rows = sweep(accuracy, train, test, labels, seed=0)
  assert [(row["representation"], row["standardised"]) for row in rows] == [
    (name, flag) for name in ("good", "noise", "wide") for flag in (False, True)
  ]
  kept, held = held_out_labels(labels[0], 0)
  for row in rows:
    vectors = train[row["representation"]]
    scores = [
      accuracy(
        (vectors[kept], labels[0][kept]),
        (vectors[held], labels[0][held]),
        row["standardised"],
        each,
      )
      for each in STRENGTHS
    ]
    assert row["validation"] == max(scores)
    assert row["strength"] == STRENGTHS[int(np.argmax(scores))]
    assert row["dimensions"] == vectors.shape[1]
    whole = (vectors, labels[0]), (test[row["representation"]], labels[1])
    assert row["test"] == accuracy(*whole, row["standardised"], row["strength"])
  [chosen] = [row for row in rows if row["chosen"]]
  assert chosen["validation"] == max(row["validation"] for row in rows)
  assert chosen["representation"] != "noise"
  raw = next(row for row in rows if row["representation"] == "wide" and not row["standardised"])
  assert raw["strength"] > 1  # embeddings near 0 need large weights


def test_the_test_labels_choose_nothing(made, rng):
  rows = [
    sweep(accuracy, *parts(made, labels), seed=0) for labels in (None, rng.integers(0, 4, 100))
  ]
  for name in ("strength", "validation", "chosen"):
    assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]
