"""How long a step of each variation takes, relative to the study's first.

    python -m experiments.costs --study=search_synthetic

Steps of all variations are taken in turn in one process, on the same batch in float32; the ratios
for one image, medians of the rounds, are kept beside the study's results. Nothing else should run
on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from conrec_tf.config import Config  # noqa: E402
from conrec_tf.config.options.table import OPTIONS  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402
from experiments.recipe import RESULTS, write  # noqa: E402
from experiments.studies import STUDIES  # noqa: E402
from experiments.table import COSTS  # noqa: E402


def config_of(flags):
  """The options that flags like `--learning_rate=0.1` and `--standardize_embeddings` say."""
  texts = {"mixed_precision": "float32"}
  texts |= dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
  values = {
    name: not text if kind is bool else kind(text) if kind in (int, float) else text
    for name, text in texts.items()
    for kind in [OPTIONS[name].type]
  }
  return Config(**values)


def timed_step(config):
  """A function that takes a step and returns the seconds that it took for one image."""
  shape = [config.train_batch_size, 2, config.image_size, config.image_size, 1]
  batch = {part: tf.random.uniform(shape) for part in ("corrupted", "target")}
  optimizer = build_optimizer(config, 1000, 1000)
  step = tf.function(PretrainStep(config, build_model(config), optimizer, last_step=1000))

  def seconds():
    began = time.perf_counter()
    step(batch)["train/total_loss"].numpy()
    return (time.perf_counter() - began) / config.train_batch_size

  seconds(), seconds()
  return seconds


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--study", default="search_synthetic", choices=STUDIES)
  parser.add_argument("--rounds", type=int, default=9)
  args = parser.parse_args()
  study = STUDIES[args.study]
  steps = {name: timed_step(config_of(flags)) for name, flags in study.variations.items()}
  rounds = [{name: step() for name, step in steps.items()} for _ in range(args.rounds)]
  first = next(iter(steps))
  costs = {
    name: round(statistics.median(times[name] / times[first] for times in rounds), 2)
    for name in steps
  }
  for name, cost in costs.items():
    print(f"{name:40}{cost:6.2f}")
  write(RESULTS / args.study / COSTS, costs)


if __name__ == "__main__":
  main()
