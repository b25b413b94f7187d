"""The training step against the plain Keras form of the same network, loss and optimizer.

    python -m benchmarks.step --sizes=64x16,128x16,128x64 --rounds=5

Both take steps in turn on the same batch; the table gives medians and the median of the
pairs' ratios. Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from benchmarks.plain import plain_conrec  # noqa: E402
from conrec_tf import losses  # noqa: E402
from conrec_tf.config import Config  # noqa: E402
from conrec_tf.losses import view_major  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.optimizers import build_optimizer  # noqa: E402
from conrec_tf.pretrain import PretrainingStep  # noqa: E402


def our_step(config):
  """The step as `run.py` takes it."""
  model = build_model(config)
  optimizer = build_optimizer(config, 1000, 1000)
  optimizer.build(model.trainable_variables)
  return tf.function(PretrainingStep(config, model, optimizer))


def plain_step(config):
  """The same step on the plain network."""
  model = plain_conrec(config.image_size, config.channels, config.base_filters)
  optimizer = build_optimizer(config, 1000, 1000)
  optimizer.build(model.trainable_variables)

  @tf.function
  def step(batch):
    with tf.GradientTape() as tape:
      _, projection, reconstruction = model(view_major(batch["corrupted"]), training=True)
      loss = losses.nt_xent(projection, config.temperature)
      loss += config.reconstruction_weight * tf.reduce_mean(
          tf.square(reconstruction - view_major(batch["target"])))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return {"train/total_loss": loss}

  return step


def seconds(step, batch):
  """How long a step takes, until its loss is there."""
  began = time.perf_counter()
  step(batch)["train/total_loss"].numpy()
  return time.perf_counter() - began


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--sizes", default="64x16,128x16,128x64",
                      help="comma-separated <image size>x<filters>")
  parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
  parser.add_argument("--rounds", type=int, default=5, help="pairs of steps at each size")
  args = parser.parse_args()
  print("size x filters    plain s    ours s    plain / ours")
  for text in args.sizes.split(","):
    size, filters = map(int, text.split("x"))
    config = Config(image_size=size, base_filters=filters, image_channels=args.channels)
    shape = [config.train_batch_size, 2, size, size, args.channels]
    batch = {name: tf.random.stateless_uniform(shape, [seed, 0])
             for seed, name in enumerate(("corrupted", "target"))}
    steps = plain_step(config), our_step(config)
    for step in steps:
      seconds(step, batch), seconds(step, batch)
    pairs = [[seconds(step, batch) for step in steps] for _ in range(args.rounds)]
    plain, ours = (statistics.median(times) for times in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{text:15}{plain:10.3f}{ours:10.3f}{ratio:16.2f}", flush=True)


if __name__ == "__main__":
  main()
