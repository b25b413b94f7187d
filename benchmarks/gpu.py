"""A training on a GPU: how long a step takes, alone and with its data, and how much memory.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --sizes=128x64 --precisions=float32,mixed_float16,float32+jit

The loop of `run.py` on one batch that stays in memory, and the same loop with its data, for each
size and precision; the table gives medians of turns. `+jit` after a precision lets XLA compile
the step. Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import logging  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks.end_to_end import prepare  # noqa: E402
from conrec_tf.config import Config  # noqa: E402


def measure(config, seconds, turns):
  """Returns ms a step alone, images/s alone and with data, the share of waiting, peak GB."""
  _, turn, alone, data = prepare(config)
  tf.config.experimental.reset_memory_stats("GPU:0")
  turn(alone, 3), turn(data, 3)
  steps = max(5, int(seconds / (turn(alone, 5)[0] / 5)))
  step_alone = statistics.median(turn(alone, steps)[0] / steps for _ in range(turns))
  with_data = [turn(data, steps) for _ in range(turns)]
  taken, waited = map(statistics.median, zip(*with_data, strict=True))
  peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9
  batch = config.train_batch_size
  return 1000 * step_alone, batch / step_alone, batch * steps / taken, waited / taken, peak


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--sizes", default="64x16,128x64", help="<image size>x<filters>")
  parser.add_argument("--batches", default="16,64")
  parser.add_argument("--precisions", default="float32,mixed_bfloat16,mixed_float16,float32+jit")
  parser.add_argument("--dataset", default=Config.dataset)
  parser.add_argument("--data_dir", default=Config.data_dir)
  parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
  parser.add_argument("--turns", type=int, default=3)
  args = parser.parse_args()
  logging.set_verbosity(logging.ERROR)
  if not tf.config.list_physical_devices("GPU"):
    parser.error("TensorFlow finds no GPU")
  details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
  print(f"TensorFlow {tf.__version__}, {details.get('device_name')}, {os.cpu_count()} cores")
  print(
    f"{'size x filters':16}{'batch':>6} {'precision':18}{'ms a step':>10}{'images/s alone':>16}"
    f"{'with data':>11}{'waiting':>9}{'peak GB':>9}{'start s':>9}",
    flush=True,
  )
  for text in args.sizes.split(","):
    size, filters = map(int, text.split("x"))
    for batch in map(int, args.batches.split(",")):
      for name in args.precisions.split(","):
        precision, *jit = name.split("+")
        config = Config(
          dataset=args.dataset,
          data_dir=args.data_dir,
          image_size=size,
          base_filters=filters,
          train_batch_size=batch,
          mixed_precision=precision,
          jit_compile=jit == ["jit"],
        )
        tf.keras.backend.clear_session()
        began = time.perf_counter()
        step, alone, trained, waiting, peak = measure(config, args.seconds, args.turns)
        rest = time.perf_counter() - began - args.seconds * 2 * args.turns
        print(
          f"{text:16}{batch:6} {name:18}{step:10.2f}{alone:16.0f}{trained:11.0f}{waiting:9.1%}"
          f"{peak:9.2f}{rest:9.1f}",
          flush=True,
        )


if __name__ == "__main__":
  main()
