"""`--mode=embed`: images of any dataset through a trained network, into files."""

from collections.abc import Iterator
import logging
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.summary import failing_images_named
from conrec_tf.evaluation.embedding import Embedder, embed_images
from conrec_tf.files import make_output_folder
from conrec_tf.models import LinearHead, build_head, build_model
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.external import open_external
from conrec_tf.pretrained.find import PretrainedModel, network_digest, resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.embedding_files import (
  Archive,
  complete_archives,
  index_rows,
  write_index,
  write_manifest,
)
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

IMAGES_PER_FILE = 2048
BYTES_FOR_ACTIVATIONS = 2**30
MAPS_AT_ONCE = 4  # of the first level, a guess


def run(config: Config) -> None:
  """Embeds with the network of `--checkpoint`, or with the one in `model_dir`.

  Writes for `train_split` and `eval_split` to `model_dir/embeddings/<dataset>/`: `<train or
  eval>-<file>-of-<files>.npz` with `embedding` float32 `[n, F]` and, with labels, `label` int64
  `[n]` or `[n, L]`; `index.csv` with the row of each image; `description.json` with the network
  and what it was given. Files that an earlier call finished are kept, and bad images of a folder
  are left out.

  Raises:
    UsageError: the network doesn't fit, can't be read, or there are embeddings of something
      else.
  """
  directory = RunDirectory(config.run_directory)
  pretrained = resolve_checkpoint(config.checkpoint, config.export_checkpoint, config.run_directory)
  config = config.to_embed(batch_size(config))
  source = load_dataset(config, pretrained.center_crop)
  model, _ = open_network(config, pretrained, source.channels)
  folder = directory.path / "embeddings" / folder_name(source)
  make_output_folder(directory.path)
  splits = splits_by_role(source)
  write_manifest(
    folder, network_digest(pretrained), pretrained.step, config.settings, splits, source
  )
  began, done = time.monotonic(), 0
  rows: list[tuple[Any, ...]] = []
  for split, archive in embedded_archives(config, model, source, folder):
    done += archive.is_new * len(archive.images)
    rows += index_rows(archive.path, source, split, archive.images, archive.arrays)
  write_index(folder, rows)
  logger.info(
    "%d images in %s (%d embedded now, %.0f images/s)",
    len(rows),
    folder,
    done,
    done / (time.monotonic() - began),
  )


def open_network(
  config: Experiment, pretrained: PretrainedModel, channels: int
) -> tuple[Embedder, LinearHead | None]:
  """Opens a trained network of any kind; returns it, and the head of a finetuned one or None.

  Args:
    config: the network's own options, and how images are evaluated.
    channels: of the images.

  Raises:
    UsageError: it doesn't fit, or can't be read.
  """
  if pretrained.kind == "external":
    return open_external(config, pretrained.path), None
  model = build_model(config, channels)
  head = None
  if pretrained.train_mode == "finetune" and pretrained.class_names:
    head = build_head(config, model, channels, len(pretrained.class_names))
  load_network(pretrained, model, head)
  return model, head


def folder_name(source: DatasetSource) -> str:
  """Returns the name of a dataset, as folders can have it."""
  return source.name.replace("/", "_").replace(":", "_")


def splits_by_role(source: DatasetSource) -> dict[str, Split]:
  """Returns the splits of a dataset that are embedded: train and eval, or one where both are."""
  splits = {"train": source.train, "eval": source.eval}
  if source.eval.name == source.train.name:
    del splits["eval"]
  return splits


def embedded_archives(
  config: Experiment, model: Embedder, source: DatasetSource, folder: pathlib.Path
) -> Iterator[tuple[Split, Archive]]:
  """Yields the archives of embeddings in a folder by split; those that aren't there are made.

  Raises:
    UsageError: an image can't be read any more, or the folder not written.
  """
  splits = splits_by_role(source)
  indices = {role: split.own_index for role, split in splits.items()}
  with (
    progress_bar("Embedding", "images", sum(map(len, indices.values()))) as bar,
    failing_images_named(source),
  ):
    for role, split in splits.items():

      def make(left: np.ndarray, split: Split = split) -> Iterator[dict[str, np.ndarray]]:
        return embed_batches(config, model, source, split.rows.at(left))

      for archive in complete_archives(
        folder, role, indices[role], IMAGES_PER_FILE, config.eval_batch_size, make
      ):
        bar.update(len(archive.images))
        yield split, archive


def batch_size(options: Experiment) -> int:
  """Returns the images of a batch, a power of two, so that files hold whole batches.

  At most `eval_batch_size`, and so many that the first level's maps take up to 1 GiB.
  """
  image = MAPS_AT_ONCE * 4 * options.base_filters * options.evaluation_size**2
  wanted = min(options.eval_batch_size, max(1, BYTES_FOR_ACTIVATIONS // image), IMAGES_PER_FILE)
  return 2 ** (wanted.bit_length() - 1)


def embed_batches(
  options: Experiment, model: Embedder, source: DatasetSource, records: tf.data.Dataset
) -> Iterator[dict[str, np.ndarray]]:
  """Yields `embedding` and, with labels, `label` of a batch of records."""
  size, batch = options.evaluation_size, options.eval_batch_size
  for pixels, label in evaluation_batches(source, records, size, batch):
    arrays = {"embedding": embed_images(model, pixels, options).numpy()}
    yield arrays | {"label": label.numpy()} if source.class_names else arrays
