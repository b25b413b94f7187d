"""`--mode=explore`: a page about embedded images, or the images nearest to one."""

from collections.abc import Sequence
import logging
import os
import pathlib

import numpy as np

from conrec_tf.commands import embed
from conrec_tf.config import Config, Experiment
from conrec_tf.config.options.data import as_image_channels
from conrec_tf.config.options.option import section_with
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.duplicates import Duplicate, find_duplicates, hashes_of
from conrec_tf.data.images.frames import MIDDLE
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.records import Streamed
from conrec_tf.data.registry import load_files
from conrec_tf.data.summary import failing_images_named
from conrec_tf.distribute.shards import Shards
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.embedding import check_finite, embed_images
from conrec_tf.explore.duplicates import MOST_PAIRS
from conrec_tf.explore.findings import Findings, explored, labelled
from conrec_tf.explore.neighbours import nearest, unit_vectors
from conrec_tf.explore.page import write_page
from conrec_tf.explore.query import write_query_page
from conrec_tf.explore.tables import Images, write_parquet
from conrec_tf.explore.thumbnails import thumbnails
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.pretrained.load import open_network
from conrec_tf.reporting.figures.plot_style import to_rgb
from conrec_tf.run_dir.embedding_files import read_embedded
from conrec_tf.run_dir.image_table import PARQUET
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

FOLDER = "explore"
ANSWERS = 20  # images that are nearest to a query
ALL_LABELLED = "All of these images have a label: what to label next is chosen as though none had."
MOST_HASHED = 200_000  # images whose hashes are compared: time grows with the square
Part = tuple[Split, np.ndarray]  # and the places of its images that count


def run(config: Config) -> None:
  """Embeds what isn't embedded yet, and writes `model_dir/explore/<dataset>/`, or answers a query.

  Raises:
    UsageError: as `embed.run`, or there are too many images for what is installed, or the query
      can't be decoded.
  """
  embed.run(config)
  if not Shards.of_environment().is_first:
    return
  directory = RunDirectory(config.run_directory)
  config, pretrained, source = embed.opened_images(config, directory)
  name = embed.folder_name(source)
  embeddings = directory.path / embed.FOLDER / name
  embedded = read_embedded(embeddings)
  parts, kept = distinct(source)
  rows = [row for row, is_kept in zip(embedded.rows, kept, strict=True) if is_kept]
  images = Images(
    [row["image"] for row in rows],
    [row["split"] for row in rows],
    [row["class_name"] for row in rows],
    () if source.multi_label else source.class_names,
  )
  vectors = embedded.vectors if kept.all() else embedded.vectors[kept]
  folder = directory.path / FOLDER / name
  with failing_images_named(source):
    if config.query:
      _answer(config, config.query, pretrained, source, parts, images, vectors, folder)
      return
    labels = embedded.labels if embedded.labels is None else embedded.labels[kept]
    by_hash, notes = _look_alikes(source, parts, len(vectors))
    classes = len(source.class_names)
    found = explored(vectors, labels, classes, config, by_hash, config.seed)
    if sum(pair.is_near for pair in found.pairs) >= MOST_PAIRS:
      notes.append(f"Of near-duplicates by embedding some {MOST_PAIRS:,} are listed, the nearest.")
    if len(labelled(labels)) == len(vectors):
      logger.info("%s", ALL_LABELLED)
      notes.append(ALL_LABELLED)
    pictures = lambda shown: thumbnails(source, _of(parts, shown))
    page = write_page(folder, source.name, images, found, pictures, notes, config.seed)
  write_parquet(folder / "images.parquet", embeddings / PARQUET, kept, found)
  logger.info("%s", summary(found))
  logger.info("Page in %s", page)


def distinct(source: DatasetSource) -> tuple[list[Part], np.ndarray]:
  """Returns what is embedded of each split, without what is in the one before too.

  Returns:
    Splits, each with int `[n]`, sorted, places of its images; and bool `[N]`, which of all rows of
    the embeddings those are.

  Raises:
    UsageError: a part of a split that streams is in the one before; which part isn't known.
  """
  parts, kept = list[Part](), list[np.ndarray]()
  known = np.zeros(0, object)
  for split in source.splits.values():
    index = split.own_index
    column = split.stored if split.names is None else split.names
    is_new = np.ones(len(index), bool)
    if column is not None:
      is_new = ~np.isin(column[index].astype(str), known)
      if isinstance(split.rows, Streamed) and 0 < is_new.sum() < len(is_new):
        raise UsageError(
          "eval_split must lie within train_split or apart from it, for mode=explore of records "
          f"that stream. Received: {split.name}, of whose {len(is_new)} images {is_new.sum()} are "
          f"not in {source.train.name}"
        )
      known = np.concatenate([known, column[index].astype(str)])
    parts.append((split, index[is_new]))
    kept.append(is_new)
  return parts, np.concatenate(kept)


