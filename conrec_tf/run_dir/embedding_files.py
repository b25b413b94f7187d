"""The files of `embeddings/`: archives of arrays, an index of images, what they are of."""

from collections.abc import Iterable, Iterator
import csv
import hashlib
import io
import os
import pathlib
from typing import Any
import zipfile

import numpy as np

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.labels import label_words
from conrec_tf.files import io_as_usage_error, replacing, write_text
from conrec_tf.run_dir.descriptions import identifying_bytes, write_description
from conrec_tf.run_dir.pretrained import PretrainedModel

UNKNOWN = -1  # the label of an image without one
COLUMNS = ("file", "row", "split", "image", "label", "class_name")


def write_manifest(
  folder: pathlib.Path,
  config: Config,
  pretrained: PretrainedModel,
  splits: dict[str, Split],
  source: DatasetSource,
) -> None:
  """Writes what the embeddings are of, or checks that those in the folder are of the same.

  Raises:
    UsageError: there are embeddings of other images, or by another network.
  """
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
  description = {
    "network": hashlib.sha256(identifying_bytes(pretrained)).hexdigest(),
    "global_step": pretrained.step,
    "images": images.hexdigest(),
    "center_crop": source.center_crop,
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
        "representation_levels",
        "external_scaling",
        "external_output",
        "mixed_precision",
        "eval_batch_size",
      )
    },
  }
  # Version 0.1.0 kept no word of the crop.
  absent = {"center_crop": not source.one_size}
  write_description(
    folder, description, "embeddings of the same images by the same network", absent
  )


def _state(path: str) -> tuple[str, tuple[int, int] | None]:
  """Returns what changes when a file does: its name, size and time of change."""
  state = os.stat(path) if os.path.exists(path) else None
  return os.path.basename(path), state and (state.st_size, state.st_mtime_ns)


def index_rows(
  path: pathlib.Path,
  source: DatasetSource,
  split: Split,
  images: np.ndarray,
  arrays: dict[str, np.ndarray],
) -> Iterator[tuple[Any, ...]]:
  """Yields the rows of the index for the images of an archive.

  Args:
    path: of the archive.
    source: the dataset.
    split: a split of it.
    images: int `[n]`, the images' places in the split.
    arrays: the archive's.
  """
  labels = arrays.get("label", np.full(len(images), UNKNOWN))
  for row, (image, label) in enumerate(zip(images, labels)):
    name = image if split.names is None else split.names[image]
    known = ("", "")
    if np.any(label != UNKNOWN):
      number = "".join(map(str, label)) if source.multi_label else label
      known = (number, label_words(label, source.class_names))
    yield (path.name, row, split.name, name, *known)


def read_arrays(path: pathlib.Path, count: int) -> dict[str, np.ndarray] | None:
  """Returns the arrays of an archive, or None if it isn't there or isn't whole."""
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      arrays = dict(archive)
    return arrays if len(arrays["embedding"]) == count else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes an archive, whole or not at all."""
  with replacing(path) as temporary, io_as_usage_error(path.parent):
    with temporary.open("wb") as file:
      np.savez(file, **arrays)


def write_index(folder: pathlib.Path, rows: Iterable[tuple[Any, ...]]) -> None:
  """Writes `index.csv`, with the rows of `index_rows`."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  writer.writerows(rows)
  write_text(folder / "index.csv", text.getvalue())
