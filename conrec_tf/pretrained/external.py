"""Somebody else's network that maps images to vectors: a SavedModel or an ONNX file.

It is read by the protocol that our own networks are read by, so that a table can hold both.
"""

from collections.abc import Callable, Sequence
import hashlib
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.errors import UsageError, as_usage_error, short_message
from conrec_tf.models.scaling import IMAGENET
from conrec_tf.pretrained.find import PretrainedModel, network_digest

logger = logging.getLogger(__name__)

VALUES = {
  "unit": "0 to 1",
  "symmetric": "-1 to 1",
  "bytes": "0 to 255",
  "imagenet": "ImageNet's mean and deviation",
}
CHANNELS = (3, 1)
BRIGHTEST = 255  # of bytes
UNSUITED = (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)

# What the network takes: an axis of None is free. From images to what it gives.
Shape = tuple[int | None, ...]
Function = Callable[[tf.Tensor], tf.Tensor]


class ExternalNetwork:
  """A network of a file, called with images as ours are, eagerly or inside a graph.

  Attributes:
    channels: that it takes.
    image_size: height and width of the images, pixels.
    width: the length of its vectors.

  Args:
    path: of the SavedModel's folder or the ONNX file.
    scaling: what its input's values are: unit (0 to 1), symmetric (-1 to 1), bytes (0 to 255) or
      imagenet (less ImageNet's mean, by its deviation).
    output: name of the output that is taken; empty: the first.
    image_size: height and width of the images, pixels.
    channels: numbers of channels that it may take; where it takes any, the first is chosen.
    option: the option that names the file, for messages.
    size_option: the option that gives the size, for messages.
    free_size: the size where `image_size` is 0 and the file says none.

  Raises:
    UsageError: it can't be read, has no such output, or takes no such images.
  """

  def __init__(
    self,
    path: str,
    scaling: str,
    output: str,
    image_size: int,
    *,
    channels: Sequence[int] = CHANNELS,
    option: str = "checkpoint",
    size_option: str = "image_size",
    free_size: int = 0,
  ) -> None:
    self._path, self._scaling, self._output = path, scaling, output
    self._option, self._size_option = option, size_option
    read = _onnx if path.endswith(".onnx") else _saved_model
    self._function, shape, self._dtype = read(path, output, option)
    if len(shape) != 4:
      raise UsageError(
        f"{option} must take images, [batch, height, width, channels]. Received: {path}, which "
        f"takes {_words(shape)}"
      )
    if self._dtype.is_integer and scaling != "bytes":
      raise UsageError(
        f"external_scaling must be bytes for {path}, which takes whole numbers. Received: {scaling}"
      )
    if self._dtype.is_integer and self._dtype.max < BRIGHTEST:
      raise UsageError(
        f"{option} must take fractions, or whole numbers up to {BRIGHTEST}. Received: {path}, "
        f"which takes {self._dtype.name}"
      )
    self._batch = shape[0]
    self._channels_first, self.channels, self.image_size, given = self._layout(
      shape, channels, image_size, free_size
    )
    self._rank = len(given)
    self._maps_first = _maps_first(given, self._channels_first)
    self.width = given[1] if self._rank == 4 and self._maps_first else given[-1]
    how = {2: "", 3: ", of which the first of a sequence is taken", 4: ", averaged over places"}
    logger.info(
      "Network of %s: takes %s, here of %d pixels (--%s), channels %s, values of %s "
      "(--external_scaling); gives %s%s",
      path,
      _words(shape),
      self.image_size,
      size_option,
      "first" if self._channels_first else "last",
      VALUES[scaling],
      _words((None, *given[1:])),
      how[self._rank],
    )

  def embed(self, images: tf.Tensor, *, layer: int = 0) -> tf.Tensor:
    """Returns vectors float32 `[B, F]` of images float32 `[B, H, W, C]` in [0, 1].

    A sequence `[B, T, F]` gives its first vector, the class token; maps give their mean over
    places.

    Raises:
      UsageError: the images have other channels.
    """
    assert not layer, layer
    pixels = tf.cast(images, tf.float32)
    if pixels.shape[-1] != self.channels:
      raise UsageError(
        f"image_channels must be {self.channels} for {self._path}. Received: {pixels.shape[-1]}"
      )
    given = self._call(pixels, self._channels_first)
    given = tf.ensure_shape(given, [None] * self._rank)
    if self._rank == 4:
      return tf.reduce_mean(given, axis=[2, 3] if self._maps_first else [1, 2])
    return given[:, 0] if self._rank == 3 else given

  def representations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns what `embed` does, by name: there is nothing else to choose from."""
    return {"output": self.embed(images)}

  def digest(self, layer: int = 0) -> str:
    """Returns a hash of its files, and of how it is called."""
    assert not layer, layer
    files = network_digest(PretrainedModel("external", self._path))
    called = repr([files, self._scaling, self._output])
    return hashlib.sha256(called.encode()).hexdigest()

  def _layout(
    self, shape: Shape, numbers: Sequence[int], image_size: int, free_size: int
  ) -> tuple[bool, int, int, tuple[int, ...]]:
    """Finds where channels are, how many, the size and the shape of what comes out, by trying."""
    errors, size = [], image_size
    for channels_first in (shape[1] in numbers, shape[1] not in numbers):
      axis, sides = (1, shape[2:]) if channels_first else (3, shape[1:3])
      if shape[axis] not in (*numbers, None):
        continue
      fixed = sorted({side for side in sides if side})
      size = image_size or next(iter(fixed), free_size)
      if len(fixed) > 1:
        errors.append(f"{self._option} must take square images")
        continue
      if fixed not in ([], [size]):
        errors.append(f"{self._size_option} must be {fixed[0]}")
        continue
      for channels in numbers if shape[axis] is None else (shape[axis],):
        assert channels
        if channels != len(IMAGENET.mean) and self._scaling == "imagenet":
          errors.append("external_scaling must not be imagenet, which is for RGB")
          continue
        try:
          given = self._call(tf.zeros([1, size, size, channels]), channels_first)
        except UNSUITED as error:
          errors.append(f"{self._size_option} must suit it ({short_message(error)})")
          continue
        if given.ndim not in (2, 3, 4):
          errors.append(
            f"external_output must be vectors, sequences or maps, not {given.ndim} axes"
          )
          continue
        return channels_first, channels, size, tuple(given.shape)
    counts = " or ".join(map(str, sorted(numbers)))
    raise UsageError(
      f"{errors[0] if errors else f'{self._option} must take {counts} channels'}, for "
      f"{self._path}, which takes {_words(shape)}. Received: {size} pixels"
    )

  def _call(self, pixels: tf.Tensor, channels_first: bool) -> tf.Tensor:
    """Calls the function on images in [0, 1], in batches of the size that it takes."""
    if self._scaling == "symmetric":
      pixels = 2.0 * pixels - 1.0
    elif self._scaling == "bytes":
      pixels = 255.0 * pixels
    elif self._scaling == "imagenet":
      pixels = IMAGENET(pixels)
    if self._dtype.is_integer:
      pixels = tf.round(pixels)
    pixels = tf.cast(pixels, self._dtype)
    if channels_first:
      pixels = tf.transpose(pixels, [0, 3, 1, 2])
    if not self._batch:
      return tf.cast(self._function(pixels), tf.float32)
    parts = []
    for start in range(0, pixels.shape[0], self._batch):
      part = pixels[start : start + self._batch]
      missing = self._batch - part.shape[0]
      padded = tf.concat([part, tf.repeat(part[-1:], missing, axis=0)], axis=0)
      parts.append(tf.cast(self._function(padded), tf.float32)[: part.shape[0]])
    return tf.concat(parts, axis=0)


def _maps_first(given: tuple[int, ...], channels_first: bool) -> bool:
  """Returns whether maps have their channels first, of a network whose images have or haven't.

  Mostly they are as the images; but a Swin transformer's are last whatever these are. Images are
  square, and so are maps of them.
  """
  if len(given) != 4:
    return channels_first
  first, last = given[2] == given[3], given[1] == given[2]
  return first if first != last else channels_first


def open_external(options: Experiment, path: str) -> ExternalNetwork:
  """Opens the network of a file as the options say that it is called."""
  return ExternalNetwork(
    path, options.external_scaling, options.external_output, options.evaluation_size
  )


def _saved_model(path: str, output: str, option: str) -> tuple[Function, Shape, tf.DType]:
  # Of TensorFlow and protobuf, whichever part is damaged.
  with as_usage_error(f"{option} must be a SavedModel that can be read", path, Exception):
    model = tf.saved_model.load(path)
    signatures = dict(model.signatures)
  if "serving_default" not in signatures and len(signatures) != 1:
    raise UsageError(
      f"{option} must be a SavedModel with the signature serving_default, or a single one. "
      f"Received: {path} with {', '.join(signatures) or 'none'}"
    )
  signature = signatures.get("serving_default") or next(iter(signatures.values()))
  inputs = signature.structured_input_signature[1]
  if len(inputs) != 1:
    raise _wrong_inputs(path, option, list(inputs))
  [(name, spec)] = inputs.items()
  chosen = _chosen_output(path, output, sorted(signature.structured_outputs))

  def function(pixels: tf.Tensor) -> tf.Tensor:
    return signature(**{name: pixels})[chosen]

  function.keeps = model  # type: ignore[attr-defined]  # its variables live as long as it does
  shape = (None,) * 4 if spec.shape.rank is None else tuple(spec.shape.as_list())
  return function, shape, spec.dtype


def _onnx(path: str, output: str, option: str) -> tuple[Function, Shape, tf.DType]:
  try:
    import onnxruntime
  except ImportError as error:
    raise UsageError(
      f"{option} needs onnxruntime, from requirements-onnx.txt. Received: {path}"
    ) from error
  # The library has classes of its own for each kind of fault.
  with as_usage_error(f"{option} must be an ONNX file that can be read", path, Exception):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  inputs = session.get_inputs()
  if len(inputs) != 1:
    raise _wrong_inputs(path, option, [each.name for each in inputs])
  chosen = _chosen_output(path, output, [each.name for each in session.get_outputs()])

  def run(pixels: np.ndarray) -> np.ndarray:
    try:
      return np.asarray(session.run([chosen], {inputs[0].name: pixels})[0], np.float32)
    except Exception as error:
      raise ValueError(short_message(error)) from error

  def function(pixels: tf.Tensor) -> tf.Tensor:
    if tf.executing_eagerly():
      return tf.constant(run(pixels.numpy()))
    return tf.numpy_function(run, [pixels], tf.float32, stateful=False)

  shape = tuple(side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape)
  kind = inputs[0].type.removeprefix("tensor(").removesuffix(")")  # whose names TensorFlow knows
  return function, shape, tf.as_dtype(kind)


def _chosen_output(path: str, output: str, names: list[str]) -> str:
  if output and output not in names:
    raise UsageError(
      f"external_output must be one of {', '.join(names)}, for {path}. Received: {output}"
    )
  if not output and len(names) > 1:
    shown = ", ".join(names)
    logger.info("Of the outputs %s of %s the first is taken (--external_output)", shown, path)
  return output or names[0]


def _wrong_inputs(path: str, option: str, names: list[Any]) -> UsageError:
  return UsageError(
    f"{option} must take one input, images. Received: {path}, which takes {', '.join(names)}"
  )


def _words(shape: tuple[int | None, ...]) -> str:
  return f"[{', '.join('any' if side is None else str(side) for side in shape)}]"
