"""`DatasetSource` and `Split`: what the pipeline knows of a dataset."""

from collections.abc import Callable, Hashable, Iterable, Sequence
import dataclasses
import functools
import hashlib
import logging
import os

import numpy as np
import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.data.decoding import DecodeReduced, Fitting

logger = logging.getLogger(__name__)

LABELLED_EVAL_SHARE = 0.2
UNLABELLED_EVAL_SHARE = 0.1

# `{image, label}`, without label where there is none. What an image is, `DatasetSource.decode`
# knows: bytes, a path, pixels.
Record = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Split:
  """A named part of a dataset.

  Attributes:
    name: the split expression, e.g. `train+validation`.
    num_examples: how many images.
    records: makes a finite `tf.data.Dataset` of records in a fixed order.
    lookup: the record at a place in that order, an int64 scalar; None where records only stream.
    shuffled: where records only stream, makes a `tf.data.Dataset` of (place, record) in an order
      that an int64 `[2]` determines, a place counting in the order of the files; else None, or
      where that can't be done.
    shapes: int `[num_examples, 4]`, stored height, width, channels and bits a channel, where they
      have been looked at, or None; zeros for images that can't be decoded.
    names: object `[num_examples]`, the images' files relative to data_dir, or None; a file that
      stands in for a bad one is named again.
    groups: object `[num_examples]`, names of what images belong together by, patients say, or None.
    labels: int `[num_examples]`, or 0 and 1 `[num_examples, L]`, where they are known without
      reading the records; else None.
    content: uint8 `[num_examples, 32]`, SHA-256 of the stored images (and masks), or None where
      records only stream.
    origin: of records whose content isn't known, what tells them from others.
    fault: reads the files of records anew, and returns which of them is damaged and how, or an
      empty text; None where records aren't read from such files.
  """

  name: str
  num_examples: int
  records: Callable[[], tf.data.Dataset]
  lookup: Callable[[tf.Tensor], Record] | None = None
  shuffled: Callable[[tf.Tensor], tf.data.Dataset] | None = None
  shapes: np.ndarray | None = None
  names: np.ndarray | None = None
  groups: np.ndarray | None = None
  fault: Callable[[], str] | None = None
  labels: np.ndarray | None = None
  content: np.ndarray | None = None
  origin: str = ""

  def digest(self, class_names: Sequence[str]) -> str:
    """Returns what tells these images, their labels by name and their groups from any others.

    Where the images lie, and what they are called, is not in it; their order is.

    Args:
      class_names: of the labels; empty where labels don't count.
    """
    digest = hashlib.sha256()
    if self.content is None:
      digest.update(repr((self.origin, tuple(class_names))).encode())
    else:
      digest.update(np.ascontiguousarray(self.content).tobytes())
    if self.labels is not None and class_names:
      used = np.asarray(class_names, object)
      for label in self.labels:
        words = used[label > 0] if np.ndim(label) else used[label : label + 1]
        digest.update(repr(words.tolist()).encode())
    if self.groups is not None:
      digest.update(repr(self.groups.tolist()).encode())
    return digest.hexdigest()

  @property
  def own_places(self) -> np.ndarray:
    """Places of the images, sorted, without those that stand in for bad ones."""
    if self.names is None:
      return np.arange(self.num_examples)
    return np.sort(np.unique(self.names.astype(str), return_index=True)[1])

  def records_at(self, places: np.ndarray) -> tf.data.Dataset:
    """Returns the records at some places, int `[n]`, in the split's order and in one pass."""
    wanted = tf.constant(np.isin(np.arange(self.num_examples), places))
    chosen = self.records().enumerate().filter(lambda place, _: wanted[place])
    count = len(np.unique(places))
    return chosen.map(lambda _, record: record).apply(
      tf.data.experimental.assert_cardinality(count)
    )

  @property
  def without_stand_ins(self) -> "Split":
    """The split with each image once: what is evaluated."""
    places = self.own_places
    if len(places) == self.num_examples:
      return self
    assert self.names is not None
    return dataclasses.replace(
      self,
      num_examples=len(places),
      records=lambda: self.records_at(places),
      lookup=None,
      shuffled=None,
      shapes=None if self.shapes is None else self.shapes[places],
      names=self.names[places],
      groups=None if self.groups is None else self.groups[places],
      labels=None if self.labels is None else self.labels[places],
      content=None if self.content is None else self.content[places],
    )


