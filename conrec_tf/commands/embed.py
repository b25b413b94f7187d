"""`--mode=embed`: images of any dataset through a trained network, into files."""

from collections.abc import Iterator
import itertools
import logging
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.summary import failing_images_named
from conrec_tf.evaluation.embedding import Embedder, embed_images
from conrec_tf.files import make_output_folder
from conrec_tf.models import build_model
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.external import open_external
from conrec_tf.pretrained.find import network_digest, resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.embedding_files import (
  index_rows,
  read_arrays,
  write_arrays,
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
  model: Embedder
  if pretrained.kind == "external":
    model = open_external(config, pretrained.path)
  else:
    model = build_model(config, source.channels)
    load_network(pretrained, model)
  folder = directory.path / "embeddings" / source.name.replace("/", "_").replace(":", "_")
  splits = {"train": source.train, "eval": source.eval}
  if source.eval.name == source.train.name:
    del splits["eval"]
  make_output_folder(directory.path)
  options = config.settings
  write_manifest(folder, network_digest(pretrained), pretrained.step, options, splits, source)
  indices = {role: split.own_index for role, split in splits.items()}
  began, done = time.monotonic(), 0
  rows: list[tuple[Any, ...]] = []
  with (
    progress_bar("Embedding", "images", sum(map(len, indices.values()))) as bar,
    failing_images_named(source),
  ):
    for role, split in splits.items():
      made = None
      for path, images in _files(folder, role, indices[role]):
        arrays = read_arrays(path, len(images))
        if arrays is None:
          if made is None:  # from here on, in one pass over the records
            left = indices[role][indices[role] >= images[0]]
            made = embed_batches(config, model, source, split.rows.at(left))
          batches = itertools.islice(made, -(-len(images) // config.eval_batch_size))
          columns = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
          arrays = dict(zip(("embedding", "label"), columns, strict=False))
          write_arrays(path, arrays)
          done += len(images)
        elif made is not None:  # later ones that are there already are passed over
          for _ in range(-(-len(images) // config.eval_batch_size)):
            next(made)
        bar.update(len(images))
        rows += index_rows(path, source, split, images, arrays)
  write_index(folder, rows)
  logger.info(
    "%d images in %s (%d embedded now, %.0f images/s)",
    len(rows),
    folder,
    done,
    done / (time.monotonic() - began),
  )


def batch_size(options: Experiment) -> int:
  """Returns the images of a batch, a power of two, so that files hold whole batches.

  At most `eval_batch_size`, and so many that the first level's maps take up to 1 GiB.
  """
  image = MAPS_AT_ONCE * 4 * options.base_filters * options.evaluation_size**2
  wanted = min(options.eval_batch_size, max(1, BYTES_FOR_ACTIVATIONS // image), IMAGES_PER_FILE)
  return 2 ** (wanted.bit_length() - 1)


def _files(
  folder: pathlib.Path, role: str, index: np.ndarray
) -> Iterator[tuple[pathlib.Path, np.ndarray]]:
  """Yields (path, index of its images) for each file of a split."""
  count = -(-len(index) // IMAGES_PER_FILE)
  for number in range(count):
    yield (
      folder / f"{role}-{number:05}-of-{count:05}.npz",
      index[number * IMAGES_PER_FILE :][:IMAGES_PER_FILE],
    )


def embed_batches(
  options: Experiment, model: Embedder, source: DatasetSource, records: tf.data.Dataset
) -> Iterator[tuple[np.ndarray, ...]]:
  """Yields embeddings and, with labels, labels of a batch of records."""
  size, batch = options.evaluation_size, options.eval_batch_size
  for pixels, label in evaluation_batches(source, records, size, batch):
    embedding = embed_images(model, pixels, options).numpy()
    yield (embedding, label.numpy()) if source.class_names else (embedding,)
