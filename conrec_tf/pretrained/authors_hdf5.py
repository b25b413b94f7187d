"""Keras HDF5 files of the authors' implementation: ConRec and SimCLR U-nets.

Such a file holds a functional model whose layers are known by kind and order of creation alone:
`conv2d`, `conv2d_1`, ... The convolutions come level by level of the encoder (two, then the
skip's 1x1, which SimCLR files lack), then the attention's four, then the decoder's from the
deepest level up; batch norms and dense layers come in the same order, the projection head's
after the attention's. Only arrays are read.
"""

import json
import os
from typing import Any

import h5py
import numpy as np

from conrec_tf.config.options.data import as_image_channels
from conrec_tf.errors import UsageError, as_usage_error
from conrec_tf.models import ConRec

# Arrays in the order of Keras' `set_weights`, by kind of layer.
KINDS = {
  "conv2d": ("kernel", "bias"),
  "dense": ("kernel", "bias"),
  "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
# The replication of a location's weight over channels, and the decoder's last convolution.
REPLICATION, OUTPUT = "attention_up", "reconst_output"


Layer = list[np.ndarray]  # the arrays of a layer, in the order of Keras' set_weights


class AuthorsCheckpoint:
  """The weights in a file, by their role in the network.

  Attributes:
    roles: `{role: [layer, ...]}` in order of creation, a layer being its list of arrays; the
      roles are encoder, skips, attention, gate, projection, decoder, output, and each but
      gate and output alternates convolution (or dense) and batch norm.
    channels: of the images.
    values: `{option: value}` of the network.

  Args:
    path: a whole model, or weights alone.

  Raises:
    UsageError: it is no such file, or holds layers that have no place in this network.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    self._path = path
    layers, image_size = _read(path)
    try:
      self.roles = self._sorted_by_role(layers)
      if layers:
        raise self._error(f"layers without a place: {', '.join(layers)}")
      self.channels = self.roles["encoder"][0][0].shape[2]
      self.values = self._options(image_size)
    except (LookupError, ArithmeticError):
      raise self._error("layers that don't make an encoder") from None

  def _options(self, image_size: int | None) -> dict[str, Any]:
    """Returns `{option: value}` of the network."""
    first, deepest = self.roles["encoder"][0][0], self.roles["encoder"][-2][0]
    projection = self.roles["projection"][0::2]
    return {
      "train_mode": "pretrain",
      "encoder": "unet",
      "representation_levels": "last",
      "skip_connections": "all",
      "base_filters": first.shape[3],
      "unet_depth": 1 + int(np.log2(deepest.shape[3] / first.shape[3])),
      "pooling": "attention" if self.roles["gate"] else "average",
      "proj_head_mode": "nonlinear" if projection else "none",
      "contrastive_weight": 1.0,
      "reconstruction_weight": 100.0 if self.roles["output"] else 0.0,
      "image_channels": as_image_channels(self.channels),
      **(
        {"num_proj_layers": len(projection), "proj_out_dim": projection[-1][0].shape[1]}
        if projection
        else {}
      ),
      **({"image_size": image_size} if image_size else {}),
    }

  def assign(self, model: ConRec) -> None:
    """Gives the weights to a built network.

    Raises:
      UsageError: a part of the model has other shapes, or no weights in the file.
    """
    levels = getattr(model.encoder, "levels", [])
    places = {
      "encoder": [block for level in levels for block in level],
      "attention": getattr(model.pooling, "blocks", []),
    }
    if model.decoder:
      places["skips"] = model.decoder.skip_blocks
      places["decoder"] = [block for level in reversed(model.decoder.levels) for block in level]
    found = {
      role: [part for block in blocks for part in (block.convolution, block.batch_norm)]
      for role, blocks in places.items()
    }
    found["gate"] = [getattr(model.pooling, "gate", None)]
    if model.projection_head:
      head = model.projection_head
      found["projection"] = [
        part for pair in zip(head.dense, head.batch_norms, strict=True) for part in pair
      ]
    if model.decoder:
      found["output"] = [model.decoder.output_convolution]
    found = {role: [part for part in parts if part] for role, parts in found.items()}
    others = [
      role
      for role, parts in found.items()
      if _shapes(self.roles[role]) != _shapes([part.get_weights() for part in parts])
    ]
    if others:
      raise UsageError(
        "checkpoint must hold the network that the flags describe. Received: "
        f"{self._path} with other layers in {', '.join(others)}"
      )
    for role, parts in found.items():
      for part, arrays in zip(parts, self.roles[role], strict=True):
        part.set_weights(arrays)

  def _sorted_by_role(self, layers: dict[str, Layer]) -> dict[str, list[Layer]]:
    """Takes layers out of `{name: arrays}` and puts them where they belong."""
    convolutions, dense, batch_norms = (
      [
        layers.pop(name)
        for name in sorted((name for name in layers if _parts(name)[0] == kind), key=_parts)
      ]
      for kind in ("conv2d", "dense", "batch_normalization")
    )
    roles: dict[str, list[Layer]] = {
      role: []
      for role in ("encoder", "skips", "attention", "gate", "projection", "decoder", "output")
    }

    def take(role: str, queue: list[Layer]) -> None:
      roles[role] += [queue.pop(0), batch_norms.pop(0)]

    width: int | None = None
    while _begins_level(convolutions, width):
      width = convolutions[0][0].shape[3]
      take("encoder", convolutions)
      take("encoder", convolutions)
      if convolutions and convolutions[0][0].shape == (1, 1, width, width):
        take("skips", convolutions)
    if convolutions and convolutions[0][0].shape[:3] == (1, 1, width):
      for _ in range(3):
        take("attention", convolutions)
      roles["gate"].append(convolutions.pop(0))
      replication = layers.pop(REPLICATION, [np.ones(1)])
      if not (np.all(replication[0] == 1) and not np.any(replication[1:])):
        raise self._error(f"{REPLICATION} with weights other than 1")
    while dense:
      take("projection", dense)
    while convolutions:
      take("decoder", convolutions)
    roles["output"] = [layers.pop(OUTPUT)] if OUTPUT in layers else []
    if batch_norms:
      raise self._error(f"{len(batch_norms)} batch norms too many")
    return roles

  def _error(self, what: str) -> UsageError:
    return UsageError(
      "checkpoint must be a U-net of the authors' implementation. "
      f"Received: {self._path} with {what}"
    )


def _shapes(layers: list[Layer]) -> list[list[tuple[int, ...]]]:
  return [[array.shape for array in layer] for layer in layers]


def _read(path: str | os.PathLike) -> tuple[dict[str, Layer], int | None]:
  """Returns `{layer name: [array, ...]}` of layers with weights, and the images' side or None."""
  # Of h5py's many kinds.
  with as_usage_error(
    "checkpoint must be an HDF5 file of the authors' implementation", path, Exception
  ):
    with h5py.File(path, "r") as file:
      layers = {}
      for name, group in file.get("model_weights", file).items():
        keys = [_text(key) for key in group.attrs["weight_names"]]
        arrays = {key.rsplit("/", 1)[-1].split(":")[0]: np.asarray(group[key]) for key in keys}
        order = KINDS.get(_parts(name)[0], KINDS["conv2d"])
        if arrays:
          layers[name] = [arrays[part] for part in order if part in arrays]
      return layers, _image_size(file)


def _image_size(file: h5py.File) -> int | None:
  """Returns the height of the input layer, or None."""
  if "model_config" not in file.attrs:
    return None
  layers = json.loads(_text(file.attrs["model_config"]))["config"]["layers"]
  return next(
    (
      layer["config"]["batch_input_shape"][1]
      for layer in layers
      if "batch_input_shape" in layer["config"]
    ),
    None,
  )


def _begins_level(convolutions: list[Layer], before: int | None) -> bool:
  """Returns whether two 3x3 convolutions follow, from `before` filters to twice as many."""
  if len(convolutions) < 2:
    return False
  first, second = (layer[0].shape for layer in convolutions[:2])
  return (
    first[:2] == second[:2] == (3, 3)
    and first[3] == second[2] == second[3]
    and before in (None, first[2])
    and (before is None or first[3] == 2 * before)
  )


def _parts(name: str) -> tuple[str, int]:
  """Returns a layer's kind and its number, in order of creation, which Keras appends but to 0."""
  stem, _, number = name.rpartition("_")
  return (stem, int(number)) if number.isdecimal() else (name, 0)


def _text(value: Any) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)
