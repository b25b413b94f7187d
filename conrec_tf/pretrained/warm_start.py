"""Weights of a trained network as the start of another's pre-training."""

from collections.abc import Sequence
import dataclasses
import logging

import numpy as np

from conrec_tf.config import Description, Model, Training
from conrec_tf.errors import UsageError
from conrec_tf.models import ConRec, build_model
from conrec_tf.models.unet import UNetDecoder
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.pretrained.load import PARTS, load_network

logger = logging.getLogger(__name__)


def warm_start(
  pretrained: PretrainedModel, model: ConRec, options: Training, parts: Sequence[str] = PARTS
) -> None:
  """Gives a network what fits of a trained one's weights, and says what didn't.

  The encoder must fit but for the channels of its images: its first kernel is summed over them for
  grey images, and else repeated, times the channels that it had over those that it gets. Of the
  other parts all weights of the same place and shape are taken, where a part has as many of them. A
  decoder with more skip connections than the trained one begins without their influence.

  Args:
    model: a built network; its weights change.
    options: those that `model` was built by.
    parts: names of those to take from, the encoder among them.

  Raises:
    UsageError: it can't be read, or its encoder is another one.
  """
  if pretrained.kind == "external":
    raise UsageError(
      f"checkpoint must be a network of this package, for pre-training. Received: {pretrained.path}"
    )
  # What a checkpoint doesn't say is as in the run: a file of the authors' says little.
  values = dataclasses.asdict(options) | pretrained.values_with_head | {"encoder_weights": ""}
  source = build_model(Description(**values), pretrained.channels or None)
  load_network(pretrained, source)
  left = []
  for name in parts:
    given, taken = getattr(source, name), getattr(model, name)
    if taken is None or not taken.weights:
      continue
    weights = [weight.numpy() for weight in given.weights] if given else []
    if given and name == "decoder" and len(given.skip_blocks) < len(taken.skip_blocks):
      weights = _with_skips(given, taken)
    shapes = [tuple(weight.shape) for weight in taken.weights]
    if name == "encoder":
      _check_encoder(weights, shapes, pretrained, options)
      weights[0] = _with_channels(weights[0], shapes[0])
    if len(weights) != len(shapes):
      left.append(name)
      continue
    for weight, value, shape in zip(taken.weights, weights, shapes, strict=True):
      if value.shape == shape:
        weight.assign(value)
      else:
        left.append(weight.name.split(":")[0])
  logger.info(
    "Training starts from %s, step %d%s",
    pretrained.path,
    pretrained.step,
    f"; not taken, as it doesn't fit: {', '.join(left)}" if left else "",
  )


def _check_encoder(
  given: list[np.ndarray],
  taken: list[tuple[int, ...]],
  pretrained: PretrainedModel,
  options: Model,
) -> None:
  """Raises UsageError where encoders differ in more than the images' channels."""
  names = ("encoder", "base_filters", "unet_depth")
  shapes = [value.shape for value in given]
  but_channels = [(*first[:2], *first[3:]) for first in (shapes[0], taken[0])]
  if but_channels[0] == but_channels[1] and shapes[1:] == taken[1:]:
    return
  wanted = ", ".join(f"{name}={getattr(options, name)}" for name in names)
  there = ", ".join(f"{name}={pretrained.values.get(name, 'unknown')}" for name in names)
  raise UsageError(f"checkpoint must have {wanted}. Received: {there} in {pretrained.path}")


def _with_skips(given: UNetDecoder, taken: UNetDecoder) -> list[np.ndarray]:
  """Returns the weights of a decoder with more skip connections that computes what `given` does.

  Each block of the deepest skips and of the levels is that of `given`; where it joins a skip that
  `given` lacks, the part of its kernel that meets the skip is 0. What `given` lacks stays as it is.
  """
  added = len(taken.skip_blocks) - len(given.skip_blocks)
  blocks = [*zip(given.skip_blocks, taken.skip_blocks[added:], strict=True)]
  for level in zip(given.levels, taken.levels, strict=True):
    blocks += zip(*level, strict=True)
  blocks.append((given.output_convolution, taken.output_convolution))
  values = {weight.ref(): weight.numpy() for weight in taken.weights}
  for before, after in blocks:
    for old, new in zip(before.weights, after.weights, strict=True):
      value = old.numpy()
      if len(value.shape) == len(new.shape) == 4:
        value = np.pad(value, [(0, 0), (0, 0), (0, new.shape[2] - value.shape[2]), (0, 0)])
      values[new.ref()] = value
  return list(values.values())


def _with_channels(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Returns a first kernel `[k, k, C, F]` for images of other channels."""
  if kernel.shape == shape:
    return kernel
  before, after = kernel.shape[2], shape[2]
  if after == 1:
    return kernel.sum(axis=2, keepdims=True)
  return np.take(kernel, np.arange(after) % before, axis=2) * (before / after)
