"""`--mode=embed`: images of any dataset through a trained network, into files."""

import csv
import dataclasses
import io
import logging
import os
import time
import zipfile

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.checkpoints import load_network
from conrec_tf.config import UsageError
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.sources import open_source
from conrec_tf.models import build_model
from conrec_tf.runs import RunDirectory, write_text, writing

logger = logging.getLogger(__name__)

IMAGES_PER_FILE = 2048
BYTES_FOR_ACTIVATIONS = 2**30
DESCRIPTION = "description.json"


def embed(config, stored, directory):
  """Embeds `train_split` and `eval_split`; what an earlier call finished is kept.

  Writes to `model_dir/embeddings/<dataset>/`: `<train or eval>-<file>-of-<files>.npz` with
  `embedding` float32 `[n, F]` and, with labels, `label` int64 `[n]`; `index.csv` with the row
  of each image; `description.json` with the network and what it was given. Bad images of a
  folder are left out.

  Args:
    config: `Config`.
    stored: the `Stored` network.
    directory: `RunDirectory`.

  Raises:
    UsageError: the network doesn't fit, can't be read, or there are embeddings of something
      else.
  """
  source = open_source(dataclasses.replace(config, cache_dataset=False))
  model = build_model(config, source.channels)
  load_network(stored, model)
  folder = directory.path / "embeddings" / source.name.replace("/", "_").replace(":", "_")
  _describe(folder, config, stored)
  config = dataclasses.replace(config, eval_batch_size=batch_size(config))
  splits = {"train": source.train}
  if source.eval.name != source.train.name:
    splits["eval"] = source.eval
  files = [(role, split, part) for role, split in splits.items()
           for part in _parts(split)]
  began, done, rows = time.monotonic(), 0, []
  with tqdm(total=sum(len(images) for *_, (_, _, images) in files), desc="Embedding",
            unit=" images", disable=None, leave=False) as bar:
    for role, split, (number, count, images) in files:
      path = folder / f"{role}-{number:05}-of-{count:05}.npz"
      arrays = _read(path, len(images))
      if arrays is None:
        arrays = _embedded(config, model, source, split, images, bar)
        _write(path, arrays)
        done += len(images)
      else:
        bar.update(len(images))
      labels = arrays.get("label", [""] * len(images))
      names = split.names if split.names is not None else range(split.num_examples)
      rows += [(path.name, row, split.name, names[image], label,
                source.class_names[label] if source.class_names else "")
               for row, (image, label) in enumerate(zip(images, labels))]
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(("file", "row", "split", "image", "label", "class_name"))
  writer.writerows(rows)
  write_text(folder / "index.csv", text.getvalue())
  seconds = time.monotonic() - began
  logger.info("%d images in %s (%d embedded now, %.0f images/s)", len(rows), folder, done,
              done / seconds)


def batch_size(config):
  """Images a batch: `eval_batch_size`, or fewer if the first level's maps would take over 1 GiB."""
  if config.encoder != "unet":
    return config.eval_batch_size
  maps = 4  # what is alive at once
  image = maps * 4 * config.base_filters * config.image_size**2
  return max(1, min(config.eval_batch_size, BYTES_FOR_ACTIVATIONS // image))


def _describe(folder, config, stored):
  """Writes what the embeddings are of, or checks that those there are of the same."""
  description = {"network": os.path.abspath(stored.path), "global_step": stored.step,
                 **{name: getattr(config, name) for name in (
                     "dataset", "data_dir", "train_split", "eval_split", "labels", "image_size",
                     "image_channels", "ft_proj_selector", "mixed_precision")}}
  directory = RunDirectory(folder)
  before = directory.read(DESCRIPTION)
  changed = [f"{name}: {before.get(name)} -> {value}" for name, value in description.items()
             if before and before.get(name) != value]
  if changed:
    raise UsageError(f"{folder} must be empty, or hold embeddings of the same images by the same "
                     f"network. Received: {'; '.join(changed)}")
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
  directory.write(DESCRIPTION, description)


def _parts(split):
  """Yields (number, how many, places of its images in the split) for each file of a split."""
  places = np.arange(split.num_examples)
  if split.names is not None:  # without those that stand in for bad ones
    places = np.sort(np.unique(split.names.astype(str), return_index=True)[1])
  count = -(-len(places) // IMAGES_PER_FILE)
  for number in range(count):
    yield number, count, places[number * IMAGES_PER_FILE:][:IMAGES_PER_FILE]


def _embedded(config, model, source, split, images, bar):
  """Embeddings and labels of some images of a split."""
  wanted = np.zeros(split.num_examples, bool)
  wanted[images] = True
  first, last = int(images[0]), int(images[-1])

  def records():
    numbered = split.records().enumerate().skip(first).take(last - first + 1)
    chosen = numbered.filter(lambda place, _: tf.gather(wanted, place))
    return chosen.map(lambda _, record: {"label": tf.constant(-1, tf.int64), **record})

  columns = {"embedding": [], "label": []}
  for pixels, label in evaluation_batches(config, source,
                                          dataclasses.replace(split, records=records)):
    columns["embedding"].append(model.embed(pixels, layer=config.ft_proj_selector).numpy())
    columns["label"].append(label.numpy())
    bar.update(len(label))
  arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
  if not source.class_names:
    del arrays["label"]
  return arrays


def _read(path, count):
  """A file's arrays, or None if it isn't there, or isn't whole."""
  try:
    with np.load(path, allow_pickle=False) as archive:
      arrays = dict(archive)
    return arrays if len(arrays["embedding"]) == count else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def _write(path, arrays):
  """Writes an archive under a temporary name and renames it."""
  temporary = path.with_name(path.name + ".tmp")
  with writing(path.parent):
    try:
      with temporary.open("wb") as file:
        np.savez(file, **arrays)
      os.replace(temporary, path)
    finally:
      temporary.unlink(missing_ok=True)
