"""Image files in tar archives, in WebDataset's layout: `key.jpg` beside `key.cls` or `key.json`."""

from collections.abc import Sequence
import glob
import json
import logging
import os
import re
import tarfile

import braceexpand
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.folder_layout import SPLIT_NAMES, Layout, sample_layout
from conrec_tf.data.folder_walk import ENDINGS
from conrec_tf.data.image_files import image_source
from conrec_tf.data.labels import label_text

logger = logging.getLogger(__name__)

Member = tuple[int, int, int]  # shard, offset of the content, its bytes


class TarShards:
  """Image files in tar archives, each reached by its place; see `FileStore`.

  Args:
    path: as the user gave it: a folder, or a pattern.
    shards: paths of the archives.
  """

  def __init__(self, path: str, shards: Sequence[str]) -> None:
    self.path = path
    self._shards = shards
    self._files: dict[int, int] = {}  # descriptors, opened when first read
    self._times = [os.stat(shard).st_mtime_ns for shard in shards]
    self._images: dict[str, Member] = {}
    self.labels: dict[str, str] = {}

  def index(self) -> list[str]:
    """Looks through the archives; returns the names of the images, `shard/key.ending`.

    Raises:
      UsageError: one isn't a tar archive, is compressed, or has an image of the same name as
        another, within or between archives of one name.
    """
    for number, shard in enumerate(
      tqdm(self._shards, "Reading shards", unit=" shards", disable=None, leave=False)
    ):
      name = os.path.basename(shard).removesuffix(".tar")
      keys: dict[str, str] = {}
      labels: dict[str, str] = {}
      try:
        with tarfile.open(shard, "r:") as archive:
          for member in archive:
            folder, base = os.path.split(member.name)
            stem, _, ending = base.partition(".")
            key = os.path.join(folder, stem)
            if not member.isfile() or not stem:  # without one it is hidden
              continue
            if f".{ending.lower()}" in ENDINGS:
              keys[key] = image = f"{name}/{member.name}"
              if image in self._images:
                raise ValueError(f"{image} is there twice")
              self._images[image] = (number, member.offset_data, member.size)
            elif ending in ("cls", "json"):
              content = archive.extractfile(member)
              label = _label(ending, content.read()) if content else None
              labels.update({key: label} if label is not None else {})
      except (tarfile.TarError, OSError, ValueError) as error:
        raise UsageError(
          "data_dir must name tar archives, not compressed, that hold each image once "
          f"({error}). Received: {shard}"
        ) from error
      self.labels |= {image: labels[key] for key, image in keys.items() if key in labels}
    return list(self._images)

  def stats(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns sizes of the images and times of their archives."""
    members = [self._images[name] for name in names]
    sizes = np.array([size for _, _, size in members], np.int64)
    return sizes, np.array([self._times[shard] for shard, _, _ in members], np.int64)

  def locations(self, names: Sequence[str]) -> np.ndarray:
    """Returns int64 `[N, 3]`."""
    return np.array([self._images[name] for name in names], np.int64).reshape(-1, 3)

  def read(self, location: tf.Tensor) -> tf.Tensor:
    """Reads a part of an archive."""
    data = tf.numpy_function(lambda place: self._part(*place.tolist()), [location], tf.string)
    return tf.ensure_shape(data, [])

  def content(self, name: str) -> bytes:
    """Reads an image outside of the graph."""
    return self._part(*self._images[name])

  def _part(self, shard: int, offset: int, size: int) -> bytes:
    if shard not in self._files:
      self._files[shard] = os.open(self._shards[shard], os.O_RDONLY)
    return os.pread(self._files[shard], size, offset)


def open_webdataset(config: Config) -> DatasetSource:
  """Opens `--dataset=webdataset --data_dir='photos/train-{000..099}.tar'`, or a folder of shards.

  A sample is an image `key.jpg` (or another ending), perhaps with its label in `key.cls`, or as
  `label` in `key.json`. Shards whose names have that of a split in them, as `train-000.tar`, make
  splits; otherwise a share is held out. Images are ordered by name, then content, so that neither
  the order of shards nor that within them matters.

  Raises:
    UsageError: there are no archives or no images, some images have a label and others none, or
      see `open_image_folder`.
  """
  path = os.path.expanduser(config.data_dir)
  shards = _shards(path)
  if not shards:
    raise UsageError(
      "data_dir must be a folder of .tar files or a pattern such as photos-{000..099}.tar, for "
      f"dataset=webdataset. Received: {config.data_dir or 'nothing'}"
    )
  store = TarShards(path, shards)
  names = store.index()
  if not names:
    raise UsageError(f"data_dir must hold images. Received: {len(shards)} shards without any")
  labelled = config.label_mode != "none" and bool(store.labels)
  missing = [name for name in names if name not in store.labels]
  if labelled and missing:
    raise UsageError(
      "data_dir must hold a label (.cls, or label in .json) of each image, or --label_mode=none. "
      f"Received: none for {len(missing)} of {len(names)}, e.g. {missing[0]}"
    )

  splits = {name: _split(name) for name in names}
  without = [name for name in names if not splits[name]]
  if 0 < len(without) < len(names):
    named = next(name for name in names if splits[name])
    raise UsageError(
      "data_dir must name archives that all have a split's name in theirs, as train-000.tar, or "
      f"none. Received: {os.path.dirname(named)}.tar with {splits[named]}, "
      f"{os.path.dirname(without[0])}.tar without any"
    )

  def layout(names: list[str]) -> Layout:
    labels = [store.labels[name] for name in names] if labelled else None
    of_names = None if without else [splits[name] for name in names]
    return sample_layout(config, labels, of_names, len(names))

  return image_source(config, store, names, layout)


def _shards(path: str) -> list[str]:
  """Returns the archives that a folder or a pattern names, each once, sorted."""
  if os.path.isdir(path):
    return sorted(glob.glob(os.path.join(glob.escape(path), "*.tar")))
  found = [match for part in braceexpand.braceexpand(path) for match in glob.glob(part) or [part]]
  return sorted(dict.fromkeys(match for match in found if os.path.exists(match)))


def _split(name: str) -> str:
  """Returns the split that a shard's name has in it, train in photos-train-000; else nothing."""
  words = re.findall("[a-z]+", os.path.dirname(name).lower())
  return next((word for word in words if word in SPLIT_NAMES), "")


def _label(ending: str, data: bytes) -> str | None:
  """Returns the label that a sample's file gives, if it gives one."""
  if ending == "cls":
    return label_text(data.decode().strip())
  values = json.loads(data)
  label = values.get("label") if isinstance(values, dict) else None
  return None if label is None else label_text(str(label))
