"""`--mode=segment`: masks of all images of a folder, by a network that learnt to segment."""

from collections.abc import Mapping
import dataclasses
import hashlib
import io
import logging
import os
import pathlib
import time
from typing import Any, Self

import numpy as np

from conrec_tf.commands.tasks import portable_network
from conrec_tf.config import Config, Data, Segmentation, Training
from conrec_tf.config.options.data import as_image_channels
from conrec_tf.config.options.option import section_with
from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS
from conrec_tf.data.dataset import Split
from conrec_tf.data.files.walk import without_ending
from conrec_tf.data.summary import failing_images_named
from conrec_tf.distribute.shards import Shards
from conrec_tf.errors import UsageError, listed
from conrec_tf.files import (
  io_as_usage_error,
  make_output_folder,
  of_somebody_else,
  remove_leftovers,
  write_bytes,
)
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.find import PretrainedModel, network_digest, resolve_checkpoint
from conrec_tf.run_dir.measurement import DESCRIPTION, is_described, write_description
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.segmentation.batches import images_at
from conrec_tf.segmentation.folder import open_images_to_segment
from conrec_tf.segmentation.masks import mask_image
from conrec_tf.segmentation.network import SegmentationHead, Segmenter

logger = logging.getLogger(__name__)

FOLDER = "segmentations"
CONTENTS = "images.json"  # digests of the images by the names of their masks
LONGEST_NAME = 230  # bytes; file systems have 255, of which endings take some


def run(config: Config) -> None:
  """Segments with the network of `--checkpoint`, or with the one in `model_dir`.

  Writes `model_dir/segmentations/<image>.png`, whose values are classes, with a palette, and with
  `write_probabilities` `<image>.npz` beside it. What an earlier call finished is kept. Of several
  processes, which see one folder, each makes a part of the masks.

  Raises:
    UsageError: the network doesn't segment or can't be read, there are masks of another one, or
      another process is lost.
  """
  directory = RunDirectory(config.run_directory)
  pretrained = resolve_checkpoint(config.checkpoint, config.export_checkpoint, config.run_directory)
  if pretrained.settings.get("train_mode") != "segment":
    raise UsageError(
      "checkpoint must be of a training with train_mode=segment, for mode=segment. "
      f"Received: {pretrained.path}"
    )
  _, model, head = portable_network(config, pretrained)
  assert isinstance(head, SegmentationHead)
  segmenter = Segmenter(model, head, config.tile_size, config.test_time_flips)
  taken = as_image_channels(pretrained.channels)
  source = open_images_to_segment(
    section_with(Data, config, image_channels=config.image_channels or taken)
  )
  if source.channels != pretrained.channels:
    raise UsageError(
      f"data_dir must hold images of {pretrained.channels} channels, as the network takes. "
      f"Received: {source.channels} in {config.data_dir}"
    )
  folder = directory.path / FOLDER
  make_output_folder(directory.path)
  paths, shards = _paths(folder, source.train), Shards.of_environment()
  made_of = _MadeOf.of(folder, config, config, pretrained, source.train, paths)
  shards.first_first(folder, made_of.is_in_folder, made_of.write)
  for parent in {path.parent for path in paths.values()}:
    remove_leftovers(parent)

  def missing() -> list[int]:
    return [number for number, path in paths.items() if not _is_done(path, config)]

  todo = np.array([number for number in missing() if shards.takes(number)], int)
  began = time.monotonic()
  with shards.beating(folder), failing_images_named(source):
    images = zip(todo, images_at(source, source.train, todo), strict=True)
    for number, image in progress_bar("Segmenting", "images", len(todo), images):
      _write(paths[number], segmenter(image), config.write_probabilities)
    if shards.is_first:
      shards.wait_for_others(folder, missing)
  logger.info(
    "%d masks in %s (%d made now, %.1f images/s)",
    len(paths),
    folder,
    len(todo),
    len(todo) / max(time.monotonic() - began, 1e-9),
  )


