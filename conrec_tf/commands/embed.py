"""`--mode=embed`: images of any dataset through a trained network, into files."""

from collections.abc import Callable, Iterator
import logging
import os
import pathlib
import time
from typing import Any

import numpy as np

from conrec_tf.commands.tasks import known_center_crop, load_dataset
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.summary import failing_images_named
from conrec_tf.distribute.shards import Shards
from conrec_tf.evaluation.embedding import (
  Embedder,
  batch_size,
  check_finite,
  embed_images,
  images_given,
)
from conrec_tf.files import make_output_folder, remove_leftovers
from conrec_tf.output import progress_bar
from conrec_tf.pretrained.classifier import find_classifier
from conrec_tf.pretrained.find import PretrainedModel, network_digest, resolve_checkpoint
from conrec_tf.pretrained.load import open_network
from conrec_tf.run_dir.classifier_file import KeptClassifier
from conrec_tf.run_dir.embedding_files import (
  Archive,
  Manifest,
  archive_paths,
  complete_archives,
  index_rows,
  write_index,
)
from conrec_tf.run_dir.image_table import image_columns, parquet_table
from conrec_tf.run_dir.measurement import DESCRIPTION, is_described
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

FOLDER = "embeddings"  # of a run
IMAGES_PER_FILE = 2048  # a multiple of any batch


def run(config: Config) -> None:
  """Embeds with the network of `--checkpoint`, or with the one in `model_dir`.

  Writes for `train_split` and `eval_split` to `model_dir/embeddings/<dataset>/`: `<train or
  eval>-<file>-of-<files>.npz` with `embedding` float32 `[n, F]` and, with labels, `label` int64
  `[n]` or `[n, L]`; `index.csv` with the row of each image; `description.json` with the network
  and what it was given; and `embeddings.parquet` with all of it, and what the network's classifier
  says, where it has one. Files that an earlier call finished are kept, and bad images of a folder
  are left out. Of several processes, which see one folder, each makes a part of the files.

  Raises:
    UsageError: the network doesn't fit, can't be read, there are embeddings of something else, or
      another process is lost.
  """
  directory = RunDirectory(config.run_directory)
  config, pretrained, source, model, kept = opened(config, directory)
  folder = directory.path / FOLDER / folder_name(source)
  manifest = Manifest.of(network_digest(pretrained), pretrained.step, config.settings, source)
  if not share_archives(config, manifest, source, model, folder):
    return
  began, done = time.monotonic(), 0
  rows: list[tuple[Any, ...]] = []
  root = os.path.abspath(config.data_dir) if config.dataset == "image_folder" else ""
  with parquet_table(folder) as add_rows:
    for split, archive in embedded_archives(config, model, source, folder):
      done += archive.is_new * len(archive.images)
      rows += index_rows(archive.path, source, split, archive.images, archive.arrays)
      columns = image_columns(source, split, archive, kept, config.standardize_embeddings)
      add_rows(columns, archive.arrays["embedding"], root)
  write_index(folder, rows)
  log_pass(len(rows), folder, done, began)


def opened(
  config: Config, directory: RunDirectory
) -> tuple[Config, PretrainedModel, DatasetSource, Embedder, KeptClassifier | None]:
  """Opens what a pass over images takes: network, images, and the network's classifier.

  Args:
    directory: of the run; it may hold the classifier.

  Returns:
    The options of the pass, what is known of the network, the images, the network, and its
    classifier, or None.

  Raises:
    UsageError: the network doesn't fit or can't be read.
  """
  config, pretrained, source = opened_images(config, directory)
  pretrained.check_channels(source.channels, config.data_dir or source.name)
  model, head = open_network(config, pretrained, source.channels)
  given = images_given(config, source)
  kept = find_classifier(pretrained, model, config.ft_proj_selector, head, directory.path, given)
  return config, pretrained, source, model, kept


def opened_images(
  config: Config, directory: RunDirectory
) -> tuple[Config, PretrainedModel, DatasetSource]:
  """Opens images as a network is given them: as it was evaluated, also one that says nothing of it.

  See `opened`, which returns these first.
  """
  pretrained = resolve_checkpoint(config.checkpoint, config.export_checkpoint, config.run_directory)
  config = config.to_embed(batch_size(config))
  return config, pretrained, load_dataset(config, known_center_crop(config, pretrained, directory))


