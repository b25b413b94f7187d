"""`--mode=export`: a trained network for use elsewhere."""

from collections.abc import Mapping
import dataclasses
import logging
import pathlib
from typing import Any

import tensorflow as tf

from conrec_tf.commands.tasks import TASKS, known_center_crop, portable_network
from conrec_tf.config import Config
from conrec_tf.config.migrations import current_settings
from conrec_tf.data.registry import takes_centre
from conrec_tf.export.export import check_formats, metadata, write_exports
from conrec_tf.pretrained.find import (
  MOMENTUM,
  READ,
  PretrainedModel,
  momentum_network,
  network_digest,
  resolve_checkpoint,
)
from conrec_tf.run_dir.measurement import Measurement, changed_words
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Exports the network of `--checkpoint`, or the one in `model_dir`, to `model_dir`."""
  check_formats(config.export_format)
  directory = config.run_directory
  pretrained = resolve_checkpoint(config.checkpoint, config.export_checkpoint, directory)
  export_network(config, pretrained, RunDirectory(directory))


def export_network(
  config: Config, pretrained: PretrainedModel, directory: RunDirectory
) -> list[pathlib.Path]:
  """Writes a trained network in each of `config.export_format`; see `write_exports`.

  The network is float32 without synchronised batch norm, whatever it was trained in.

  Raises:
    UsageError: it can't be read or written, or what was written computes something else.
  """
  if not config.export_format:
    return []
  if config.export_weights == MOMENTUM:
    pretrained = momentum_network(pretrained)
  with tf.device("CPU:0"):
    own, model, head = portable_network(config, pretrained)
  known = known_center_crop(config, pretrained, directory)
  crop = not own.is_segmenting and takes_centre(config.eval_crop, known, by_data=True)
  if pretrained.network != MOMENTUM:  # which nothing measured
    result = _result(pretrained, directory, own.settings, crop)
    pretrained = dataclasses.replace(pretrained, result=result)
  if own.eval_crops > 1:
    logger.info(
      "What is exported takes images as they are; the run's numbers are of means over %d crops",
      own.eval_crops,
    )
  kept = TASKS[own.train_mode].classifier(
    pretrained,
    model,
    own.ft_proj_selector,
    head,
    directory.path,
    {"evaluation_size": own.evaluation_size, "center_crop": crop},
  )
  channels, standardise = pretrained.channels or config.channels, config.standardize_embeddings
  described = metadata(own, pretrained, channels, crop, kept, standardise)
  exported = TASKS[own.train_mode].export(model, head, described, kept)
  return write_exports(exported, config.export_format, described, directory)


def _result(
  pretrained: PretrainedModel, directory: RunDirectory, settings: Mapping[str, Any], crop: bool
) -> dict[str, Any]:
  """Returns what an evaluation in a folder found of a network, or else what its own run did.

  Args:
    settings: `{option: value}` of what is exported; nothing is said of a network that is read
      otherwise than it was measured.
    crop: whether images are given to it by their centre.
  """
  result, known = directory.result(pretrained.step), directory.settings
  if Measurement.of_result(result).data.get("network") != network_digest(pretrained):
    result, known = pretrained.result, pretrained.settings
  found, own_crop = Measurement.of_result(result), pretrained.center_crop
  measured = {"center_crop": crop if own_crop is None else own_crop, **found.data}
  measured |= current_settings(known) | found.settings
  asked = {name: settings[name] for name in READ} | {"center_crop": crop}
  changed = changed_words(measured, asked)
  if result and changed:
    logger.info(
      "What is exported has no numbers: it was measured otherwise (%s)", ", ".join(changed)
    )
    return {}
  return result
