"""Where the seconds go from the command to the second step, and which come before the first.

    python -m benchmarks.startup_phases
    python -m benchmarks.startup_phases --mode=train

One process, the bare command's settings; the data is prepared before. Nothing else should run on
the machine meanwhile.
"""

import time

BEGAN = time.perf_counter()

import argparse  # noqa: E402
import functools  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

TENSORFLOW = time.perf_counter()

from conrec_tf.commands import train  # noqa: E402
from conrec_tf.commands.evaluator import Evaluator  # noqa: E402
from conrec_tf.config import Config  # noqa: E402
from conrec_tf.data.registry import load_dataset  # noqa: E402
from conrec_tf.training import task  # noqa: E402

PACKAGE = time.perf_counter()

PARTS = (
  (train, "load_dataset", "open the data"),
  (train, "build_training", "build network and optimizer"),
  (task, "pretraining_batches", "trace the input pipeline"),
  (Evaluator, "open", "TensorBoard, report"),
)


class Done(Exception):
  """Two steps are taken."""


def timed(owner, name, label, rows):
  """Makes a function note how long it took."""
  function = getattr(owner, name)

  @functools.wraps(function)
  def noted(*args, **kwargs):
    began = time.perf_counter()
    result = function(*args, **kwargs)
    rows.append((label, time.perf_counter() - began))
    return result

  setattr(owner, name, noted)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--mode", default="train_then_eval", choices=("train", "train_then_eval"))
  args = parser.parse_args()
  rows = [("import tensorflow", TENSORFLOW - BEGAN), ("import the package", PACKAGE - TENSORFLOW)]
  with tempfile.TemporaryDirectory() as folder:
    load_dataset(Config(data_dir=f"{folder}/tfds"))
    for owner, name, label in PARTS:
      timed(owner, name, label, rows)

    def two_steps(runner, iterator, **_):
      for label in ("first step, traced", "second step"):
        began = time.perf_counter()
        runner(iterator, tf.constant(1))
        rows.append((label, time.perf_counter() - began))
      raise Done

    train.train = two_steps
    began = time.perf_counter()
    try:
      train.run(Config(mode=args.mode, data_dir=f"{folder}/tfds", model_dir=f"{folder}/run"))
    except Done:
      seen = sum(seconds for _, seconds in rows[2:])
      rows.append(("all else", time.perf_counter() - began - seen))
  for label, seconds in rows:
    print(f"{label:45}{seconds:7.2f} s")
  first = sum(seconds for label, seconds in rows if label != "second step")
  print(f"{'from the command to the end of the first step':45}{first:7.2f} s")


if __name__ == "__main__":
  main()
