"""The network of `--teacher`: how it sees images, and its vectors of a dataset, kept in files."""

import concurrent.futures
import logging
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.errors import UsageError
from conrec_tf.models.scaling import in_channels
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.external import ExternalNetwork
from conrec_tf.pretrained.find import PretrainedModel, network_digest
from conrec_tf.run_dir.embedding_files import complete_archives
from conrec_tf.run_dir.measurement import TRAIN, write_description

logger = logging.getLogger(__name__)

FOLDER = "teacher"  # of a run
BATCH_SIZE, IMAGES_PER_FILE = 32, 512
CHANNELS = {1: (1, 3), 3: (3, 1)}  # that it may take instead of the images' own, which come first
HOW = {(1, 3): ", grey in each of 3 channels", (3, 1): ", grey in place of RGB"}


def open_teacher(options: Training, channels: int) -> ExternalNetwork:
  """Opens the teacher for images of so many channels, and says how it sees them.

  Raises:
    UsageError: it can't be read, or takes no such images.
  """
  # In a thread of its own, outside the scope of any strategy: replicas can't call a SavedModel that
  # was loaded in the scope of theirs.
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    network = thread.submit(
      ExternalNetwork,
      options.teacher,
      options.external_scaling,
      options.external_output,
      options.teacher_image_size,
      channels=CHANNELS.get(channels, (channels,)),
      option="teacher",
      size_option="teacher_image_size",
      free_size=options.image_size,
    ).result()
  logger.info(
    "The teacher sees %s of %d pixels%s, in [0, 1] before scaling however many bits they have",
    "each clean view" if options.teacher_views else "whole images, once,",
    network.image_size,
    HOW.get((channels, network.channels), ""),
  )
  return network


def as_seen(images: tf.Tensor, network: ExternalNetwork) -> tf.Tensor:
  """Returns images in the size and the channels that a teacher takes.

  Args:
    images: float `[B, H, W, C]` in [0, 1], with static sizes.
    network: what `open_teacher` returned for so many channels.
  """
  if images.shape[1] != network.image_size:
    images = tf.image.resize(images, [network.image_size] * 2, antialias=True)
  return in_channels(images, network.channels)


def note_teacher(
  folder: pathlib.Path, network: ExternalNetwork, options: Training, **others: Any
) -> None:
  """Notes in a folder which teacher a run has, or checks that it is the one that is noted.

  Args:
    folder: created if it isn't there.
    **others: what else is noted.

  Raises:
    UsageError: another teacher, or something else, is noted; or the folder can't be written.
  """
  noted = {
    "network": network_digest(PretrainedModel("external", options.teacher)),
    "image_size": network.image_size,
    "channels": network.channels,
    "external_scaling": options.external_scaling,
    "external_output": options.external_output,
  }
  write_description(folder, noted | others, "what the same teacher made of the same images")


def kept_vectors(
  folder: pathlib.Path, network: ExternalNetwork, options: Training, source: DatasetSource
) -> np.ndarray:
  """Returns the teacher's vectors of whole training images, float32 `[N, F]`, in their order.

  Each image is seen once, as evaluation sees it. The vectors are kept in the folder as they are
  made, `train-<file>-of-<files>.npz`, and those that a process left there are not made again.

  Raises:
    UsageError: the folder holds vectors of other images or by another teacher, or can't be
      written; or a vector isn't finite.
  """
  split = source.train
  note_teacher(
    folder,
    network,
    options,
    **{TRAIN: split.digest(()), "images": len(split.rows), "center_crop": source.center_crop},
  )

  def make(left: np.ndarray) -> Any:
    records = split.rows.part(left)()
    for images, _ in evaluation_batches(source, records, network.image_size, BATCH_SIZE):
      yield {"embedding": network.embed(as_seen(images, network)).numpy()}

  began, new, parts = time.monotonic(), 0, []
  with progress_bar("Teacher", "images", len(split.rows)) as bar:
    for archive in complete_archives(
      folder, TRAIN, np.arange(len(split.rows)), IMAGES_PER_FILE, BATCH_SIZE, make
    ):
      parts.append(archive.arrays["embedding"])
      new += archive.is_new * len(archive.images)
      bar.update(len(archive.images))
  vectors = np.concatenate(parts)
  bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
  if len(bad):
    raise UsageError(
      "teacher must give finite vectors. "
      f"Received: {len(bad)} others in {folder}, the first of image {bad[0]} of {split.name}"
    )
  logger.info(
    "The teacher's vectors of %d images, %d numbers each, are in %s (%d made now, %.0f images/s)",
    *vectors.shape,
    folder,
    new,
    new / (time.monotonic() - began),
  )
  return vectors
