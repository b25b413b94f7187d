"""Converts the network for other runtimes: ONNX and TensorFlow Lite."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf


def onnx_bytes(
  function: Callable[[tf.Tensor], Any], spec: tf.TensorSpec, names: Sequence[str] = ("embedding",)
) -> bytes:
  """Converts a function of images to the file of an ONNX model, whose input is called images.

  The images are float32; their sizes are None in `spec` where they are free.

  Args:
    function: returns a tensor, or tensors by name.
    names: of what it returns, in their order.
  """
  import tf2onnx  # an optional package

  named = tf.function(
    lambda images: tf.nest.map_structure(tf.identity, function(images)), autograph=False
  )
  model, _ = tf2onnx.convert.from_function(named, [spec], opset=17)
  outputs = dict(zip([output.name for output in model.graph.output], names, strict=True))
  for node in model.graph.node:
    node.input[:] = [outputs.get(name, name) for name in node.input]
    node.output[:] = [outputs.get(name, name) for name in node.output]
  for output in model.graph.output:
    output.name = outputs[output.name]
  return model.SerializeToString()


def tflite_bytes(
  function: Callable[[tf.Tensor], Any], spec: tf.TensorSpec, dynamic_range: bool = False
) -> bytes:
  """Converts a function to a TensorFlow Lite model.

  Args:
    function: returns a tensor, or tensors by name, which are those of its one signature.
    spec: of the images, float32, of one fixed size; without a decoder the batch can be resized.
    dynamic_range: whether weights are quantised to 8 bits.
  """
  concrete = tf.function(function, autograph=False).get_concrete_function(spec)
  module = None
  if isinstance(concrete.structured_outputs, dict):  # names are kept of an object's functions alone
    module = tf.Module()
    module.call, module.read = concrete, concrete.variables
  converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
  if dynamic_range:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  with _quiet():
    return converter.convert()


def run_onnx(path: str | os.PathLike, images: np.ndarray, output: str = "") -> np.ndarray:
  """Returns an output `[B, ...]` of images as onnxruntime computes it on the CPU; the first one."""
  import onnxruntime

  session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
  return session.run([output] if output else None, {"images": np.asarray(images)})[0]


def run_tflite(path: str | os.PathLike, images: np.ndarray, output: str = "") -> np.ndarray:
  """Returns an output `[B, ...]` of images as TensorFlow Lite computes it, one by one.

  A network with a decoder can't be given a larger batch.

  Args:
    output: its name; empty of a file that has one output without a name.
  """
  with _quiet():
    interpreter = tflite_interpreter(path)
    interpreter.allocate_tensors()
  rows = np.asarray(images)[:, np.newaxis]
  if output:
    run = interpreter.get_signature_runner()
    return np.concatenate([run(images=image)[output] for image in rows])
  [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
  outputs = []
  for image in rows:
    interpreter.set_tensor(taken["index"], image)
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(given["index"]))
  return np.concatenate(outputs)


def tflite_interpreter(path: str | os.PathLike, num_threads: int | None = None) -> Any:
  """Returns LiteRT's interpreter of a file; TensorFlow's older one where there is no LiteRT."""
  try:
    from ai_edge_litert.interpreter import Interpreter
  except ImportError:
    Interpreter = tf.lite.Interpreter
  return Interpreter(os.fspath(path), num_threads=num_threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences the statistics that TensorFlow Lite writes past Python's streams."""
  sys.stderr.flush()
  kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
  os.dup2(null, 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(null)