def _paths(folder: pathlib.Path, split: Split) -> dict[int, pathlib.Path]:
  """Returns where the mask of the image of each number goes: under its name, with its own ending.

  Raises:
    UsageError: two images differ in nothing but their endings.
  """
  assert split.names is not None
  paths, taken = dict[int, pathlib.Path](), dict[pathlib.Path, str]()
  for number in split.own_index.tolist():
    name = str(split.names[number])
    *above, own = map(_fitting, without_ending(name).split(os.sep))
    path = folder.joinpath(*above, f"{own}.png")
    if path in taken:
      raise UsageError(
        "data_dir must hold images that differ in more than their endings. "
        f"Received: {taken[path]} and {name}"
      )
    taken[path], paths[number] = name, path
  return paths


def _fitting(name: str) -> str:
  """Returns a name that a file can have with an ending, also while it is written.

  Of a longer one its beginning is kept, with a hash of it all.
  """
  data = name.encode()
  if len(data) <= LONGEST_NAME:
    return name
  digest = hashlib.sha256(data).hexdigest()[:16]
  return f"{data[: LONGEST_NAME - 17].decode(errors='ignore')}-{digest}"


def _is_done(path: pathlib.Path, segmentation: Segmentation) -> bool:
  return path.exists() and (
    not segmentation.write_probabilities or path.with_suffix(".npz").exists()
  )


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


@dataclasses.dataclass(frozen=True)
class _MadeOf:
  """What the masks in a folder are made of, and by what.

  Attributes:
    network: `{name: value}` of the network, and of how it is called.
    decoding: `{name: value}` of the options that versions before didn't note.
    contents: digests of the images by the names of their masks.
  """

  folder: pathlib.Path
  network: dict[str, Any]
  decoding: dict[str, Any]
  contents: dict[str, str]

  @classmethod
  def of(
    cls,
    folder: pathlib.Path,
    training: Training,
    segmentation: Segmentation,
    pretrained: PretrainedModel,
    split: Split,
    paths: Mapping[int, pathlib.Path],
  ) -> Self:
    """Describes what a network makes of the images of a split."""
    network = {
      "network": network_digest(pretrained),
      "global_step": pretrained.step,
      "data_dir": os.path.abspath(training.data_dir),
      "class_names": list(pretrained.class_names),
      "tile_size": segmentation.tile_size,
      "test_time_flips": segmentation.test_time_flips,
    }
    decoding = {name: getattr(training, name) for name in ARCHITECTURE_OPTIONS}
    assert split.content is not None
    contents = {
      path.relative_to(folder).as_posix(): split.content[number].tobytes().hex()
      for number, path in paths.items()
    }
    return cls(folder, network, decoding, contents)

  def write(self) -> None:
    """Writes it, or checks that the masks in the folder are by the same network.

    Masks of images that have changed since are removed, to be made again.

    Raises:
      UsageError: there are masks by another network, or by somebody else.
    """
    others = [name for name in self.contents if (self.folder / name).exists()]
    if others and not (self.folder / DESCRIPTION).exists():
      received = f"{self.folder} with {listed(others)}, without {DESCRIPTION}"
      raise of_somebody_else(FOLDER, received)
    known = RunDirectory(self.folder).read(CONTENTS) or {}
    changed = [name for name in known if self.contents.get(name, known[name]) != known[name]]
    what = "masks of the same images by the same network"
    write_description(self.folder, self.network | self.decoding, what, self.decoding)
    for name in changed:
      for ending in (".png", ".npz"):
        (self.folder / name).with_suffix(ending).unlink(missing_ok=True)
    if changed:
      logger.info("%d images have changed since, and their masks are made again", len(changed))
    RunDirectory(self.folder).write(CONTENTS, known | self.contents)

  def is_in_folder(self) -> bool:
    """Returns whether it stands in the folder as it would be written."""
    known = RunDirectory(self.folder).read(CONTENTS) or {}
    is_described_so = is_described(self.folder, self.network | self.decoding)
    return is_described_so and self.contents.items() <= known.items()
