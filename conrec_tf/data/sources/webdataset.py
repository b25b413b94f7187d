"""Image files in tar archives, in WebDataset's layout: `key.jpg` beside `key.cls` or `key.json`."""

from collections.abc import Iterator, Mapping, Sequence
import glob
import json
import logging
import os
import re
import tarfile
from typing import NamedTuple

import braceexpand

from conrec_tf.config import Data
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.labels import label_text, value_text
from conrec_tf.data.files.layout import Label, Layout, has_splits, sample_layout, split_word
from conrec_tf.data.files.walk import without_ending
from conrec_tf.data.sources.image_files import image_source
from conrec_tf.data.sources.tar_shards import ArchivedFile, TarShards, archived_files
from conrec_tf.errors import UsageError, as_usage_error
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

CAPTIONS_AND_MORE = "are neither images nor labels"
ARCHIVE = re.compile(r"^[^.].*\.(tar|tgz)(\.\w+)?$", re.IGNORECASE)
LABEL_ENDINGS = (".json", ".cls")  # the first that gives a label counts


class Samples(NamedTuple):
  """Files of an archive, by what they are.

  Attributes:
    labels: `{image: files that may say its label}`.
    further: other images of samples that have one.
    alone: files of labels without an image.
    others: neither images nor labels, and hidden files.
  """

  labels: dict[str, list[str]]
  further: list[str]
  alone: list[str]
  others: list[str]


def find_samples(names: Sequence[str]) -> Samples:
  """Finds images and the files of their labels.

  What a file is, its last ending says; what stands before that is its key, dots and all. An image
  has the label of its own key or, for `0001.left.jpg` beside `0001.cls`, of the longest key that
  its own begins with, up to a dot. Where such a key has an image itself, as with `0001.mask.png`
  beside `0001.jpg`, the longer one is a further part of that sample.
  """
  visible = [name for name in names if not os.path.basename(name).startswith(".")]
  images = {name: key for name in visible if (key := without_ending(name)) != name}
  of_keys: dict[str, dict[str, str]] = {}
  for name in visible:
    key, ending = os.path.splitext(name)
    if ending.lower() in LABEL_ENDINGS:
      of_keys.setdefault(key, {})[ending.lower()] = name
  keys, further, used = set(images.values()), list[str](), set[str]()
  labels: dict[str, list[str]] = {}
  for name, own in images.items():
    if any(key in keys for key in _beginnings(own)):
      further.append(name)
      continue
    found = next((of_keys[key] for key in (own, *_beginnings(own)) if key in of_keys), {})
    labels[name] = [found[ending] for ending in LABEL_ENDINGS if ending in found]
    used.update(labels[name])
  of_labels = {name for files in of_keys.values() for name in files.values()}
  others = [name for name in names if name not in images and name not in of_labels]
  return Samples(labels, further, sorted(of_labels - used), others)


def _beginnings(key: str) -> Iterator[str]:
  """Yields what a key begins with, up to each dot of its base name, the longest first."""
  folder, base = os.path.split(key)
  while "." in base:
    base = base.rpartition(".")[0]
    yield os.path.join(folder, base)


def open_webdataset(data: Data, max_undecodable: str | None) -> DatasetSource:
  """Opens `--dataset=webdataset --data_dir='photos/train-{000..099}.tar'`, or a folder of shards.

  A sample is an image `key.jpg` (or another ending), perhaps with its label in `key.cls`, or as
  `label` in `key.json`, where it may be a list of several; see `find_samples`. Shards whose names
  have that of a split in them, as `train-000.tar`, make splits; otherwise a share is held out.
  Images are ordered by name, then content, so that neither the order of shards nor that within them
  matters.

  Raises:
    UsageError: there are no archives or no images, one isn't there or whole, some images have a
      label and others none, or see `image_source`.
  """
  path = os.path.expanduser(data.data_dir)
  shards, missing = _shards(path)
  if not shards:
    raise UsageError(
      "data_dir must be a folder of .tar files or a pattern such as photos-{000..099}.tar, for "
      f"dataset=webdataset. Received: {data.data_dir or 'nothing'}"
    )
  if missing:
    raise UsageError(
      "data_dir must name archives that are there. "
      f"Received: {data.data_dir}, of which {len(missing)} are not, e.g. {missing[0]}"
    )
  store, label_files = _index(path, shards)
  names = list(label_files)
  if not names:
    raise UsageError(f"data_dir must hold images. Received: {len(shards)} shards without any")
  labels = _labels(store, label_files) if data.label_mode != "none" else {}

  splits = {name: split_word(os.path.dirname(name)) for name in names}
  folders = {
    os.path.dirname(name): split for name, split in splits.items()
  }  # archives', and theirs
  named = has_splits(
    {re.sub("(/|$)", r".tar\1", folder, count=1): split for folder, split in folders.items()}
  )

  def layout(names: list[str]) -> Layout:
    missing = [name for name in names if name not in labels]
    if labels and missing:
      raise UsageError(
        "data_dir must hold a label (.cls, or label in .json) of each image, or --label_mode=none. "
        f"Received: none for {len(missing)} of {len(names)}, e.g. {missing[0]}"
      )
    return sample_layout(data, names, labels, splits if named else {})

  return image_source(data, store, names, layout, max_undecodable)


