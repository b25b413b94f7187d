"""Trains the network that ships, and writes it with its card into `networks/`.

    python -m experiments.released_network

A training that was killed goes on where it was; two cores with AVX2 take an hour and a half
(reckoned from 0.6 s a step).
"""

import argparse
import pathlib
import shutil
import subprocess
import sys

import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.metrics import (
  KNN_ACCURACY,
  LINEAR_ACCURACY,
  UNTRAINED_STRONGEST,
  format_interval,
  format_value,
  standardised_key,
)
from conrec_tf.run_dir.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[1]
NAME = "oxford_flowers102_64px"
FLAGS = (
  "--mode=train_then_eval",
  "--dataset=oxford_flowers102",
  "--train_split=train+validation",
  "--cache_dataset",
  "--standardize_embeddings",
)
EPOCHS = 70
CARD = ROOT / "experiments" / "network_card.md"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs")
  parser.add_argument("--epochs", type=int, default=EPOCHS)
  parser.add_argument("--networks", type=pathlib.Path, default=ROOT / "networks")
  parser.add_argument("flags", nargs="*", help="further flags, after --")
  args = parser.parse_args()
  model_dir = args.runs / NAME
  flags = [*FLAGS, f"--train_epochs={args.epochs}", f"--model_dir={model_dir}", *args.flags]
  subprocess.run([sys.executable, "run.py", *flags], cwd=ROOT, check=True)
  directory = RunDirectory(model_dir)
  result = directory.read("result.json") or {}
  exported = directory.path / "saved_model" / str(result["global_step"])
  folder = args.networks / NAME
  shutil.rmtree(folder, ignore_errors=True)
  shutil.copytree(exported, folder)
  network = tf.saved_model.load(str(folder))
  width = network(tf.zeros([1, Config.image_size, Config.image_size, 3])).shape[-1]
  machines = trained_on(directory.processes(), result["global_step"])
  (folder / "README.md").write_text(card(result, args.epochs, width, machines))


def trained_on(processes, steps):
  """The machines that a training ran on, as text.

  Args:
    processes: `[{step, machine, versions}]`, the rows of processes.jsonl.
    steps: of the whole training.
  """
  texts = []
  for process in processes:
    machine = process["machine"]
    chip = machine["processor"] if machine["GPU"] == "none" else machine["GPU"]
    if process["step"] < steps:
      texts.append(f"{chip}, TensorFlow {process['versions']['tensorflow']}")
  return "; ".join(dict.fromkeys(texts))


def card(result, epochs, width, machines):
  """The card of a network, Markdown.

  Args:
    result: `{name: value}` of its last evaluation.
    epochs: that it was trained for.
    width: of its embeddings.
    machines: that it was trained on, as text.
  """
  names = {
    "raw": LINEAR_ACCURACY,
    "standardised": standardised_key(LINEAR_ACCURACY),
    "neighbours": KNN_ACCURACY,
    "untrained": UNTRAINED_STRONGEST,
  }
  numbers = {
    word: format_value(name, result[name]) + format_interval(result, name)
    for word, name in names.items()
  }
  return CARD.read_text().format(
    name=NAME,
    width=width,
    epochs=epochs,
    steps=result["global_step"],
    machines=machines,
    **numbers,
  )


if __name__ == "__main__":
  main()
