"""The records of a split: held in memory, reached by number, or streamed from files."""

from collections.abc import Callable, Iterable
import functools
import hashlib

import numpy as np
import tensorflow as tf

# `{image, label}`, without label where there is none. What an image is, `DatasetSource.decode`
# knows: bytes, a path, pixels.
Record = dict[str, tf.Tensor]
TEACHER_VECTOR = "teacher_vector"  # of a record, where a training has a teacher: float32 `[F]`
Change = Callable[[Record], Record]


class Numbered:
  """Records that are reached by their number, an int64 scalar."""

  def __init__(self, count: int, lookup: Callable[[tf.Tensor], Record]) -> None:
    self._count, self.lookup = count, lookup

  def __len__(self) -> int:
    return self._count

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def __call__(self) -> tf.data.Dataset:
    """Makes a finite `tf.data.Dataset` of the records, in their order."""
    return tf.data.Dataset.range(self._count).map(self.lookup)

  def at(self, index: np.ndarray) -> tf.data.Dataset:
    """Returns the records of an index, int `[n]`, each once and in their order."""
    return self.part(np.unique(index))()

  def part(self, index: np.ndarray) -> "Numbered":
    """Returns the records of any index, int `[n]`, in its order, as often as they are in it."""

    number_of = _rows_of(index.astype(np.int64))
    return Numbered(len(index), lambda number: self.lookup(number_of(number)))

  def mapped(self, change: Change) -> "Numbered":
    """Returns the records after a change to each."""
    return Numbered(self._count, lambda number: change(self.lookup(number)))

  def with_column(self, name: str, column: np.ndarray) -> "Numbered":
    """Returns the records with one row more each, of an array `[N, ...]` in their order."""
    row = _rows_of(column)
    return Numbered(self._count, lambda number: {**self.lookup(number), name: row(number)})


class InMemory(Numbered):
  """Records that lie in memory: `{image, label}`, arrays of one length, or without label."""

  def __init__(self, columns: dict[str, np.ndarray]) -> None:
    super().__init__(
      len(columns["image"]),
      lambda number: {key: tf.gather(column, number) for key, column in self._tensors.items()},
    )
    self._columns = columns

  @functools.cached_property
  def _tensors(self) -> Record:
    with tf.init_scope(), tf.device("CPU:0"):
      return {key: tf.convert_to_tensor(column) for key, column in self._columns.items()}

  def __call__(self) -> tf.data.Dataset:
    """See `Numbered`; slices are taken, which is faster."""
    return tf.data.Dataset.from_tensor_slices(self._tensors)


class Streamed:
  """Records that can be read one after the other alone.

  Args:
    records: makes a finite `tf.data.Dataset` of them in a fixed order.
    shuffled: makes a `tf.data.Dataset` of (number, record) in an order that an int64 `[2]`
      determines, a number counting in the order of the files; None where that can't be done.
    in_file_order: makes a `tf.data.Dataset` of them in the order of these numbers, which is that
      of `Columns.labels` too; None where `records` does.
  """

  def __init__(
    self,
    count: int,
    records: Callable[[], tf.data.Dataset],
    shuffled: Callable[[tf.Tensor], tf.data.Dataset] | None = None,
    in_file_order: Callable[[], tf.data.Dataset] | None = None,
  ) -> None:
    self._count, self._records = count, records
    self.shuffled, self.in_file_order = shuffled, in_file_order or records

  def __len__(self) -> int:
    return self._count

  def __call__(self) -> tf.data.Dataset:
    """Makes a finite `tf.data.Dataset` of the records, in a fixed order."""
    return self._records()

  def at(self, index: np.ndarray) -> tf.data.Dataset:
    """Returns the records of an index in that order, int `[n]`; the others are passed over."""
    return self._chosen(self._records(), index)

  @tf.autograph.experimental.do_not_convert
  def _chosen(self, records: tf.data.Dataset, index: np.ndarray) -> tf.data.Dataset:
    wanted = tf.constant(np.isin(np.arange(self._count), index))
    chosen = records.enumerate().filter(lambda number, _: wanted[number])
    return chosen.map(lambda _, record: record).apply(
      tf.data.experimental.assert_cardinality(len(np.unique(index)))
    )

  def part(self, index: np.ndarray) -> "Streamed":
    """Returns the records of an index, each once and in the order of the files."""
    index, shuffled = np.unique(index), self.shuffled
    new_numbers = np.full(self._count, -1, np.int64)
    new_numbers[index] = np.arange(len(index))

    @tf.autograph.experimental.do_not_convert
    def shuffled_part(seed: tf.Tensor) -> tf.data.Dataset:
      assert shuffled is not None
      with tf.init_scope(), tf.device("CPU:0"):
        new = tf.constant(new_numbers)
      renumbered = shuffled(seed).map(lambda number, record: (tf.gather(new, number), record))
      return renumbered.filter(lambda number, _: number >= 0)

    return Streamed(
      len(index),
      lambda: self._chosen(self.in_file_order(), index),
      shuffled and shuffled_part,
    )

  def mapped(self, change: Change) -> "Streamed":
    """Returns the records after a change to each."""
    shuffled = self.shuffled
    return Streamed(
      self._count,
      lambda: self._records().map(change),
      shuffled
      and (lambda seed: shuffled(seed).map(lambda number, record: (number, change(record)))),
      lambda: self.in_file_order().map(change),
    )

  @tf.autograph.experimental.do_not_convert
  def with_column(self, name: str, column: np.ndarray) -> "Streamed":
    """Returns the records with one row more each, of an array `[N, ...]` in the files' order."""
    row, shuffled = _rows_of(column), self.shuffled

    def add(number: tf.Tensor, record: Record) -> Record:
      return {**record, name: row(number)}

    return Streamed(
      self._count,
      lambda: self.in_file_order().enumerate().map(add),
      shuffled
      and (lambda seed: shuffled(seed).map(lambda number, record: (number, add(number, record)))),
    )


def evenly_over(count: int, most: int) -> np.ndarray:
  """Returns the numbers of at most so many of `count` records, evenly over them, int `[n]`.

  The first ones would be of few classes, where files are sorted by class.
  """
  return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _rows_of(column: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the function from a number to its row of an array, inside a graph too."""

  @functools.cache
  def tensor() -> tf.Tensor:
    with tf.init_scope(), tf.device("CPU:0"):  # once, and not as a constant of a graph
      return tf.convert_to_tensor(column)

  return lambda number: tf.gather(tensor(), number)


Records = Numbered | Streamed


def content_digests(contents: Iterable[bytes | memoryview]) -> np.ndarray:
  """Returns the SHA-256 of each content, uint8 `[N, 32]`."""
  digests = b"".join(hashlib.sha256(content).digest() for content in contents)
  return np.frombuffer(digests, np.uint8).reshape(-1, hashlib.sha256().digest_size)
