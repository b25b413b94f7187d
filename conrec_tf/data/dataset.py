"""`DatasetSource` and `Split`: what the pipeline knows of a dataset."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
import dataclasses
import functools
import hashlib
import logging
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from conrec_tf.data.images.decoding import DecodeReduced, DecodeSize
from conrec_tf.data.records import Record, Records
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

KEPT_BYTES = 2**27  # of the batches of a dataset


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
  """Columns of a table of images: arrays in their order, or None where one isn't known.

  Attributes:
    shapes: int `[N, 4]`, height and width of the images turned upright, channels and bits a
      channel, where they have been looked at; zeros for images that can't be decoded.
    names: object `[N]`, the images' files relative to data_dir; a file that stands in for a bad one
      is named again.
    groups: object `[N]`, names of what images belong together by, patients say.
    labels: reads the labels, int64 `[N]`, -1 where an image has none, or 0 and 1 of several labels,
      `[N, L]`; None without labels.
    stored: int64 `[N]`, numbers of the images among all that the dataset stores, whatever its
      splits.
    content: uint8 `[N, 32]`, SHA-256 of the stored images.
    masks: uint8 `[N, 32]`, SHA-256 of the class maps.
    places: int `[N]`, of the images in the split that they are a part of, in the order of `labels`;
      or rows of what a share was held out of; else None of a whole split.
  """

  shapes: np.ndarray | None = None
  names: np.ndarray | None = None
  groups: np.ndarray | None = None
  labels: Callable[[], np.ndarray] | None = None
  stored: np.ndarray | None = None
  content: np.ndarray | None = None
  masks: np.ndarray | None = None
  places: np.ndarray | None = None

  def at(self, index: np.ndarray) -> "Columns":
    """Returns what is known of the images of an index, int `[n]`, in its order."""
    labels = self.labels
    arrays = {
      field.name: None if values is None else values[index]
      for field in dataclasses.fields(Columns)
      if field.name != "labels"
      for values in [getattr(self, field.name)]
    }
    return Columns(labels=labels and functools.cache(lambda: labels()[index]), **arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class Split(Columns):
  """A named part of a dataset.

  Attributes:
    name: the split expression, e.g. `train+validation`.
    rows: its records. Where they stream, what is known of the images may be in the order of the
      files, which is another one; see `Streamed`.
    origin: of images whose content isn't known, what tells them from others.
    fault: reads the files of records anew, if there are such, and returns which of them is damaged
      and how, or an empty text.
  """

  name: str
  rows: Records
  origin: str = ""
  fault: Callable[[], str] = str

  @property
  def num_examples(self) -> int:
    """The number of images."""
    return len(self.rows)

  def records(self) -> tf.data.Dataset:
    """Makes a finite `tf.data.Dataset` of the records, in a fixed order."""
    return self.rows()

  def digest(self, class_names: Sequence[str]) -> str:
    """Returns what tells these images, their labels by name and their groups from any others.

    Where the images lie, and what they are called, is not in it; their order is. Without names of
    classes labels don't count.
    """
    digest = hashlib.sha256()
    if self.content is None:
      digest.update(repr((self.origin, tuple(class_names))).encode())
    else:
      digest.update(np.ascontiguousarray(self.content).tobytes())
    if self.masks is not None:
      digest.update(np.ascontiguousarray(self.masks).tobytes())
    if self.labels and class_names:
      names = np.asarray(class_names, object)
      for label in self.labels():
        words = names[label > 0] if np.ndim(label) else names[label : label + 1]
        digest.update(repr(words.tolist()).encode())
    if self.groups is not None:
      digest.update(repr(self.groups.tolist()).encode())
    return digest.hexdigest()

  @property
  def image_names(self) -> np.ndarray:
    """What the images are called, `[N]`: their names, or without these their places, int."""
    if self.names is not None:
      return self.names
    return np.arange(self.num_examples) if self.places is None else self.places

  @property
  def own_index(self) -> np.ndarray:
    """The index of the images, sorted, without those that stand in for bad ones."""
    if self.names is None:
      return np.arange(self.num_examples)
    return np.sort(np.unique(self.names.astype(str), return_index=True)[1])

  def part(self, index: np.ndarray, name: str = "") -> "Split":
    """Returns the split of the images of an index, int `[n]`, each once and in their order.

    Args:
      index: in the order of `labels`.
      name: of the part; empty: the split's own.
    """
    index = np.unique(index)
    known = vars(self.at(index))
    if self.places is None:
      known["places"] = index
    return Split(
      name=name or self.name,
      rows=self.rows.part(index),
      origin=f"{self.origin} at {hashlib.sha256(index.tobytes()).hexdigest()}",
      fault=self.fault,
      **known,
    )

  @property
  def without_stand_ins(self) -> "Split":
    """The split with each image once: what is evaluated."""
    index = self.own_index
    return self if len(index) == self.num_examples else self.part(index)

  @property
  def labelled(self) -> "Split":
    """The split without images whose label is -1, which is none; says how many those are."""
    if self.labels is None or (labels := self.labels()).ndim > 1:
      return self
    index = np.flatnonzero(labels >= 0)
    if len(index) == self.num_examples:
      return self
    logger.warning(
      "%d of %d images of %s have no label (-1) and are left out of what labels are for",
      self.num_examples - len(index),
      self.num_examples,
      self.name,
    )
    return self.part(index)


class BadFile(NamedTuple):
  """An image file that can't be decoded, relative to data_dir, and why, in a few words."""

  name: str
  why: str

  def __str__(self) -> str:
    return f"{self.name}: {self.why}"