def _look_alikes(
  source: DatasetSource, parts: Sequence[Part], count: int
) -> tuple[list[Duplicate], list[str]]:
  """Returns images that look like earlier ones by their hashes, and what is to be said of it."""
  if count > MOST_HASHED:
    return [], [f"Duplicates by hash are looked for among up to {MOST_HASHED:,} images."]
  hashes = [hashes_of(source, *part) for part in parts]
  return find_duplicates(np.concatenate(hashes)), []


def summary(found: Findings) -> str:
  """Returns what was found, in a line."""
  words = [
    f"{len(found.clusters.representative)} clusters",
    f"{sum(pair.is_near for pair in found.pairs):,} pairs of near-duplicates by embedding, "
    f"{sum(pair.bits >= 0 for pair in found.pairs):,} by hash",
  ]
  if found.suspects and found.check:
    words.append(
      f"{len(found.suspects.image):,} labels that may be wrong (of {found.check.changed:,} changed "
      f"on purpose {found.check.found:.0%} are found, by chance {found.check.by_chance:.0%})"
    )
  return "; ".join(words)


def _answer(
  options: Experiment,
  query: str,
  pretrained: PretrainedModel,
  source: DatasetSource,
  parts: Sequence[Part],
  images: Images,
  vectors: np.ndarray,
  folder: pathlib.Path,
) -> None:
  """Prints the images nearest to the query, and writes them as `query.html`."""
  seen, vector = embedded_query(options, query, pretrained, source)
  found = nearest(unit_vectors(vector), unit_vectors(vectors), ANSWERS, options.seed)
  numbers, distances = found.others[0], found.distance[0]
  pictures = dict(zip(np.sort(numbers), thumbnails(source, _of(parts, numbers)), strict=True))
  answers = [
    (images.names[number], images.words[number], float(distance), pictures[number])
    for number, distance in zip(numbers, distances, strict=True)
  ]
  for name, words, distance, _ in answers:
    logger.info("%.4f  %s%s", distance, name, f"  {words}" if words else "")
  page = folder.with_name(f"{folder.name}-query.html")
  picture = np.round(255 * to_rgb(seen)).astype(np.uint8)
  write_query_page(page, (os.path.basename(query), picture), answers)
  logger.info("Page in %s", page)


def _of(parts: Sequence[Part], numbers: np.ndarray) -> list[Part]:
  """Returns the images of some numbers, which count through all parts."""
  starts = np.cumsum([0, *(len(index) for _, index in parts)])
  chosen = np.sort(numbers)
  return [
    (split, index[chosen[(chosen >= start) & (chosen < start + len(index))] - start])
    for start, (split, index) in zip(starts, parts, strict=False)
  ]


def embedded_query(
  options: Experiment, query: str, pretrained: PretrainedModel, source: DatasetSource
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what the network sees of the query, float32 `[H, W, C]`, and its vector, `[1, F]`.

  It is decoded and resized as the images of the dataset are; of a file with several the middle one.

  Raises:
    UsageError: it isn't there, can't be decoded or has other channels, or its vector isn't finite.
  """
  folder, name = os.path.split(os.path.abspath(query))
  alike = section_with(
    Experiment,
    options,
    image_channels=as_image_channels(source.channels),
    eval_crop="center" if source.center_crop else "none",
    dicom_frames=options.dicom_frames and MIDDLE,
  )
  try:
    opened = load_files(alike, folder, [name])
  except UsageError as error:
    raise UsageError(
      f"query must be an image file that can be decoded. Received: {query} ({error})"
    ) from error
  if opened.channels != source.channels:
    raise UsageError(
      f"query must have {source.channels} channels, as the images that are searched. "
      f"Received: {opened.channels} in {query}"
    )
  records = opened.train.records()
  [(images, _)] = evaluation_batches(opened, records, options.evaluation_size, 1)
  model, _ = open_network(options, pretrained, source.channels)
  vector = embed_images(model, images, options).numpy()
  check_finite(vector, opened.train)
  return images[0].numpy(), vector
