"""`DatasetSource` and `Split`: what the pipeline knows of a dataset."""

from collections.abc import Callable, Hashable, Iterable, Sequence
import dataclasses
import functools
import hashlib
import logging
import os

import numpy as np
import tensorflow as tf

from conrec_tf.data.images.decoding import DecodeReduced, DecodeSize
from conrec_tf.errors import UsageError

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
    fault: reads the files of records anew, and returns which of them is damaged and how, or an
      empty text; None where records aren't read from such files.
    labels: reads the labels, int64 `[num_examples]`, -1 where an image has none, or 0 and 1 of
      several labels, `[num_examples, L]`; None without labels.
    stored: int64 `[num_examples]`, numbers of the images among all that the dataset stores,
      whatever its splits, in any order; or None.
    content: uint8 `[num_examples, 32]`, SHA-256 of the stored images, or None where they only
      stream or are reached by number.
    masks: uint8 `[num_examples, 32]`, SHA-256 of the class maps, or None.
    origin: of images whose content isn't known, what tells them from others.
    in_file_order: where records only stream, makes a finite `tf.data.Dataset` of them in the order
      of the places of `shuffled`, which is that of `labels` too; else None.
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
  labels: Callable[[], np.ndarray] | None = None
  stored: np.ndarray | None = None
  content: np.ndarray | None = None
  masks: np.ndarray | None = None
  origin: str = ""
  in_file_order: Callable[[], tf.data.Dataset] | None = None

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
  def own_places(self) -> np.ndarray:
    """Places of the images, sorted, without those that stand in for bad ones."""
    if self.names is None:
      return np.arange(self.num_examples)
    return np.sort(np.unique(self.names.astype(str), return_index=True)[1])

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def records_at(self, places: np.ndarray) -> tf.data.Dataset:
    """Returns the records at some places, int `[n]`, in the split's order and in one pass."""
    if self.lookup:
      return tf.data.Dataset.from_tensor_slices(np.unique(places)).map(self.lookup)
    return _chosen(self.records(), self.num_examples, places)

  def part(self, places: np.ndarray, name: str = "") -> "Split":
    """Returns the split of the images at some places, int `[n]`, each once and in their order.

    Args:
      places: in the order of `labels`; of records that only stream that is that of their files.
      name: of the part; empty: the split's own.
    """
    places = np.unique(places)
    whole = self.in_file_order or self.records
    lookup, shuffled, labels = self.lookup, self.shuffled, self.labels
    new_places = np.full(self.num_examples, -1, np.int64)
    new_places[places] = np.arange(len(places))

    def lookup_of_part(place: tf.Tensor) -> Record:
      assert lookup is not None
      with tf.init_scope(), tf.device("CPU:0"):
        at = tf.constant(places, tf.int64)
      return lookup(tf.gather(at, place))

    def shuffled_part(seed: tf.Tensor) -> tf.data.Dataset:
      assert shuffled is not None
      with tf.init_scope(), tf.device("CPU:0"):
        new = tf.constant(new_places)
      renumbered = shuffled(seed).map(lambda place, record: (tf.gather(new, place), record))
      return renumbered.filter(lambda place, _: place >= 0)

    def records() -> tf.data.Dataset:
      return _chosen(whole(), self.num_examples, places)

    columns = {
      column: None if values is None else values[places]
      for column, values in (
        ("shapes", self.shapes),
        ("names", self.names),
        ("groups", self.groups),
        ("stored", self.stored),
        ("content", self.content),
        ("masks", self.masks),
      )
    }
    return dataclasses.replace(
      self,
      name=name or self.name,
      num_examples=len(places),
      records=records,
      lookup=lookup and lookup_of_part,
      shuffled=shuffled and shuffled_part,
      labels=labels and functools.cache(lambda: labels()[places]),
      origin=f"{self.origin} at {hashlib.sha256(places.tobytes()).hexdigest()}",
      in_file_order=self.in_file_order and records,
      **columns,
    )

  @property
  def without_stand_ins(self) -> "Split":
    """The split with each image once: what is evaluated."""
    places = self.own_places
    return self if len(places) == self.num_examples else self.part(places)

  @property
  def labelled(self) -> "Split":
    """The split without images whose label is -1, which is none; says how many those are."""
    if self.labels is None or (labels := self.labels()).ndim > 1:
      return self
    places = np.flatnonzero(labels >= 0)
    if len(places) == self.num_examples:
      return self
    logger.warning(
      "%d of %d images of %s have no label (-1) and are left out of what labels are for",
      self.num_examples - len(places),
      self.num_examples,
      self.name,
    )
    return self.part(places)


@tf.autograph.experimental.do_not_convert
def _chosen(records: tf.data.Dataset, count: int, places: np.ndarray) -> tf.data.Dataset:
  """Returns the records at some places, int `[n]`, of so many."""
  wanted = tf.constant(np.isin(np.arange(count), places))
  chosen = records.enumerate().filter(lambda place, _: wanted[place])
  return chosen.map(lambda _, record: record).apply(
    tf.data.experimental.assert_cardinality(len(np.unique(places)))
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

  @functools.cached_property
  def labelled(self) -> "DatasetSource":
    """The dataset without images whose label is -1, which is none; says how many those are."""
    train = self.train.labelled
    same = self.eval.name == self.train.name
    evaluated = train if same else self.eval.labelled
    if train is self.train and (same or evaluated is self.eval):
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

  def decode_for(self, image: tf.Tensor, decode_size: DecodeSize) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a record's image with no more pixels than it needs; see `decode_reduced`."""
    if self.decode_reduced:
      return self.decode_reduced(image, decode_size)
    pixels = self.decode(image)
    return pixels, tf.shape(pixels)[:2]


def split_in_memory(
  name: str,
  columns: dict[str, np.ndarray],
  shapes: np.ndarray | None = None,
  names: np.ndarray | None = None,
  groups: np.ndarray | None = None,
  stored: np.ndarray | None = None,
  content: np.ndarray | None = None,
) -> Split:
  """Makes a `Split` whose records lie in memory, where each can be reached by its place.

  Args:
    name: the split expression.
    columns: `{image, label}`, arrays of one length; without label where there is none.
    shapes: see `Split`.
    names: see `Split`.
    groups: see `Split`.
    stored: see `Split`.
    content: see `Split`.
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
    labels=(lambda: columns["label"]) if "label" in columns else None,
    stored=stored,
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