def _index(path: str, shards: Sequence[str]) -> tuple[TarShards, dict[str, list[str]]]:
  """Looks through archives, and says what is left out.

  Returns:
    The archives, and `{image: files that may say its label}`, named `shard/key.ending`.

  Raises:
    UsageError: one isn't a tar archive, is compressed or not whole, or has an image, or a label of
      one, of the same name as another, within or between archives of one name.
  """
  whole = "data_dir must name tar archives, not compressed, that are whole and hold each image once"
  files: dict[str, tuple[int, ArchivedFile]] = {}
  label_files: dict[str, list[str]] = {}
  lost: dict[str, list[str]] = {}
  for number, shard in enumerate(progress_bar("Reading shards", "shards", values=shards)):
    prefix = os.path.basename(shard).removesuffix(".tar")
    with as_usage_error(whole, shard, tarfile.TarError, OSError, ValueError):
      found, links = archived_files(shard)
      samples = find_samples([file.name for file in found])
      of_labels = {name for names in samples.labels.values() for name in names} | {*samples.alone}
      for file in found:
        name = f"{prefix}/{file.name}"
        in_other = name in files and files[name][0] != number  # of the same name
        if name in label_files or in_other and file.name in of_labels:
          raise ValueError(f"{name} is there twice")
        files[name] = (number, file)
        if file.name in samples.labels:
          label_files[name] = [f"{prefix}/{label}" for label in samples.labels[file.name]]
    for what, names in (
      (CAPTIONS_AND_MORE, samples.others),
      ("are further images of samples that have one", samples.further),
      ("are labels without an image", samples.alone),
      ("are links that lead to no file of the archive, or devices", links),
    ):
      lost.setdefault(what, []).extend(f"{prefix}/{name}" for name in names)
  for what, names in lost.items():
    if names:
      level = logging.INFO if what == CAPTIONS_AND_MORE else logging.WARNING
      logger.log(level, "Left out: %d files %s, e.g. %s", len(names), what, min(names))
  return TarShards(path, shards, files), label_files


def _labels(store: TarShards, label_files: Mapping[str, Sequence[str]]) -> dict[str, Label]:
  """Reads the labels of images, one or a list of each; those that have none are left out."""
  labels: dict[str, Label] = {}
  for image, names in label_files.items():
    found = (read_label(name, store.content(name)) for name in names)
    label = next((label for label in found if label is not None), None)
    if label is not None:
      labels[image] = label
  return labels


def read_label(name: str, data: bytes) -> Label | None:
  """Returns the label that a sample's file gives, if it gives one; its ending says what is in it.

  Raises:
    UsageError: it can't be read, or what it gives is no label.
  """
  with as_usage_error("labels must be text in UTF-8, or JSON", name, ValueError):
    text = data.decode("utf-8-sig")
    if not name.lower().endswith(".json"):
      return label_text(text.strip()) or None
    values = json.loads(text)
  if not isinstance(values, dict) or "label" not in values:
    return None
  label = values["label"]
  texts = [value_text(each) for each in (label if isinstance(label, list) else [label])]
  if None in texts:
    raise UsageError(
      "label in JSON must be text, a number, or a list of those. "
      f"Received: {json.dumps(label)} in {name}"
    )
  found = tuple(sorted({text for text in texts if text is not None}))
  return found if isinstance(label, list) else found[0]


def _warn_of_other_archives(folder: str, shards: Sequence[str]) -> None:
  """Warns of archives in a folder that are no shards: compressed, or further below."""
  files = (os.path.join(below, name) for below, _, names in os.walk(folder) for name in names)
  others = {file for file in files if ARCHIVE.search(os.path.basename(file))} - set(shards)
  if others:
    logger.warning(
      "Left out: %d archives in %s that don't end in .tar or lie in folders below, e.g. %s",
      len(others),
      folder,
      os.path.relpath(min(others), folder),
    )


def _shards(path: str) -> tuple[list[str], list[str]]:
  """Returns the archives that a folder or a pattern names, each once, sorted, and what isn't there.

  Of a pattern in braces that is each name, or pattern of names, that no archive has.
  """
  if os.path.isdir(path):
    shards = sorted(glob.glob(os.path.join(glob.escape(path), "*.tar")))
    _warn_of_other_archives(path, shards)
    return shards, []
  found = {part: glob.glob(part) or [part] for part in braceexpand.braceexpand(path)}
  there = {match for matches in found.values() for match in matches if os.path.exists(match)}
  return sorted(there), [part for part, matches in found.items() if there.isdisjoint(matches)]
