"""What to label next, chosen against random: accuracy over the number of labels a class.

    python -m experiments.label_next --embeddings=runs/flowers/embeddings/photos

Of the images of `train`, some are chosen as `--mode=explore` does, by k-center alone or at random.
A linear classifier learns from their labels and is measured on `eval`. Seeds fix the groups, the
first image of k-center and the random ones.
"""

import argparse
import pathlib

import numpy as np

from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.explore.coreset import coreset, k_center
from conrec_tf.explore.neighbours import unit_vectors
from conrec_tf.run_dir.embedding_files import read_embedded

LABELS = (1, 2, 5, 10)
WAYS = ("chosen", "k-center", "random")


def accuracy(train, test, chosen, count):
  learnt = train[0][chosen], train[1][chosen]
  if len(np.unique(learnt[1])) < 2:
    return float(np.mean(test[1] == learnt[1][0]))
  outputs = Classes(count).outputs(learnt, test[0], standardise=True)
  return float(np.mean(outputs.argmax(axis=1) == test[1]))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--embeddings", required=True)
  parser.add_argument("--seeds", type=int, default=3)
  args = parser.parse_args()
  found = read_embedded(pathlib.Path(args.embeddings))
  is_train = np.array([row["file"].startswith("train") for row in found.rows])
  train, test = ((found.vectors[part], found.labels[part]) for part in (is_train, ~is_train))
  count, units = int(found.labels.max()) + 1, unit_vectors(train[0])
  none = np.zeros(0, int)
  print(f"{'labels a class':>14}" + "".join(f"{name:>16}" for name in WAYS))
  for labels in LABELS:
    number, scores = labels * count, {name: [] for name in WAYS}
    for seed in range(args.seeds):
      drawn = np.random.default_rng(seed).permutation(len(units))
      ways = {
        "chosen": coreset(units, number, none, seed).image,
        "k-center": np.concatenate([drawn[:1], k_center(units, number - 1, drawn[:1])]),
        "random": drawn[:number],
      }
      for name, chosen in ways.items():
        scores[name].append(accuracy(train, test, chosen, count))
    cells = ""
    for values in scores.values():
      mean, deviation = mean_and_deviation(values)
      cells += f"{100 * mean:9.1f} ± {100 * deviation:4.1f}"
    print(f"{labels:>14}{cells}")


if __name__ == "__main__":
  main()
