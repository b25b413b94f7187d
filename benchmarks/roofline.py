"""What a training step would take on a GPU, on paper: by the FLOP and the bytes of its operations.

    python -m benchmarks.roofline --sizes=64x16,128x64 --batches=16,64 --optimizer=lars

The step of the default recipe, or of what other options make of it, is traced and not run, so that
no GPU is needed. Of each operation of its graph
the FLOP of convolutions and matrix products follow from shapes, and the bytes are those of all that
it reads and writes, as if nothing were fused. An operation takes at least the longer of what the
chip needs for either; the table adds that up by kind, forwards and backwards together. Its number
of operations counts too: each is a kernel that some microseconds are spent on to launch.
"""

import argparse
import collections
import math
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from conrec_tf.models import build_model  # noqa: E402
from conrec_tf.training.optimizers import build_optimizer  # noqa: E402
from conrec_tf.training.pretrain_step import PretrainStep  # noqa: E402
from experiments.costs import STEPS, batch_of, config_of  # noqa: E402

KINDS = {  # the first that begins the type of an operation
  "convolution": ("Conv2D", "MatMul", "BatchMatMul"),
  "batch norm": ("FusedBatchNorm",),
  "activation": ("Relu", "Sigmoid", "Softmax"),
  "pooling": ("MaxPool", "AvgPool"),
}
OTHERS = "arithmetic, optimizer, all else"
NO_KERNEL = {"Const", "Identity", "NoOp", "Reshape", "Shape", "Placeholder", "ReadVariableOp"}


def traced_step(config):
  """The graph of a training step on images of one channel."""
  model = build_model(config)
  optimizer = build_optimizer(config, 1000, STEPS)
  optimizer.build(model.trainable_variables)
  step = tf.function(PretrainStep(config, model, optimizer, last_step=STEPS))
  return step.get_concrete_function(batch_of(config, config.image_size)).graph


def operations(graph):
  """Yields a graph's operations; those of the functions that it calls in their place."""
  for operation in graph.get_operations():
    name = next(
      (operation.get_attr(key).name for key in ("f", "then_branch") if has(operation, key)), None
    )
    if name is None:
      yield operation
    else:
      yield from operations(graph._get_function(name).graph)


def has(operation, key):
  """Whether an operation has an attribute that is a function."""
  return key in operation.node_def.attr and operation.node_def.attr[key].HasField("func")


def elements(tensor):
  """How many numbers a tensor holds; of unknown shape: none."""
  return tensor.shape.num_elements() or 0 if tensor.shape.rank is not None else 0


def flop(operation):
  """Multiplications and additions of a convolution or a matrix product; of others 0."""
  kind, inputs, outputs = operation.type, operation.inputs, operation.outputs
  if kind.startswith("Conv2D"):  # the gradients take what the convolution takes
    filters = outputs[0] if kind == "Conv2DBackpropFilter" else inputs[1]
    height, width, channels, _ = filters.shape
    return 2 * elements(outputs[0] if kind == "Conv2D" else inputs[2]) * height * width * channels
  if kind == "MatMul":
    rows = inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
    return 2 * elements(outputs[0]) * rows
  return 0


def moved(operation):
  """Bytes that an operation reads and writes."""
  tensors = [*operation.inputs, *operation.outputs]
  return sum(elements(tensor) * tensor.dtype.size for tensor in tensors)


def totals(graph, peak, bandwidth):
  """Of each kind: number of operations, FLOP, bytes and the seconds that they take at least.

  Args:
    peak: FLOP a second.
    bandwidth: bytes a second.
  """
  sums = collections.defaultdict(lambda: [0, 0.0, 0.0, 0.0])
  for operation in operations(graph):
    if operation.type in NO_KERNEL:
      continue
    kind = next((kind for kind, names in KINDS.items() if operation.type.startswith(names)), OTHERS)
    work, data = flop(operation), moved(operation)
    numbers = (1, work, data, max(work / peak, data / bandwidth))
    sums[kind] = [a + b for a, b in zip(sums[kind], numbers, strict=True)]
  return {kind: sums[kind] for kind in (*KINDS, OTHERS) if kind in sums}


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--sizes", default="64x16,128x64", help="<image size>x<filters>")
  parser.add_argument("--batches", default="16,64")
  parser.add_argument("--precision", default="mixed_bfloat16")
  parser.add_argument("--peak", type=float, default=790, help="TFLOP/s (an H200's in bfloat16)")
  parser.add_argument("--bandwidth", type=float, default=4.8, help="TB/s (an H200's)")
  args, options = parser.parse_known_args()
  for text in args.sizes.split(","):
    size, filters = map(int, text.split("x"))
    for batch in map(int, args.batches.split(",")):
      flags = (f"--image_size={size}", f"--base_filters={filters}", f"--train_batch_size={batch}")
      config = config_of([*options, *flags, f"--mixed_precision={args.precision}"])
      rows = totals(traced_step(config), args.peak * 1e12, args.bandwidth * 1e12)
      rows["all"] = [math.fsum(column) for column in zip(*rows.values(), strict=True)]
      print(f"{size} px, {filters} filters, batch {batch}, {args.precision}")
      print(f"  {'':34}{'number':>8}{'GFLOP':>10}{'GB':>8}{'ms at least':>13}")
      for kind, (number, work, data, seconds) in rows.items():
        print(
          f"  {kind:34}{number:8.0f}{work / 1e9:10.1f}{data / 1e9:8.2f}{1000 * seconds:13.2f}",
          flush=True,
        )


if __name__ == "__main__":
  main()
