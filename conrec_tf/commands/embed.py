"""`--mode=embed`: images of any dataset through a trained network, into files."""

import csv
import dataclasses
import hashlib
import io
import itertools
import logging
import os
import pathlib
import time
import zipfile

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.config import UsageError
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.models import build_model
from conrec_tf.run_dir.checkpoints import load_network
from conrec_tf.run_dir.run_directory import RunDirectory, io_as_usage_error, write_text

logger = logging.getLogger(__name__)

IMAGES_PER_FILE = 2048
BYTES_FOR_ACTIVATIONS = 2**30
MAPS_AT_ONCE = 4  # of the first level, a guess
UNKNOWN = -1  # the label of an image without one
DESCRIPTION = "description.json"


def embed(config, pretrained, directory):
  """Embeds `train_split` and `eval_split`; files that an earlier call finished are kept.

  Writes to `model_dir/embeddings/<dataset>/`: `<train or eval>-<file>-of-<files>.npz` with
  `embedding` float32 `[n, F]` and, with labels, `label` int64 `[n]`; `index.csv` with the row
  of each image; `description.json` with the network and what it was given. Bad images of a
  folder are left out.

  Args:
    config: `Config`.
    pretrained: `PretrainedModel`.
    directory: `RunDirectory`.

  Raises:
    UsageError: the network doesn't fit, can't be read, or there are embeddings of something
      else.
  """
  config = dataclasses.replace(
    config, cache_dataset=False, encoder_weights="", eval_batch_size=batch_size(config)
  )
  source = load_dataset(config)
  model = build_model(config, source.channels)
  load_network(pretrained, model)
  folder = directory.path / "embeddings" / source.name.replace("/", "_").replace(":", "_")
  splits = {"train": source.train, "eval": source.eval}
  if source.eval.name == source.train.name:
    del splits["eval"]
  write_manifest(folder, config, pretrained, splits)
  places = {role: good_indices(split) for role, split in splits.items()}
  began, done, rows = time.monotonic(), 0, []
  with tqdm(
    total=sum(map(len, places.values())),
    desc="Embedding",
    unit=" images",
    disable=None,
    leave=False,
  ) as bar:
    for role, split in splits.items():
      made = None
      for path, images in _files(folder, role, places[role]):
        arrays = _read(path, len(images))
        if arrays is None:
          if made is None:  # from here on, in one pass over the records
            made = embed_batches(config, model, source, split, places[role], images[0])
          batches = itertools.islice(made, -(-len(images) // config.eval_batch_size))
          columns = [np.concatenate(parts) for parts in zip(*batches)]
          arrays = dict(zip(("embedding", "label"), columns))
          _write(path, arrays)
          done += len(images)
        elif made is not None:  # later ones that are there already are passed over
          for _ in range(-(-len(images) // config.eval_batch_size)):
            next(made)
        bar.update(len(images))
        rows += _rows(path, source, split, images, arrays)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(("file", "row", "split", "image", "label", "class_name"))
  writer.writerows(rows)
  write_text(folder / "index.csv", text.getvalue())
  logger.info(
    "%d images in %s (%d embedded now, %.0f images/s)",
    len(rows),
    folder,
    done,
    done / (time.monotonic() - began),
  )


def batch_size(config):
  """Images a batch, a power of two, so that files hold whole batches.

  At most `eval_batch_size`, and so many that the first level's maps take up to 1 GiB.
  """
  image = MAPS_AT_ONCE * 4 * config.base_filters * config.image_size**2
  wanted = min(config.eval_batch_size, max(1, BYTES_FOR_ACTIVATIONS // image), IMAGES_PER_FILE)
  return 2 ** (wanted.bit_length() - 1)


def write_manifest(folder, config, pretrained, splits):
  """Writes what the embeddings are of, or checks that those there are of the same."""
  images = hashlib.sha256()
  for split in splits.values():
    files = (
      [config.data_dir]
      if split.names is None and os.path.isfile(config.data_dir)
      else [
        os.path.join(config.data_dir, name) for name in (() if split.names is None else split.names)
      ]
    )
    images.update(repr([split.num_examples, *map(_state, files)]).encode())
  weights = {
    "checkpoint": pretrained.path + ".index",
    "hdf5": pretrained.path,
    "saved_model": os.path.join(pretrained.path, "variables", "variables.index"),
  }[pretrained.kind]
  description = {
    "network": hashlib.sha256(pathlib.Path(weights).read_bytes()).hexdigest(),
    "global_step": pretrained.step,
    "images": images.hexdigest(),
    **{
      name: getattr(config, name)
      for name in (
        "dataset",
        "train_split",
        "eval_split",
        "label_mode",
        "image_size",
        "image_channels",
        "ft_proj_selector",
        "mixed_precision",
        "eval_batch_size",
      )
    },
  }
  directory = RunDirectory(folder)
  before = directory.read(DESCRIPTION)
  changed = [
    f"{name}: {before.get(name)} -> {value}"
    for name, value in description.items()
    if before and before.get(name) != value
  ]
  if changed:
    raise UsageError(
      f"{folder} must be empty, or hold embeddings of the same images by the same "
      f"network. Received: {'; '.join(changed)}"
    )
  with io_as_usage_error(folder):
    folder.mkdir(parents=True, exist_ok=True)
  directory.write(DESCRIPTION, description)


def _state(path):
  """What changes when a file does: its name, size and time."""
  state = os.stat(path) if os.path.exists(path) else None
  return os.path.basename(path), state and (state.st_size, state.st_mtime_ns)


def good_indices(split):
  """Places in a split of its images, without those that stand in for bad ones."""
  if split.names is None:
    return np.arange(split.num_examples)
  return np.sort(np.unique(split.names.astype(str), return_index=True)[1])


def _files(folder, role, places):
  """Yields (path, places of its images) for each file of a split."""
  count = -(-len(places) // IMAGES_PER_FILE)
  for number in range(count):
    yield (
      folder / f"{role}-{number:05}-of-{count:05}.npz",
      places[number * IMAGES_PER_FILE :][:IMAGES_PER_FILE],
    )


def embed_batches(config, model, source, split, places, first):
  """Yields embeddings and, with labels, labels of a batch, from the image at `first` on."""
  wanted = np.zeros(split.num_examples, bool)
  wanted[places] = True

  def records():
    numbered = split.records().enumerate().skip(int(first))
    chosen = numbered.filter(lambda place, _: tf.gather(wanted, place))
    return chosen.map(lambda _, record: {"label": tf.constant(UNKNOWN, tf.int64), **record})

  for pixels, label in evaluation_batches(
    config, source, dataclasses.replace(split, records=records)
  ):
    embedding = model.embed(pixels, layer=config.ft_proj_selector).numpy()
    yield (embedding, label.numpy()) if source.class_names else (embedding,)


def _rows(path, source, split, images, arrays):
  """What the index says of a file's images."""
  labels = arrays.get("label", np.full(len(images), UNKNOWN))
  for row, (image, label) in enumerate(zip(images, labels)):
    name = image if split.names is None else split.names[image]
    known = (label, source.class_names[label]) if label != UNKNOWN else ("", "")
    yield (path.name, row, split.name, name, *known)


def _read(path, count):
  """A file's arrays, or None if it isn't there, or isn't whole."""
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      arrays = dict(archive)
    return arrays if len(arrays["embedding"]) == count else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def _write(path, arrays):
  """Writes an archive under a temporary name and renames it."""
  temporary = path.with_name(path.name + ".tmp")
  with io_as_usage_error(path.parent):
    try:
      with temporary.open("wb") as file:
        np.savez(file, **arrays)
      os.replace(temporary, path)
    finally:
      temporary.unlink(missing_ok=True)