def folder_name(source: DatasetSource) -> str:
  """Returns the name of a dataset, as folders can have it."""
  return source.name.replace("/", "_").replace(":", "_")


def embedded_archives(
  config: Experiment, model: Embedder, source: DatasetSource, folder: pathlib.Path
) -> Iterator[tuple[Split, Archive]]:
  """Yields the archives of embeddings in a folder by split; those that aren't there are made.

  Raises:
    UsageError: an image can't be read any more, its embedding isn't finite, or the folder can't be
      written.
  """
  total = sum(len(split.own_index) for split in source.splits.values())
  with progress_bar("Embedding", "images", total) as bar, failing_images_named(source):
    for split, archive in _archives(config, model, source, folder):
      bar.update(len(archive.images))
      yield split, archive


def log_pass(images: int, place: pathlib.Path, new: int, began: float) -> None:
  """Logs of how many images what lies in a place, how many were embedded just now, and how fast."""
  speed = new / (time.monotonic() - began)
  logger.info("%d images in %s (%d embedded now, %.0f images/s)", images, place, new, speed)


def share_archives(
  options: Experiment,
  manifest: Manifest,
  source: DatasetSource,
  model: Embedder,
  folder: pathlib.Path,
  begins_anew: bool = False,
) -> bool:
  """Notes in a folder what is embedded and, where several processes share that, makes a part of it.

  The first one then waits until the others are through.

  Args:
    manifest: what is embedded.
    folder: in one of the run's.
    begins_anew: whether embeddings of something else are removed in place of an error.

  Returns:
    Whether this process goes on, with all archives.

  Raises:
    UsageError: there are embeddings of something else, or another process is lost; see also
      `embedded_archives`.
  """
  make_output_folder(folder.parents[1])
  remove_leftovers(folder.parent)  # a table of predictions is written there
  shards = Shards.of_environment()
  shards.first_first(
    folder,
    lambda: manifest.is_in(folder),
    lambda: manifest.write(folder, begins_anew and shards.is_first),
  )
  if shards.count == 1:
    return True
  paths = {
    path: number
    for role, split in source.splits.items()
    for number, path in enumerate(
      archive_paths(folder, role, len(split.own_index), IMAGES_PER_FILE)
    )
  }
  mine = sum(map(shards.takes, paths.values()))
  with (
    shards.beating(folder),
    progress_bar("Embedding", "files", mine) as bar,
    failing_images_named(source),
  ):
    for _ in _archives(options, model, source, folder, shards.takes):
      bar.update(1)
    if shards.is_first:
      shards.wait_for_others(
        folder, lambda: [number for path, number in paths.items() if not path.exists()]
      )
  logger.info("Worker %d of %d made %d files in %s", shards.index, shards.count, mine, folder)
  return shards.is_first


def _archives(
  config: Experiment,
  model: Embedder,
  source: DatasetSource,
  folder: pathlib.Path,
  takes: Callable[[int], bool] = lambda number: True,
) -> Iterator[tuple[Split, Archive]]:
  """Yields the archives of all splits, or of some numbers; see `complete_archives`."""
  size, batch = config.evaluation_size, config.eval_batch_size
  described = RunDirectory(folder).read(DESCRIPTION) or {}
  for role, split in source.splits.items():

    def make(left: np.ndarray, split: Split = split) -> Iterator[dict[str, np.ndarray]]:
      batches = evaluation_batches(source, split.rows.at(left), size, batch)
      for number, (pixels, label) in enumerate(batches):
        arrays = {"embedding": embed_images(model, pixels, config).numpy()}
        check_finite(arrays["embedding"], split, left[number * batch :][:batch])
        yield arrays | {"label": label.numpy()} if source.class_names else arrays

    for archive in complete_archives(
      folder,
      role,
      split.own_index,
      IMAGES_PER_FILE,
      batch,
      make,
      takes,
      lambda: is_described(folder, described),
    ):
      yield split, archive
