"""Training with its data against the step alone.

    python -m benchmarks.end_to_end --rounds=5
    python -m benchmarks.end_to_end --dataset=oxford_flowers102 --train_split=train+validation

The loop of `run.py`, and the same loop on one batch that stays in memory, take turns; the table
gives medians of images/s, the median of the rounds' ratios and the share of its time that
training waited for data. Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import logging  # noqa: E402
import tensorflow as tf  # noqa: E402

from conrec_tf.config import Config  # noqa: E402
from conrec_tf.data.pipeline import pretraining_batches  # noqa: E402
from conrec_tf.data.registry import load_dataset  # noqa: E402
from conrec_tf.distribute.strategy import build_strategy  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.training.loop import StepRunner  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402


def prepare(config):
  """Sets up a training.

  Returns:
    The dataset; `turn(iterator, steps)`, which trains and returns the seconds that it took and
    those that it waited for data; and two iterators: over one batch in memory, over the data.
  """
  source = load_dataset(config)
  strategy = build_strategy(config, config)
  with strategy.scope():
    model = build_model(config, source.channels)
    optimizer = build_optimizer(config, source.train.num_examples, 10**6)
    optimizer.build(model.trainable_variables)
  runner = StepRunner(strategy, PretrainStep(config, model, optimizer), config.jit_compile)
  data = iter(pretraining_batches(config, source))
  alone = iter(tf.data.Dataset.from_tensors(next(data)).repeat())

  def turn(iterator, steps):
    runner.collect()
    began = time.perf_counter()
    runner(iterator, tf.constant(steps))
    _, waited = runner.collect()
    return time.perf_counter() - began, waited

  return source, turn, alone, data


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  for name in (
    "dataset",
    "data_dir",
    "train_split",
    "image_size",
    "base_filters",
    "mixed_precision",
  ):
    default = getattr(Config, name)
    parser.add_argument(f"--{name}", type=type(default), default=default)
  parser.add_argument("--rounds", type=int, default=5, help="pairs of turns")
  parser.add_argument("--steps", type=int, default=50, help="steps in a turn")
  args = vars(parser.parse_args())
  rounds, steps = args.pop("rounds"), args.pop("steps")
  logging.set_verbosity(logging.ERROR)
  config = Config(**args)
  source, turn, alone, data = prepare(config)
  turn(alone, steps), turn(data, steps)
  turns = [(turn(alone, steps), turn(data, steps)) for _ in range(rounds)]
  images = steps * config.train_batch_size
  pairs = [[(images / taken, waited / taken) for taken, waited in pair] for pair in turns]
  step_only, trained = (
    statistics.median(rate for rate, _ in part) for part in zip(*pairs, strict=True)
  )
  ratio = statistics.median(b[0] / a[0] for a, b in pairs)
  waited = statistics.median(b[1] for _, b in pairs)
  print(f"{'dataset':22}{'step alone, images/s':>22}{'with data':>11}{'ratio':>8}{'waiting':>9}")
  print(f"{source.name:22}{step_only:22.1f}{trained:11.1f}{ratio:8.3f}{waited:9.1%}")


if __name__ == "__main__":
  main()
