"""Somebody else's network that maps images to vectors: a SavedModel or an ONNX file.

It is read by the protocol that our own networks are read by, so that a table can hold both.
"""

from collections.abc import Callable
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.errors import UsageError, short_message

logger = logging.getLogger(__name__)

VALUES = {
  "unit": "0 to 1",
  "symmetric": "-1 to 1",
  "bytes": "0 to 255",
  "imagenet": "ImageNet's mean and deviation",
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CHANNELS = (1, 3)
UNSUITED = (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)

# What the network takes: an axis of None is free. From images to what it gives.
Shape = tuple[int | None, ...]
Function = Callable[[np.ndarray], np.ndarray]


class ExternalNetwork:
  """A network of a file, called with images as ours are.

  Attributes:
    channels: that it takes.

  Args:
    path: of the SavedModel's folder or the ONNX file.
    scaling: what its input's values are: unit (0 to 1), symmetric (-1 to 1), bytes (0 to 255) or
      imagenet (less ImageNet's mean, by its deviation).
    output: name of the output that is taken; empty: the first.
    image_size: height and width of the images, pixels.

  Raises:
    UsageError: it can't be read, has no such output, or takes no such images.
  """

  def __init__(self, path: str, scaling: str, output: str, image_size: int) -> None:
    self._path, self._scaling = path, scaling
    read = _onnx if path.endswith(".onnx") else _saved_model
    self._function, shape, self._dtype = read(path, output)
    if len(shape) != 4:
      raise UsageError(
        f"checkpoint must take images, [batch, height, width, channels]. Received: {path}, which "
        f"takes {_words(shape)}"
      )
    if np.issubdtype(self._dtype, np.integer) and scaling != "bytes":
      raise UsageError(
        f"external_scaling must be bytes for {path}, which takes whole numbers. Received: {scaling}"
      )
    self._batch = shape[0]
    self._channels_first, self.channels, given = self._layout(shape, image_size)
    how = {2: "", 3: ", of which the first of a sequence is taken", 4: ", averaged over places"}
    logger.info(
      "Network of %s: takes %s, channels %s, values of %s (--external_scaling); gives %s%s",
      path,
      _words(shape),
      "first" if self._channels_first else "last",
      VALUES[scaling],
      _words((None, *given[1:])),
      how[len(given)],
    )

  def embed(self, images: tf.Tensor, *, layer: int = 0) -> tf.Tensor:
    """Returns vectors float32 `[B, F]` of images float32 `[B, H, W, C]` in [0, 1].

    A sequence `[B, T, F]` gives its first vector, the class token; maps give their mean over
    places.

    Raises:
      UsageError: the images have other channels.
    """
    assert not layer, layer
    pixels = np.asarray(images, np.float32)
    if pixels.shape[-1] != self.channels:
      raise UsageError(
        f"image_channels must be {self.channels} for {self._path}. Received: {pixels.shape[-1]}"
      )
    given = self._call(pixels, self._channels_first)
    if given.ndim == 4:
      given = given.mean(axis=(2, 3) if self._channels_first else (1, 2))
    return tf.constant(given[:, 0] if given.ndim == 3 else given)

  def representations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns what `embed` does, by name: there is nothing else to choose from."""
    return {"output": self.embed(images)}

  def _layout(self, shape: Shape, image_size: int) -> tuple[bool, int, tuple[int, ...]]:
    """Finds where channels are, how many, and the shape of what comes out, by trying."""
    errors = []
    for channels_first in (shape[1] in CHANNELS, shape[1] not in CHANNELS):
      axis, sides = (1, shape[2:]) if channels_first else (3, shape[1:3])
      if shape[axis] not in (*CHANNELS, None):
        continue
      if any(side not in (None, image_size) for side in sides):
        errors.append(f"image_size must be {sides[0]}")
        continue
      for channels in CHANNELS[::-1] if shape[axis] is None else (shape[axis],):
        assert channels
        if channels != len(IMAGENET_MEAN) and self._scaling == "imagenet":
          errors.append("external_scaling must not be imagenet, which is for RGB")
          continue
        try:
          images = np.zeros([1, image_size, image_size, channels], np.float32)
          given = self._call(images, channels_first)
        except UNSUITED as error:
          errors.append(f"image_size must suit it ({short_message(error)})")
          continue
        if given.ndim not in (2, 3, 4):
          errors.append(
            f"external_output must be vectors, sequences or maps, not {given.ndim} axes"
          )
          continue
        return channels_first, channels, given.shape
    raise UsageError(
      f"{errors[0] if errors else 'checkpoint must take 1 or 3 channels'}, for {self._path}, which "
      f"takes {_words(shape)}. Received: {image_size} pixels"
    )

  def _call(self, pixels: np.ndarray, channels_first: bool) -> np.ndarray:
    """Calls the function on images in [0, 1], in batches of the size that it takes."""
    if self._scaling == "symmetric":
      pixels = 2.0 * pixels - 1.0
    elif self._scaling == "bytes":
      pixels = 255.0 * pixels
    elif self._scaling == "imagenet":
      mean, deviation = np.array(IMAGENET_MEAN, "f4"), np.array(IMAGENET_DEVIATION, "f4")
      pixels = (pixels - mean) / deviation
    if np.issubdtype(self._dtype, np.integer):
      pixels = np.rint(pixels)
    pixels = pixels.astype(self._dtype)
    if channels_first:
      pixels = pixels.transpose(0, 3, 1, 2)
    size, parts = self._batch or len(pixels), []
    for start in range(0, len(pixels), size):
      part = pixels[start : start + size]
      padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
      parts.append(np.asarray(self._function(padded), np.float32)[: len(part)])
    return np.concatenate(parts)


def open_external(options: Experiment, path: str) -> ExternalNetwork:
  """Opens the network of a file as the options say that it is called."""
  return ExternalNetwork(
    path, options.external_scaling, options.external_output, options.evaluation_size
  )


def _saved_model(path: str, output: str) -> tuple[Function, Shape, np.dtype]:
  try:
    model = tf.saved_model.load(path)
    signatures = dict(model.signatures)
  except Exception as error:  # of TensorFlow and protobuf, whichever part is damaged
    raise UsageError(
      f"checkpoint must be a SavedModel that can be read ({short_message(error)}). Received: {path}"
    ) from error
  if "serving_default" not in signatures and len(signatures) != 1:
    raise UsageError(
      "checkpoint must be a SavedModel with the signature serving_default, or a single one. "
      f"Received: {path} with {', '.join(signatures) or 'none'}"
    )
  signature = signatures.get("serving_default") or next(iter(signatures.values()))
  inputs = signature.structured_input_signature[1]
  if len(inputs) != 1:
    raise _wrong_inputs(path, list(inputs))
  [(name, spec)] = inputs.items()
  chosen = _chosen_output(path, output, sorted(signature.structured_outputs))

  def function(pixels: np.ndarray) -> np.ndarray:
    given = signature(**{name: tf.constant(pixels)})
    return given[chosen].numpy()

  function.keeps = model  # type: ignore[attr-defined]  # its variables live as long as it does
  shape = (None,) * 4 if spec.shape.rank is None else tuple(spec.shape.as_list())
  return function, shape, np.dtype(spec.dtype.as_numpy_dtype)


def _onnx(path: str, output: str) -> tuple[Function, Shape, np.dtype]:
  try:
    import onnxruntime
  except ImportError as error:
    raise UsageError(
      f"checkpoint needs onnxruntime, from requirements-onnx.txt. Received: {path}"
    ) from error
  try:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  except Exception as error:  # onnxruntime has classes of its own for each kind of fault
    raise UsageError(
      f"checkpoint must be an ONNX file that can be read ({short_message(error)}). Received: {path}"
    ) from error
  inputs = session.get_inputs()
  if len(inputs) != 1:
    raise _wrong_inputs(path, [each.name for each in inputs])
  chosen = _chosen_output(path, output, [each.name for each in session.get_outputs()])

  def function(pixels: np.ndarray) -> np.ndarray:
    try:
      return session.run([chosen], {inputs[0].name: pixels})[0]
    except Exception as error:
      raise ValueError(short_message(error)) from error

  shape = tuple(side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape)
  kinds = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(uint8)": "u1"}
  return function, shape, np.dtype(kinds.get(inputs[0].type, "f4"))


def _chosen_output(path: str, output: str, names: list[str]) -> str:
  if output and output not in names:
    raise UsageError(
      f"external_output must be one of {', '.join(names)}, for {path}. Received: {output}"
    )
  return output or names[0]


def _wrong_inputs(path: str, names: list[Any]) -> UsageError:
  return UsageError(
    f"checkpoint must take one input, images. Received: {path}, which takes {', '.join(names)}"
  )


def _words(shape: tuple[int | None, ...]) -> str:
  return f"[{', '.join('any' if side is None else str(side) for side in shape)}]"
