"""One run under two TensorFlows: each goes on with what the other left; how far apart are they?

    python -m benchmarks.stacks --other=.venv-latest/bin/python

A run takes its steps under this Python, the other and this again; beside it one takes all of them
under either. Then each SavedModel embeds the same images under both. Printed are largest
differences, of weights relative to the largest weight of their variable.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

STEPS = 4
FLAGS = (
  "--mode=train_then_eval",
  "--image_size=32",
  "--base_filters=8",
  "--train_split=train[:64]",
  "--eval_split=test[:32]",
  "--optimizer=lars",  # Adam makes large steps of gradients that are nothing but rounding
  "--learning_rate=0.001",  # at a high one rounding grows with each step
  "--learning_rate_schedule=constant",
  "--mixed_precision=float32",
  "--noreport",
  "--eval_every_epochs=0",
)
WEIGHTS = """
import sys
import numpy as np
import conrec_tf, tensorflow as tf
reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(sys.argv[1]))
names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
np.savez(sys.argv[2], **{name: reader.get_tensor(name) for name in names})
"""
EMBED = """
import sys
import numpy as np
import conrec_tf, tensorflow as tf
images = np.random.default_rng(0).uniform(size=[8, 32, 32, 1]).astype("float32")
np.savez(sys.argv[2], embedding=tf.saved_model.load(sys.argv[1])(images))
"""


def run(python, *arguments):
  """Runs a Python to its end."""
  done = subprocess.run([python, *map(str, arguments)], capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError(done.stderr)


def arrays(python, code, path, file):
  """What a piece of code saves about a path, `{name: array}`."""
  run(python, "-c", code, path, file)
  with np.load(file) as found:
    return dict(found)


def difference(left, right):
  """The largest difference relative to the largest value of an array, and the median of them."""
  assert left.keys() == right.keys() and left
  found = [
    np.max(np.abs(left[name] - right[name])) / max(np.max(np.abs(left[name])), 1e-12)
    for name in left
    if np.issubdtype(left[name].dtype, np.floating)
  ]
  return f"{max(found):.1e} (median {np.median(found):.1e})"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--other", required=True, help="a Python with the other TensorFlow")
  parser.add_argument("--data_dir", default="", help="where TFDS keeps prepared data")
  args = parser.parse_args()
  flags = [*FLAGS, *([f"--data_dir={args.data_dir}"] if args.data_dir else [])]
  here, other = sys.executable, args.other
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)

    def train(name, *pythons):
      for turn, python in enumerate(pythons, 1):
        steps = f"--train_steps={turn * STEPS}"
        run(python, "run.py", *flags, steps, f"--model_dir={folder / name}")
      rows = (folder / name / "metrics.jsonl").read_text().splitlines()
      print(f"{name}: {len(pythons) * STEPS} steps, {len(rows)} rows of metrics", flush=True)
      return arrays(here, WEIGHTS, folder / name / "checkpoints", folder / f"{name}.npz")

    mixed = train("here, other, here", here, other, here)
    alone = train("here alone", here, here, here)
    others = train("other alone", other, other, other)
    print("weights, here, other, here against here alone:", difference(alone, mixed))
    print("weights, other alone against here alone:", difference(alone, others))
    for name in ("here alone", "other alone"):
      step = json.loads((folder / name / "result.json").read_text())["global_step"]
      path = folder / name / "saved_model" / str(step)
      found = [arrays(python, EMBED, path, folder / "e.npz") for python in (here, other)]
      print(f"SavedModel of {name}, embeddings here against other:", difference(*found))


if __name__ == "__main__":
  main()