@dataclasses.dataclass(frozen=True)
class DatasetSource:
  """A dataset as the pipeline sees it.

  Attributes:
    name: the dataset's name.
    train, eval: `Split`.
    decode: record's image -> uint8 or uint16 `[h, w, channels]`.
    channels: how many; colour jitter in full needs 3.
    one_size: whether all images have the same height and width.
    center_crop: whether evaluation takes the central 87.5 % of an image.
    class_names: tuple of names, in the order of the labels; empty without labels.
    multi_label: whether an image has any number of labels, 0 or 1, int64 `[L]`, and not one class.
    bad: tuple of `<name>: <why>` for images that can't be decoded; in training the next good image
      of the split stands in for each.
    decode_mask: of segmentation, record's mask -> classes uint8 `[h, w]`; else None.
    digest: what tells these images and labels from others, wherever they lie; may be empty.
    decode_reduced: where images may be decoded with fewer pixels: from a record's image and what
      tells the reduction from height and width, to what `decode` returns and int32 `[2]`, the
      whole image's height and width.
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
  bad: tuple[str, ...] = ()
  digest: str = ""
  center_crop: bool = False
  decode_reduced: DecodeReduced | None = None

  @functools.cached_property
  def _functions(self) -> dict[Hashable, Callable]:
    return {}

  @functools.cached_property
  def without_stand_ins(self) -> "DatasetSource":
    """The dataset with each image once: what is evaluated."""
    train, evaluated = self.train.without_stand_ins, self.eval.without_stand_ins
    if train is self.train and evaluated is self.eval:
      return self
    return dataclasses.replace(self, train=train, eval=evaluated)

  def traced_once(self, key: Hashable, function: Callable) -> Callable:
    """Returns a function of records as a graph, for as long as this dataset lives.

    Args:
      key: what tells it from other functions of this dataset.
      function: what is traced, unless there is one for that key already.
    """
    if key not in self._functions:
      self._functions[key] = tf.function(function, autograph=False)
    return self._functions[key]

  def decode_for(self, image: tf.Tensor, fitting: Fitting) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a record's image with no more pixels than it needs; see `decode_reduced`."""
    if self.decode_reduced:
      return self.decode_reduced(image, fitting)
    pixels = self.decode(image)
    return pixels, tf.shape(pixels)[:2]


def split_in_memory(
  name: str,
  columns: dict[str, np.ndarray],
  shapes: np.ndarray | None = None,
  names: np.ndarray | None = None,
  groups: np.ndarray | None = None,
  content: np.ndarray | None = None,
) -> Split:
  """Makes a `Split` whose records lie in memory, where each can be reached by its place.

  Args:
    name: the split expression.
    columns: `{image, label}`, arrays of one length; without label where there is none.
    shapes, names, groups, content: see `Split`.
  """

  @functools.cache
  def tensors() -> Record:
    with tf.init_scope(), tf.device("CPU:0"):  # once, and not as constants of a graph
      return {key: tf.convert_to_tensor(column) for key, column in columns.items()}

  return Split(
    name=name,
    num_examples=len(columns["image"]),
    records=lambda: tf.data.Dataset.from_tensor_slices(tensors()),
    lookup=lambda place: {key: tf.gather(column, place) for key, column in tensors().items()},
    shapes=shapes,
    names=names,
    groups=groups,
    labels=columns.get("label"),
    content=content,
  )


def content_digests(contents: Iterable[bytes | memoryview]) -> np.ndarray:
  """Returns the SHA-256 of each content, uint8 `[N, 32]`."""
  digests = b"".join(hashlib.sha256(content).digest() for content in contents)
  return np.frombuffer(digests, np.uint8).reshape(-1, hashlib.sha256().digest_size)


def holdout_mask(labels: np.ndarray | None, count: int) -> np.ndarray:
  """Returns which images make the eval share of data without splits, whatever the run's seed.

  Args:
    labels: int `[count]`, of which each class gives the same share, or `[count, L]` of several
      labels each, of which any are taken, or None.
    count: how many images there are.

  Returns:
    bool `[count]`. A class with a single image keeps it for training.
  """
  share = UNLABELLED_EVAL_SHARE if labels is None else LABELLED_EVAL_SHARE
  groups = labels if labels is not None and labels.ndim == 1 else np.zeros(count, int)
  generator, held = np.random.default_rng(0), np.zeros(count, bool)
  for group in np.unique(groups):
    members = generator.permutation(np.flatnonzero(groups == group))
    held[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = True
  return held


def log_cache_size(name: str, size: float) -> None:
  """Logs what will be held in memory.

  Args:
    name: of the data.
    size: bytes.
  """
  logger.info("Keeping %s in memory: %.0f MB", name, size / 1e6)


def existing_path(data_dir: str, dataset: str, what: str) -> str:
  """Returns `data_dir` as a path that exists.

  Args:
    data_dir: what the user gave.
    dataset: name of the dataset that it is for.
    what: what it should be, for the message.

  Raises:
    UsageError: there is nothing there.
  """
  path = os.path.expanduser(data_dir)
  if not path or not os.path.exists(path):
    raise UsageError(
      f"data_dir must be {what}, for dataset={dataset}. "
      f"Received: {data_dir or 'nothing'}" + (", which doesn't exist" if path else "")
    )
  return path
