"""Whether measures without labels put trainings of one method in the order of their accuracies.

    python -m experiments.recipe --studies=label_free
    python -m experiments.label_free

Spearman's rank correlation over the study's trainings: 1 is the same order, 0 none.
"""

import json

from scipy.stats import spearmanr

from conrec_tf.metrics import (
  LABEL_FREE,
  LINEAR_ACCURACY,
  display_name,
  selection_score,
  standardised_key,
)
from experiments.recipe import RESULTS

STUDY = "label_free"


def correlations(results: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
  """Returns (correlation, p) of each measure, of those that are to be small of the negative.

  Args:
    results: `{name: number}` of each training.
  """
  accuracies = [result[standardised_key(LINEAR_ACCURACY)] for result in results]
  return {
    name: tuple(spearmanr([selection_score(name, result[name]) for result in results], accuracies))
    for name in LABEL_FREE
    if all(name in result for result in results) and len({r[name] for r in results}) > 1
  }


def main() -> None:
  paths = sorted((RESULTS / STUDY).glob("*_[0-9].json"))
  contents = [json.loads(path.read_text()) for path in paths]
  for content in sorted(
    contents, key=lambda content: -content["result"][standardised_key(LINEAR_ACCURACY)]
  ):
    result = content["result"]
    numbers = [f"{display_name(name)} {result[name]:.2f}" for name in LABEL_FREE if name in result]
    accuracy = 100 * result[standardised_key(LINEAR_ACCURACY)]
    print(f"{content['variation']:20} {accuracy:.1f} %  {', '.join(numbers)}")
  for name, (value, p) in correlations([content["result"] for content in contents]).items():
    print(f"{display_name(name):20} Spearman {value:+.2f}, p {p:.3f}, {len(contents)} trainings")


if __name__ == "__main__":
  main()
