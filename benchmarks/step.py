"""The training step against the plain Keras form of the same network, loss and optimizer.

    python -m benchmarks.step --sizes=64x16,128x16,128x64 --rounds=5

The plain step in float32 and ours in each precision are taken in turn on the same batch. The
table gives medians, the median of the rounds' ratios, the rate of what the plain form computes
in convolutions, the rate of one 3x3 convolution and its gradients in float32 in the same run,
and each step's peak memory in a process of its own (TensorFlow included). Nothing else should
run on the machine meanwhile.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from benchmarks.plain import plain_conrec  # noqa: E402
from conrec_tf import losses  # noqa: E402
from conrec_tf.config import Config  # noqa: E402
from conrec_tf.losses import view_major  # noqa: E402
from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402

BACKWARD = 2  # a convolution's two gradients each cost as much as itself


def our_step(config):
  """The step as `run.py` takes it."""
  model = build_model(config)
  optimizer = build_optimizer(config, 1000, 1000)
  optimizer.build(model.trainable_variables)
  return tf.function(PretrainStep(config, model, optimizer))


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
        tf.square(reconstruction - view_major(batch["target"]))
      )
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return {"train/total_loss": loss}

  return step


def make_step(name, size, filters, channels):
  """A step and its batch; name is plain, or of ours a precision, perhaps with +checkpointing."""
  precision, *checkpointing = name.split("+")
  config = Config(
    image_size=size,
    base_filters=filters,
    image_channels=channels,
    representation_levels="last",
    skip_connections="all",
    contrastive_method="nt_xent",
    optimizer="lars",
    mixed_precision="float32" if name == "plain" else precision,
    gradient_checkpointing=checkpointing == ["checkpointing"],
  )
  shape = [config.train_batch_size, 2, size, size, channels]
  batch = {
    part: tf.random.stateless_uniform(shape, [seed, 0])
    for seed, part in enumerate(("corrupted", "target"))
  }
  return (plain_step if name == "plain" else our_step)(config), batch


def seconds(step, batch):
  """How long a step takes, until its loss is there."""
  began = time.perf_counter()
  step(batch)["train/total_loss"].numpy()
  return time.perf_counter() - began


def gigaflop(size, filters, channels):
  """What a step of the plain form computes in convolutions, for 32 views."""
  model = plain_conrec(size, channels, filters)
  forward = sum(
    2 * layer.output.shape[1] * layer.output.shape[2] * tf.size(layer.kernel).numpy()
    for layer in model.layers
    if isinstance(layer, tf.keras.layers.Conv2D)
  )
  return 32 * (1 + BACKWARD) * forward / 1e9


def convolution_rate(size, filters):
  """GFLOP/s of one 3x3 convolution and its gradients: the best of some."""
  images = tf.random.stateless_uniform([32, size, size, filters], [0, 0])
  kernel = tf.random.stateless_uniform([3, 3, filters, filters], [1, 0])

  @tf.function
  def convolve():
    with tf.GradientTape() as tape:
      tape.watch([images, kernel])
      result = tf.nn.conv2d(images, kernel, 1, "SAME")
    return [tf.reduce_sum(part) for part in tape.gradient(result, [images, kernel])]

  flop = 2 * 32 * size**2 * 9 * filters**2 * (1 + BACKWARD)
  best = 0.0
  for _ in range(6):
    began = time.perf_counter()
    convolve()[1].numpy()
    best = max(best, flop / (time.perf_counter() - began) / 1e9)
  return best


def peak_memory(name, text, channels):
  """GB that a process of its own needs for some steps."""
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "benchmarks.step",
      f"--sizes={text}",
      f"--channels={channels}",
      f"--memory_of={name}",
    ],
    capture_output=True,
    text=True,
    check=True,
  )
  return float(done.stdout.split()[-1])


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument(
    "--sizes", default="64x16,128x16,128x64", help="comma-separated <image size>x<filters>"
  )
  parser.add_argument(
    "--precisions",
    default="float32,mixed_bfloat16",
    help="of our step; +checkpointing after one turns gradient checkpointing on",
  )
  parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
  parser.add_argument("--rounds", type=int, default=5, help="turns at each size")
  parser.add_argument("--memory_of", help=argparse.SUPPRESS)
  args = parser.parse_args()
  names = ["plain", *args.precisions.split(",")]
  if not args.memory_of:
    print(
      f"{'size x filters':16}{'step':26}{'s':>8}{'plain / it':>12}{'GFLOP/s':>9}"
      f"{'convolution':>13}{'peak GB':>9}{'of plain':>10}",
      flush=True,
    )
  for text in args.sizes.split(","):
    size, filters = map(int, text.split("x"))
    if args.memory_of:
      step, batch = make_step(args.memory_of, size, filters, args.channels)
      for _ in range(3):
        seconds(step, batch)
      print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
      continue
    memory = [peak_memory(name, text, args.channels) for name in names]
    steps = [make_step(name, size, filters, args.channels) for name in names]
    for step in steps:
      seconds(*step), seconds(*step)
    rounds = [[seconds(*step) for step in steps] for _ in range(args.rounds)]
    work, rate = gigaflop(size, filters, args.channels), convolution_rate(size, filters)
    for index, name in enumerate(names):
      median = statistics.median(times[index] for times in rounds)
      ratio = statistics.median(times[0] / times[index] for times in rounds)
      print(
        f"{text:16}{name:26}{median:8.3f}{ratio:12.2f}{work / median:9.0f}{rate:13.0f}"
        f"{memory[index]:9.2f}{memory[index] / memory[0]:10.2f}",
        flush=True,
      )


if __name__ == "__main__":
  main()
