"""Converts the network for other runtimes: ONNX and TensorFlow Lite."""

from collections.abc import Callable, Iterator
import contextlib
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf


def onnx_bytes(
  function: Callable[[tf.Tensor], tf.Tensor], spec: tf.TensorSpec, name: str = "embedding"
) -> bytes:
  """Converts a function of images to the file of an ONNX model, whose input is called images.

  The images are float32; their sizes are None in `spec` where they are free.
  """
  import tf2onnx  # an optional package

  named = tf.function(lambda images: tf.identity(function(images), name=name), autograph=False)
  model, _ = tf2onnx.convert.from_function(named, [spec], opset=17)
  [output] = model.graph.output
  for node in model.graph.node:
    node.output[:] = [name if found == output.name else found for found in node.output]
  output.name = name
  return model.SerializeToString()


def tflite_bytes(
  function: Callable[[tf.Tensor], tf.Tensor], spec: tf.TensorSpec, dynamic_range: bool = False
) -> bytes:
  """Converts a function to a TensorFlow Lite model.

  Args:
    spec: of the images, float32, of one fixed size; without a decoder the batch can be resized.
    dynamic_range: whether weights are quantised to 8 bits.
  """
  concrete = tf.function(function, autograph=False).get_concrete_function(spec)
  converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
  if dynamic_range:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  with _quiet():
    return converter.convert()


def run_onnx(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
  """Returns float32 outputs `[B, ...]` of images as onnxruntime computes them on the CPU."""
  import onnxruntime

  session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
  return session.run(None, {"images": np.asarray(images)})[0]


def run_tflite(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
  """Returns float32 outputs `[B, ...]` of images as TensorFlow Lite computes them, one by one.

  A network with a decoder can't be given a larger batch.
  """
  with _quiet():
    interpreter = tflite_interpreter(path)
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.allocate_tensors()
  outputs = []
  for image in np.asarray(images):
    interpreter.set_tensor(taken["index"], image[np.newaxis])
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
