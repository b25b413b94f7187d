"""How long a step of each variation takes, relative to the study's first.

    python -m experiments.costs --study=search_synthetic

Steps of all variations are taken in turn in one process, on the same batch, in float32 unless the
study says otherwise; the ratios for one image, medians of the rounds, are kept beside the study's
results. Of a training that begins with smaller images it is the mean over its steps. Nothing else
should run on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from conrec_tf.config import Config  # noqa: E402
from conrec_tf.config.options.table import OPTIONS  # noqa: E402
from conrec_tf.data.records import TEACHER_VECTOR  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.pretrained.teacher_vectors import open_teacher  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402
from experiments.recipe import RESULTS, write  # noqa: E402
from experiments.studies import STUDIES  # noqa: E402
from experiments.table import COSTS  # noqa: E402

STEPS = 1000


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
  """A function that takes a step of each size and returns their mean seconds for one image."""
  phases, began = {}, 0
  for end, size in config.size_phases(STEPS):
    phases[size], began = (end - began) / STEPS, end
  batches = {size: batch_of(config, size) for size in phases}
  optimizer = build_optimizer(config, 1000, STEPS)
  step = tf.function(PretrainStep(config, build_model(config), optimizer, last_step=STEPS))

  def seconds():
    total = 0.0
    for size, share in phases.items():
      began = time.perf_counter()
      step(batches[size])["train/total_loss"].numpy()
      total += share * (time.perf_counter() - began)
    return total / config.train_batch_size

  seconds(), seconds()
  return seconds


def batch_of(config, size):
  """A batch of noise."""
  shapes = {part: [2, size, size] for part in ("corrupted", "target")}
  if "local_crops" in config.objectives:
    shapes["local_crops"] = [config.local_crops, *[config.local_crop_size] * 2]
  batch = {
    part: tf.random.uniform([config.train_batch_size, *shape, 1]) for part, shape in shapes.items()
  }
  if config.teacher:
    width = open_teacher(config, channels=1).width
    batch[TEACHER_VECTOR] = tf.random.uniform([config.train_batch_size, width])
  return batch


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--study", default="search_synthetic", choices=STUDIES)
  parser.add_argument("--rounds", type=int, default=9)
  args = parser.parse_args()
  study = STUDIES[args.study]
  general = [flag for flag in study.flags if flag.startswith("--mixed_precision=")]
  steps = {
    name: timed_step(config_of([*general, *flags])) for name, flags in study.variations.items()
  }
  rounds = [{name: step() for name, step in steps.items()} for _ in range(args.rounds)]
  first = next(iter(steps))
  costs = {
    name: round(statistics.median(times[name] / times[first] for times in rounds), 2)
    for name in steps
  }
  for name, cost in costs.items():
    speed = 1 / statistics.median(times[name] for times in rounds)
    print(f"{name:40}{cost:6.2f}{speed:8.0f} images/s")
  write(RESULTS / args.study / COSTS, costs)


if __name__ == "__main__":
  main()
