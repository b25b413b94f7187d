"""`--mode=segment`: masks of all images of a folder, by a network that learnt to segment."""

import hashlib
import io
import logging
import os
import pathlib
import time

import numpy as np
from tqdm import tqdm

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import Split
from conrec_tf.data.masked_folder import open_images_to_segment
from conrec_tf.data.masks import mask_image
from conrec_tf.data.segmentation_batches import images_at
from conrec_tf.export.portable import network_config, portable_network
from conrec_tf.files import io_as_usage_error, make_output_folder, remove_leftovers, write_bytes
from conrec_tf.models.segmentation import SegmentationHead, Segmenter
from conrec_tf.run_dir.descriptions import identifying_bytes, write_description
from conrec_tf.run_dir.pretrained import PretrainedModel, pretrained_network
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

FOLDER = "segmentations"


def run(config: Config) -> None:
  """Segments with the network of `--checkpoint`, or with the one in `model_dir`.

  Writes `model_dir/segmentations/<image>.png`, whose values are classes, with a palette, and with
  `write_probabilities` `<image>.npz` beside it. What an earlier call finished is kept.

  Raises:
    UsageError: the network doesn't segment or can't be read, or there are masks of another one.
  """
  directory = RunDirectory(config.run_directory)
  pretrained = pretrained_network(config.checkpoint, config.run_directory, config.export_checkpoint)
  if pretrained.settings.get("train_mode") != "segment":
    raise UsageError(
      "checkpoint must be of a training with train_mode=segment, for mode=segment. "
      f"Received: {pretrained.path}"
    )
  own = network_config(config, pretrained)
  model, head = portable_network(own, pretrained)
  assert isinstance(head, SegmentationHead)
  segmenter = Segmenter(model, head, config.tile_size, config.test_time_flips)
  source = open_images_to_segment(config)
  if source.channels != pretrained.channels:
    raise UsageError(
      f"data_dir must hold images of {pretrained.channels} channels, as the network takes. "
      f"Received: {source.channels} in {config.data_dir}"
    )
  folder = directory.path / FOLDER
  make_output_folder(directory.path)
  _describe(folder, config, pretrained)
  paths = _paths(folder, source.train)
  for parent in {path.parent for path in paths.values()}:
    remove_leftovers(parent)
  todo = np.array([place for place, path in paths.items() if not _is_done(path, config)], int)
  began = time.monotonic()
  for place, image in tqdm(
    zip(todo, images_at(source, source.train, todo)),
    total=len(todo),
    desc="Segmenting",
    unit=" images",
    disable=None,
    leave=False,
  ):
    _write(paths[place], segmenter(image), config.write_probabilities)
  logger.info(
    "%d masks in %s (%d made now, %.1f images/s)",
    len(paths),
    folder,
    len(todo),
    len(todo) / max(time.monotonic() - began, 1e-9),
  )


def _paths(folder: pathlib.Path, split: Split) -> dict[int, pathlib.Path]:
  """Returns where the mask of the image at each place goes.

  Raises:
    UsageError: two images differ in nothing but their endings.
  """
  assert split.names is not None
  paths, taken = dict[int, pathlib.Path](), dict[pathlib.Path, str]()
  for place in split.own_places.tolist():
    name = str(split.names[place])
    path = folder / pathlib.PurePath(name).with_suffix(".png")
    if path in taken:
      raise UsageError(
        "data_dir must hold images that differ in more than their endings. "
        f"Received: {taken[path]} and {name}"
      )
    taken[path], paths[place] = name, path
  return paths


def _is_done(path: pathlib.Path, config: Config) -> bool:
  return path.exists() and (not config.write_probabilities or path.with_suffix(".npz").exists())


def _write(path: pathlib.Path, probabilities: np.ndarray, with_probabilities: bool) -> None:
  """Writes a mask and perhaps its probabilities, the mask last, each under its name when whole."""
  with io_as_usage_error(path.parent):
    path.parent.mkdir(parents=True, exist_ok=True)
  if with_probabilities:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probabilities=probabilities.astype(np.float16))
    write_bytes(path.with_suffix(".npz"), buffer.getvalue())
  buffer = io.BytesIO()
  mask_image(probabilities.argmax(axis=-1).astype(np.uint8)).save(buffer, "PNG")
  write_bytes(path, buffer.getvalue())


def _describe(folder: pathlib.Path, config: Config, pretrained: PretrainedModel) -> None:
  """Writes what the masks are made by, or checks that those in the folder are of the same.

  Raises:
    UsageError: there are masks by another network.
  """
  description = {
    "network": hashlib.sha256(identifying_bytes(pretrained)).hexdigest(),
    "global_step": pretrained.step,
    "data_dir": os.path.abspath(config.data_dir),
    "class_names": list(pretrained.class_names),
    "tile_size": config.tile_size,
    "test_time_flips": config.test_time_flips,
  }
  write_description(folder, description, "masks of the same images by the same network")
