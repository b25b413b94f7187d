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


def sweep(
  score: Score,
  train: dict[str, np.ndarray],
  test: dict[str, np.ndarray],
  labels: tuple[np.ndarray, np.ndarray],
  seed: int,
  groups: np.ndarray | None = None,
) -> list[dict[str, Any]]:
  """Evaluates representations, raw and standardised; the labels of the test split choose nothing.

  For each, the regularisation is the one that scores best on a fifth of the training labels when
  learnt from the rest; with it, all training labels are learnt from, and the test split is
  measured. The chosen representation is the one that scores best on the held-out fifth.

  Args:
    score: what a classifier reaches; larger is better.
    train, test: embeddings float `[N, F]` by name of the representation.
    labels: int `[N]`, or 0 and 1 of several labels, `[N, L]`, of training and test split.
    groups: of the training images, each on one side of it, object `[N]`, or None.

  Returns:
    A list of `{representation, dimensions, standardised, strength, validation, test, chosen}`.
  """
  kept, held = held_out_labels(labels[0], seed, groups)
  readings = list(itertools.product(train, (False, True)))
  rows = []
  quiet = None if logger.isEnabledFor(logging.INFO) else True  # None: a bar in terminals only
  for name, standardised in tqdm(readings, "Representations", disable=quiet, leave=False):
    whole, asked = (train[name], labels[0]), (test[name], labels[1])
    learnt, measured = take(whole, kept), take(whole, held)
    scores = [score(learnt, measured, standardised, strength) for strength in STRENGTHS]
    best = int(np.argmax(scores))
    rows.append(
      {
        "representation": name,
        "dimensions": train[name].shape[1],
        "standardised": standardised,
        "strength": STRENGTHS[best],
        "validation": scores[best],
        "test": score(whole, asked, standardised, STRENGTHS[best]),
        "chosen": False,
      }
    )
  max(rows, key=lambda row: row["validation"])["chosen"] = True
  return rows
