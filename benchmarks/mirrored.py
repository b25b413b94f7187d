"""What `mirrored` costs where there is but one device.

    python -m benchmarks.mirrored --rounds=9

The loop of `run.py` on one batch in memory, with one_device and with mirrored on the same device,
takes turns; the table gives medians of images/s and the median of the rounds' ratios. Nothing
else should run on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from conrec_tf.config import Config  # noqa: E402
from conrec_tf.distribute.strategy import build_strategy  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.training.loop import StepRunner  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402


def make_turn(config, steps):
  """A function that trains and returns images/s."""
  strategy = build_strategy(config, config)
  with strategy.scope():
    model = build_model(config)
    optimizer = build_optimizer(config, 1000, 10**6)
    optimizer.build(model.trainable_variables)
    step = PretrainStep(config, model, optimizer)
  runner = StepRunner(strategy, step)
  shape = [config.train_batch_size, 2, config.image_size, config.image_size, config.channels]
  batch = {
    part: tf.random.stateless_uniform(shape, [seed, 0])
    for seed, part in enumerate(("corrupted", "target"))
  }
  iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())

  def turn():
    began = time.perf_counter()
    runner(iterator, tf.constant(steps))
    runner.collect()
    return steps * config.train_batch_size / (time.perf_counter() - began)

  return turn


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  for name in ("image_size", "base_filters", "mixed_precision"):
    default = getattr(Config, name)
    parser.add_argument(f"--{name}", type=type(default), default=default)
  parser.add_argument("--rounds", type=int, default=9, help="pairs of turns")
  parser.add_argument("--steps", type=int, default=20, help="steps in a turn")
  args = vars(parser.parse_args())
  rounds, steps = args.pop("rounds"), args.pop("steps")
  turns = [
    make_turn(Config(devices="0", strategy=strategy, **args), steps)
    for strategy in ("one_device", "mirrored")
  ]
  for turn in turns:
    turn()
  pairs = [[turn() for turn in turns] for _ in range(rounds)]
  one, mirrored = map(statistics.median, zip(*pairs, strict=True))
  ratio = statistics.median(after / before for before, after in pairs)
  print(f"{'one_device, images/s':>22}{'mirrored':>11}{'ratio':>8}")
  print(f"{one:22.1f}{mirrored:11.1f}{ratio:8.3f}")


if __name__ == "__main__":
  main()
