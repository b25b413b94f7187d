"""Linear evaluation against scikit-learn's logistic regression with its default solver.

    python -m benchmarks.linear_evaluation --rounds=3

Both learn in turn from the same embeddings, which are made up to be like a network's: not
negative, of low rank but for some noise, with means that are large beside most of the
spread. The table gives the medians of the seconds, the median of the pairs' ratios, our
objective over scikit-learn's and our accuracy less scikit-learn's, in points. Nothing else
should run on the machine meanwhile. With `--quick` a small size only.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from scipy.special import log_softmax  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from conrec_tf.evaluation.logistic_regression import RotatedLogisticRegression  # noqa: E402

EVALUATED = 6000


def embeddings(count, width, classes, rank=64, positions=4, seed=0):
  """Two splits of embeddings float32 `[N, width]` and labels `[N]`: `count`, then `EVALUATED`.

  Averages over positions of rectified mixtures of latent variables, whose weight decays.
  """
  rng = np.random.default_rng(seed)
  labels = np.concatenate([np.arange(count) % classes, rng.integers(0, classes, EVALUATED)])
  centres = rng.normal(size=(classes, rank))
  mixture = rng.normal(size=(rank, width)) * np.arange(1, rank + 1)[:, np.newaxis] ** -0.8
  bias, gain = rng.normal(size=width), rng.lognormal(-1.2, 0.7, width)
  images = 0.5 * centres[labels] + rng.normal(size=(len(labels), rank))
  total = 0.0
  for _ in range(positions):
    latent = images + rng.normal(size=images.shape)
    noise = 0.05 * rng.normal(size=(len(labels), width))
    total = total + np.maximum(latent @ mixture + bias + noise, 0.0)
  features = (gain * total / positions).astype(np.float32)
  return (features[:count], labels[:count]), (features[count:], labels[count:])


def objective(classifier, features, labels):
  """What both minimise, in double precision, for more than two classes."""
  logits = features.astype(np.float64) @ classifier.coef_.T + classifier.intercept_
  logs = log_softmax(logits, axis=1)
  return -logs[np.arange(len(labels)), labels].sum() + 0.5 * np.sum(
    classifier.coef_.astype(np.float64) ** 2
  )


def fit(classifier, split):
  """How long a fit takes, and its result."""
  began = time.perf_counter()
  classifier.fit(*split)
  return time.perf_counter() - began, classifier


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument(
    "--sizes",
    default="12000x512x120,2040x512x102",
    help="comma-separated <images>x<features>x<classes>",
  )
  parser.add_argument("--rounds", type=int, default=3, help="pairs of fits at each size")
  parser.add_argument("--quick", action="store_true", help="one pair at 1020x128x20 only")
  args = parser.parse_args()
  sizes, rounds = ("1020x128x20", 1) if args.quick else (args.sizes, args.rounds)
  print("size             scikit-learn s    ours s    ratio    objective    accuracy")
  for text in sizes.split(","):
    train, test = embeddings(*map(int, text.split("x")))
    pairs = []
    for _ in range(rounds):
      theirs = fit(LogisticRegression(max_iter=10000, random_state=0), train)
      pairs.append((theirs, fit(RotatedLogisticRegression(), train)))
    seconds = [[time for time, _ in pair] for pair in pairs]
    default, ours = (statistics.median(times) for times in zip(*seconds, strict=True))
    ratio = statistics.median(a / b for a, b in seconds)
    values = [objective(classifier, *train) for _, classifier in pairs[-1]]
    accuracies = [100 * classifier.score(*test) for _, classifier in pairs[-1]]
    print(
      f"{text:17}{default:14.2f}{ours:10.2f}{ratio:9.1f}{values[1] / values[0]:13.5f}"
      f"{accuracies[1] - accuracies[0]:+12.2f}",
      flush=True,
    )


if __name__ == "__main__":
  main()