class BatchCache:
  """Keeps the batches of a dataset up to `KEPT_BYTES` in all.

  Small images are made in less time than it takes to begin the iterator that makes them.
  """

  def __init__(self) -> None:
    self._kept: dict[Hashable, list[Any]] = {}
    self._room = KEPT_BYTES

  def __call__(self, key: Hashable, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Yields the batches of a key.

    Args:
      make: makes them, the same at each call: tensors in any structure. It is called where they
        weren't kept: at the first pass, after one that wasn't finished, and where there is no room.
    """
    if key in self._kept:
      yield from self._kept[key]
      return
    batches, room = list[Any](), self._room
    for batch in make():
      room -= sum(part.dtype.size * tf.size(part).numpy() for part in tf.nest.flatten(batch))
      if room >= 0:
        batches.append(batch)
      else:
        batches.clear()
      yield batch
    if room >= 0:
      self._kept[key], self._room = batches, room


@dataclasses.dataclass(frozen=True)
class DatasetSource:
  """A dataset as the pipeline sees it.

  Attributes:
    train, eval: `Split`.
    decode: record's image -> uint8 or uint16 `[h, w, channels]`.
    channels: how many; colour jitter in full needs 3.
    one_size: whether all images have the same height and width.
    center_crop: whether evaluation takes the central 87.5 % of an image.
    class_names: tuple of names, in the order of the labels; empty without labels.
    multi_label: whether an image has any number of labels, 0 or 1, int64 `[L]`, and not one class.
    bad: images that can't be decoded; in training the next good image of the split stands in for
      each.
    decode_mask: of segmentation, record's mask -> classes uint8 `[h, w]`; else None.
    digest: what tells these images and labels from others, wherever they lie; may be empty.
    decode_reduced: where images may be decoded with fewer pixels: from a record's image and what
      tells the reduction from height and width, to what `decode` returns and int32 `[2]`, the
      whole image's height and width.
    changed: returns the names of images whose files aren't what they were when it was opened, none
      of those inside archives, where nobody looks; None where images are in memory or no files.
  """

  name: str
  train: Split
  eval: Split
  decode: Callable[[tf.Tensor], tf.Tensor]
  channels: int
  one_size: bool
  class_names: tuple[str, ...]
  multi_label: bool = False
  decode_mask: Callable[[tf.Tensor], tf.Tensor] | None = None
  bad: tuple[BadFile, ...] = ()
  digest: str = ""
  center_crop: bool = False
  decode_reduced: DecodeReduced | None = None
  changed: Callable[[], list[str]] | None = None

  @property
  def splits(self) -> dict[str, Split]:
    """The splits by what they are for, train and eval; one alone where both have one name."""
    splits = {"eval": self.eval} if self.eval.name != self.train.name else {}
    return {"train": self.train, **splits}

  @functools.cached_property
  def batch_cache(self) -> BatchCache:
    """What is kept of the batches of its images."""
    return BatchCache()

  @functools.cached_property
  def _functions(self) -> dict[Hashable, Callable]:
    return {}

  @functools.cached_property
  def without_stand_ins(self) -> "DatasetSource":
    """The dataset with each image once: what is evaluated."""
    return self._with(self.train.without_stand_ins, self.eval.without_stand_ins)

  @functools.cached_property
  def labelled(self) -> "DatasetSource":
    """The dataset without images whose label is -1, which is none; says how many those are."""
    labelled = {role: split.labelled for role, split in self.splits.items()}
    return self._with(labelled["train"], labelled.get("eval", labelled["train"]))

  def _with(self, train: Split, measured: Split) -> "DatasetSource":
    if train is self.train and measured is self.eval:
      return self
    return dataclasses.replace(self, train=train, eval=measured)

  def with_class_names(self, class_names: Sequence[str]) -> "DatasetSource":
    """Returns the dataset with labels, or classes of masks, that are numbered as a network's.

    Those of the network that the dataset lacks stay without images.

    Raises:
      UsageError: the dataset has labels that the network doesn't know.
    """
    if self.class_names == tuple(class_names):
      return self
    unknown = [name for name in self.class_names if name not in class_names]
    if unknown or not self.class_names:
      raise UsageError(
        f"dataset must have labels that the network knows, {listed(class_names)}. "
        f"Received: {listed(unknown) or 'none'} in {self.name}"
      )
    numbers = np.array([class_names.index(name) for name in self.class_names], np.int64)
    columns = np.full(len(class_names), -1)  # of several labels: which was there before, or none
    columns[numbers] = np.arange(len(numbers))

    def change(label: tf.Tensor) -> tf.Tensor:
      if self.multi_label:
        return tf.gather(label, np.maximum(columns, 0), axis=-1) * (columns >= 0).astype(np.int64)
      return tf.where(label < 0, label, tf.gather(numbers, tf.maximum(label, 0)))

    of_masks = np.arange(256, dtype=np.uint8)  # beyond the classes: pixels that don't count
    of_masks[: len(numbers)] = numbers
    decode_mask = self.decode_mask
    return dataclasses.replace(
      self,
      class_names=tuple(class_names),
      train=_relabelled(self.train, change),
      eval=_relabelled(self.eval, change),
      decode_mask=decode_mask
      and (lambda encoded: tf.gather(of_masks, tf.cast(decode_mask(encoded), tf.int32))),
    )

  def traced_once(self, key: Hashable, function: Callable) -> Callable:
    """Returns a function of records as a graph, traced once for each key of this dataset."""
    if key not in self._functions:
      self._functions[key] = tf.function(function, autograph=False)
    return self._functions[key]

  def decode_for(self, image: tf.Tensor, decode_size: DecodeSize) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a record's image with no more pixels than it needs; see `decode_reduced`."""
    if self.decode_reduced:
      return self.decode_reduced(image, decode_size)
    pixels = self.decode(image)
    return pixels, tf.shape(pixels)[:2]


def _relabelled(split: Split, change: Callable[[tf.Tensor], tf.Tensor]) -> Split:
  """Returns a split after a change to its labels, int64 `[...]` or `[..., L]`; -1 is none."""
  labels = split.labels

  def relabel(record: Record) -> Record:
    return {**record, "label": change(record["label"])} if "label" in record else record

  return dataclasses.replace(
    split, rows=split.rows.mapped(relabel), labels=labels and (lambda: change(labels()).numpy())
  )
