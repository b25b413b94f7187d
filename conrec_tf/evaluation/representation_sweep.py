"""Which representation is best: all of a network's, each with the regularisation that suits it."""

from collections.abc import Callable
import itertools
import logging
from typing import Any

import numpy as np
from tqdm import tqdm

from conrec_tf.evaluation.linear_evaluation import held_out_labels, take
from conrec_tf.evaluation.probes import Labelled

logger = logging.getLogger(__name__)

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # scikit-learn's C

# From what is learnt from and what is measured, whether to standardise, and C, to a score.
Score = Callable[[Labelled, Labelled, bool, float], float]


def choices(
  score: Score,
  train: dict[str, np.ndarray],
  labels: np.ndarray,
  seed: int,
  groups: np.ndarray | None,
) -> list[dict[str, Any]]:
  """Chooses regularisation and representation, raw or standardised, on training labels alone.

  For each, the regularisation is the one that scores best on a fifth of the training labels when
  learnt from the rest. The chosen representation is the one that scores best on that fifth.

  Args:
    score: what a classifier reaches; larger is better.
    train: embeddings float `[N, F]` by name of the representation.
    labels: int `[N]`, or 0 and 1 of several labels, `[N, L]`.
    groups: of the images, each on one side of the fifth, object `[N]`, or None.

  Returns:
    A list of `{representation, dimensions, standardised, strength, validation, chosen}`.
  """
  kept, held = held_out_labels(labels, seed, groups)
  readings = list(itertools.product(train, (False, True)))
  rows = []
  quiet = None if logger.isEnabledFor(logging.INFO) else True  # None: a bar in terminals only
  for name, standardised in tqdm(readings, "Representations", disable=quiet, leave=False):
    learnt, measured = (take((train[name], labels), part) for part in (kept, held))
    scores = [score(learnt, measured, standardised, strength) for strength in STRENGTHS]
    best = int(np.argmax(scores))
    rows.append(
      {
        "representation": name,
        "dimensions": train[name].shape[1],
        "standardised": standardised,
        "strength": STRENGTHS[best],
        "validation": scores[best],
        "chosen": False,
      }
    )
  max(rows, key=lambda row: row["validation"])["chosen"] = True
  return rows


def sweep(
  score: Score,
  train: dict[str, np.ndarray],
  test: dict[str, np.ndarray],
  labels: tuple[np.ndarray, np.ndarray],
  seed: int,
  groups: np.ndarray | None = None,
) -> list[dict[str, Any]]:
  """Evaluates representations, raw and standardised; the labels of the test split choose nothing.

  With the regularisation that `choices` finds, all training labels are learnt from, and the test
  split is measured.

  Args:
    score, train, seed, groups: see `choices`.
    test: embeddings of the test split, float `[M, F]`, by the same names.
    labels: of training and test split.

  Returns:
    A list of `{representation, dimensions, standardised, strength, validation, test, chosen}`.
  """
  rows = []
  for row in choices(score, train, labels[0], seed, groups):
    name = row["representation"]
    whole, asked = (train[name], labels[0]), (test[name], labels[1])
    reached = score(whole, asked, row["standardised"], row["strength"])
    rows.append({**row, "test": reached, "chosen": row["chosen"]})
  return rows
