"""Networks that a verdict compares: found on disk, opened, and read in one way."""

from collections.abc import Callable, Mapping
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.commands.tasks import portable_network
from conrec_tf.config import Description, Experiment
from conrec_tf.config.options.option import section_with
from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.embedding import Embedder, embed_split
from conrec_tf.evaluation.probes import Labelled
from conrec_tf.models import build_model
from conrec_tf.models.scaling import in_channels
from conrec_tf.pretrained.external import open_external
from conrec_tf.pretrained.find import (
  READ,
  network_digest,
  resolve_checkpoint,
  starting_network,
)
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.evaluations import recompute_normalization

EMBEDDING, RECOMPUTED = "embedding", "embedding after recomputed batch norm"
GREY, RGB = 1, 3

# Embeddings float [N, F] of a split by name of the representation, and its labels.
Represented = tuple[dict[str, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Network:
  """A network that is measured.

  Attributes:
    path: where it lies; empty of an untrained one.
    record: what tells it, and what it is given, from any other; JSON's types alone.
    represent: from the data to what a classifier may read of the network, of the train and of the
      eval split.
  """

  path: str
  record: dict[str, Any]
  represent: Callable[[DatasetSource], tuple[Represented, Represented]]


class InItsChannels:
  """A network that takes RGB, given grey images three times."""

  def __init__(self, network: Embedder) -> None:
    self._network = network

  def embed(self, images: tf.Tensor, *, layer: int = 0) -> tf.Tensor:
    """Returns float32 `[B, F]` of images float32 `[B, H, W, 1]` in [0, 1]."""
    return self._network.embed(in_channels(images, RGB), layer=layer)

  def representations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns all that could be taken instead, float `[B, F]` by name."""
    return self._network.representations(in_channels(images, RGB))

  def digest(self, layer: int = 0) -> str:
    """Returns what tells its vectors from those of other networks."""
    return self._network.digest(layer)


def trained_network(
  path: str,
  asked: Experiment,
  settings: Mapping[str, Any],
  channels: int,
  flag: str,
  read_as_asked: bool = False,
) -> Network:
  """Returns the network of a run, or of a file of whichever kind `--checkpoint` takes.

  A run or network of this package is read by its own sizes, crops and layers, anybody else's as
  `asked` says, or where it was evaluated in a folder as that says.

  Args:
    settings: `{option: value}` of all that is asked for.
    channels: of the images.
    flag: where its path comes from, for messages.
    read_as_asked: whether it is the run that `asked` is about, and read as that says.

  Raises:
    UsageError: it can't be read, or takes other images.
  """
  given = _options(settings, READ) if read_as_asked else {}
  try:
    options, found, open_network = _opened(path, asked, settings, channels, given)
  except UsageError as error:
    raise UsageError(f"Of {flag}={path}: {error}") from error
  digest, takes = found
  repeats = takes == RGB and channels == GREY
  if takes != channels and not repeats:
    raise UsageError(
      f"{flag} must take images of {channels} channels, or of {RGB} where they are grey. "
      f"Received: {path}, which takes {takes}"
    )

  def represent(source: DatasetSource) -> tuple[Represented, Represented]:
    network = open_network()
    model = InItsChannels(network) if repeats else network
    return _represented({EMBEDDING: lambda: model}, source, options)

  return Network(path, {"network": digest, "read": _reading(options)}, represent)


def untrained_network(path: str, settings: Mapping[str, Any], channels: int) -> Network:
  """Returns the network that a run began from: drawn from its seed, with nothing learnt.

  Args:
    settings: `{option: value}` of all that is asked for, by which it is read.
    channels: of the images.
  """
  stored = RunDirectory(path).settings
  given = _options(settings, READ)
  options = Description.from_settings({**stored, **given, "mixed_precision": "float32"})

  def represent(source: DatasetSource) -> tuple[Represented, Represented]:
    model = build_model(options, channels, with_decoder=False, with_encoder_weights=False)

    def recomputed() -> Embedder:
      recompute_normalization(options, model, source)
      return model

    return _represented({EMBEDDING: lambda: model, RECOMPUTED: recomputed}, source, options)

  record = {"untrained": _drawn(options.settings), "channels": channels, "read": _reading(options)}
  return Network("", record, represent)


Opened = tuple[Experiment, tuple[str, int], Callable[[], Embedder]]


def _opened(
  path: str,
  asked: Experiment,
  settings: Mapping[str, Any],
  channels: int,
  given: Mapping[str, Any],
) -> Opened:
  """Returns how a network is read, its digest and channels, and what opens it.

  Args:
    given: of `READ`, where it isn't read as it says itself.
  """
  directory = RunDirectory(path)
  stored = directory.settings if pathlib.Path(path).is_dir() else {}
  if stored and not directory.has_checkpoints:  # of a network that was evaluated as it is
    options = Description.from_settings(stored)
    if options.checkpoint:
      path, given = options.checkpoint, _options(options.settings, READ)
    elif options.encoder_weights:
      weights = starting_network("", options.encoder_weights)
      digest = json.dumps([_drawn(options.settings), weights], sort_keys=True)
      return options, (digest, channels), lambda: build_model(options, channels)
    if options.encoder == "external":
      return _external(path, options)
  pretrained = resolve_checkpoint(path)
  if pretrained.kind == "external":
    return _external(path, asked)
  known = pretrained.settings or {**settings, **pretrained.values}
  options = Description.from_settings({**known, **given})
  if pretrained.settings:  # a head beside pre-training isn't read, and knows the own layers alone
    settings = {**pretrained.settings, "lineareval_while_pretraining": False}
    pretrained = dataclasses.replace(pretrained, settings=settings)
  takes = pretrained.channels or channels
  return (
    options,
    (network_digest(pretrained), takes),
    lambda: portable_network(options, pretrained)[1],
  )


def _external(path: str, options: Experiment) -> Opened:
  network = open_external(options, os.path.expanduser(path))
  digest = network_digest(resolve_checkpoint(path))
  whole = section_with(Experiment, options, ft_proj_selector=0)  # it has no layers to choose from
  return whole, (digest, network.channels), lambda: network


def _represented(
  networks: dict[str, Callable[[], Embedder]], source: DatasetSource, options: Experiment
) -> tuple[Represented, Represented]:
  """Embeds the train and the eval split with each of some networks, made one after the other."""
  found: dict[str, list[Labelled]] = {}
  for name, make in networks.items():
    model = make()
    splits = (source.train, source.eval)
    found[name] = [embed_split(model, source, split, options) for split in splits]
  train, test = (
    ({name: splits[side][0] for name, splits in found.items()}, found[EMBEDDING][side][1])
    for side in (0, 1)
  )
  return train, test


def _reading(options: Experiment) -> dict[str, Any]:
  """Returns `{option: value}` of how images are given and what is taken, as JSON has it."""
  return {
    "evaluation_size": options.evaluation_size,
    "eval_crops": options.eval_crops,
    "ft_proj_selector": options.ft_proj_selector,
    "representation_levels": options.representation_levels,
    "external_scaling": options.external_scaling,
    "external_output": options.external_output,
  }


def _options(settings: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
  return {name: settings[name] for name in names}


def _drawn(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what the weights of an untrained network depend on, `{option: value}`."""
  return _options(settings, (*ARCHITECTURE_OPTIONS, "seed"))
