"""Times the last evaluation on made embeddings, part by part, and says what memory it takes.

    python -m benchmarks.evaluation --images=100000 --features=512 --classes=1000

A fifth of the images is measured on. Each class has a centre, and its images lie around it three
times as far as centres lie around 0.
"""

import argparse
import resource
import time

import numpy as np

from conrec_tf.evaluation import probes
from conrec_tf.evaluation.label_free import label_free_measures
from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.measures import intervals, numbers
from conrec_tf.evaluation.probes import Labelled

MEASURED = 5  # one image of so many


def made(images: int, features: int, classes: int) -> tuple[Labelled, Labelled]:
  """Returns what is learnt from and what is measured on."""
  rng = np.random.default_rng(0)
  labels = rng.permutation(np.arange(images) % classes)
  embeddings = rng.normal(size=(classes, features)).astype(np.float32)[labels]
  embeddings += rng.normal(size=embeddings.shape).astype(np.float32) * 3
  held = images // MEASURED
  return (embeddings[held:], labels[held:]), (embeddings[:held], labels[:held])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=int, default=100_000)
  parser.add_argument("--features", type=int, default=512)
  parser.add_argument("--classes", type=int, default=1000)
  args = parser.parse_args()
  train, test = made(args.images, args.features, args.classes)
  kind = Classes(args.classes)
  taken = (*kind.quick_measures, *kind.final_measures)
  outputs: list[np.ndarray] = []
  parts = {
    "logistic regression": lambda: outputs.append(kind.outputs(train, test[0], standardise=False)),
    "the same, standardised": lambda: kind.fit(train, standardise=True),
    "nearest neighbours": lambda: probes.knn_accuracy(train, test),
    "measures": lambda: numbers(taken, outputs[0], test[1]),
    "intervals, 1000 resamples": lambda: intervals(taken, outputs[0], test[1], 1000, 0),
    "without labels": lambda: label_free_measures(test[0]),
  }
  print(f"{args.images} images, {args.features} features, {args.classes} classes")
  print("| part | seconds | peak memory (GB) |\n| --- | ---: | ---: |")
  for name, part in parts.items():
    began = time.perf_counter()
    part()
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {name} | {seconds:.1f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
  main()
