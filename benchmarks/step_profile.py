"""Which kinds of operation a training step's time goes to.

    python -m benchmarks.step_profile --sizes=64x16,128x64 --precision=float32

The step of the bare command on one batch that stays in memory, as TensorFlow's profiler sees it:
seconds of operations on all cores, by kind, as shares of all operations. Nothing else should run
on the machine meanwhile.
"""

import argparse
import collections
import os
import pathlib
import re
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from benchmarks.end_to_end import prepare  # noqa: E402
from conrec_tf.config import Config  # noqa: E402

KINDS = {  # the first that an operation's name fits
  "convolution": "Conv2D|MatMul|Einsum",
  "batch norm": "BatchNorm",
  "pooling": "Pool",
  "activation": "Relu|Sigmoid|Softmax",
  "copying": "Transpose|Concat|Slice|Pad|Pack|Split|Tile|Gather|Reshape|Cast",
}
OTHERS = "arithmetic, optimizer, all else"


def operations(folder):
  """Yields (name, seconds) of the operations that a profile saw on the processor."""
  for path in pathlib.Path(folder).rglob("*.xplane.pb"):
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    for plane in space.planes:
      if not plane.name.startswith("/host:CPU"):
        continue
      for line in plane.lines:
        for event in line.events:
          *nodes, name = plane.event_metadata[event.metadata_id].name.split(":")
          if nodes and (hasattr(tf.raw_ops, name) or name.startswith("_")):
            yield name, event.duration_ps / 1e12


def profile(config, steps):
  """Returns `{kind: seconds a step}`."""
  _, turn, alone, _ = prepare(config)
  turn(alone, 2)
  with tempfile.TemporaryDirectory() as folder:
    with tf.profiler.experimental.Profile(folder):
      turn(alone, steps)
    spent = collections.Counter()
    for name, seconds in operations(folder):
      if re.search("Iterator|Dataset|While|Call", name):
        continue  # what they hold is counted by itself
      kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), OTHERS)
      spent[kind] += seconds / steps
  return spent


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--sizes", default="64x16,128x64", help="<image size>x<filters>")
  parser.add_argument("--precision", default="float32")
  parser.add_argument("--data_dir", default=Config.data_dir)
  parser.add_argument("--steps", type=int, default=5)
  args = parser.parse_args()
  for text in args.sizes.split(","):
    size, filters = map(int, text.split("x"))
    config = Config(
      image_size=size,
      base_filters=filters,
      mixed_precision=args.precision,
      data_dir=args.data_dir,
    )
    spent = profile(config, args.steps)
    total = sum(spent.values())
    print(f"{size} px, {filters} filters: {total:.2f} core seconds a step")
    for kind, seconds in spent.most_common():
      print(f"  {kind:34}{seconds / total:6.1%}")


if __name__ == "__main__":
  main()
