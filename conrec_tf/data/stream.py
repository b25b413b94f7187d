"""The order of images in training: a function of the seed and the step, and of nothing else.

The stream of a training is a sequence of positions. An epoch holds whole batches; position p of
epoch e is image `index_at(p, e)`, a permutation by the seed that is computed and not stored. So
nothing of the stream is in a checkpoint: any process, of any number of workers, begins at any
step and sees what an uninterrupted training would have seen. Where records can't be reached by
their number (large TFDS sets), they stream in an order that seed and epoch determine, and those of
the epoch at hand are passed over.
"""

import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from conrec_tf.data.dataset import Split
from conrec_tf.data.records import Record, Streamed
from conrec_tf.errors import UsageError
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

# `tf.random.experimental.index_shuffle` takes 4 rounds of its cipher, and this seed before the two
# that it is given. In some sizes above `SMALL`, places of neighbours then stay near each other; of
# a million they correlate by 0.4. With 8 rounds they don't.
FIRST_SEED, FEW_ROUNDS, MANY_ROUNDS = 498247692, 4, 8
SMALL = 2**14
# Of each seed it takes 8 bits, of above 2**16 numbers some more. What the last one, an epoch, has
# beyond is added to the first, or after 256 epochs all orders would come again.
BITS_TAKEN = 8
LAST = np.iinfo(np.int64).max
RECORDS_BETWEEN_UPDATES = 1000  # of the progress bar


class WorkerShard(NamedTuple):
  """Part of the stream of batches that a process takes.

  Attributes:
    worker, num_workers: which of the equal parts of each batch; parts are consecutive images.
    first_step: how many batches come before.
  """

  worker: int = 0
  num_workers: int = 1
  first_step: int = 0


WHOLE = WorkerShard()


def steps_per_epoch(split: Split, batch_size: int) -> int:
  """Returns how many whole batches a split holds.

  Raises:
    UsageError: there is none.
  """
  if batch_size > split.num_examples:
    raise UsageError(
      f"train_batch_size must be at most {split.num_examples}, the images in "
      f"{split.name}. Received: {batch_size}"
    )
  return split.num_examples // batch_size


@tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
def training_records(
  split: Split, batch_size: int, seed: int, shard: WorkerShard = WHOLE
) -> tf.data.Dataset:
  """Returns the endless stream of (position, record), int64 scalar and `{image, label}`.

  Args:
    batch_size: images of a batch, of all workers together.
    shard: the part of each batch, and where to begin.

  Raises:
    UsageError: the batch is larger than the split, or its records can't be shuffled.
  """
  per_epoch = steps_per_epoch(split, batch_size) * batch_size
  size = batch_size // shard.num_workers
  rows = split.rows
  if isinstance(rows, Streamed):
    return _streamed_records(split, batch_size, seed, shard)

  def record(number: tf.Tensor) -> tuple[tf.Tensor, Record]:
    position = number // size * batch_size + shard.worker * size + number % size
    epoch = position // per_epoch
    return position, rows.lookup(index_at(position % per_epoch, epoch, split.num_examples, seed))

  return tf.data.Dataset.range(shard.first_step * size, LAST).map(record)


def index_at(
  position: tf.Tensor, epoch: tf.Tensor | int, num_examples: int, seed: int
) -> tf.Tensor:
  """Returns which image of a split of so many stands at a position of an epoch, both from 0.

  Positions are int64 of any shape; other positions have other images.
  """
  seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
  return permuted(position, seeds, num_examples - 1, num_examples)


def permuted(index: tf.Tensor, seeds: tf.Tensor, last: tf.Tensor | int, largest: int) -> tf.Tensor:
  """Returns what numbers from 0 to `last` become in a permutation that is nowhere stored.

  Args:
    index: int64 in [0, last], of any shape, as the result.
    seeds: int64 `[2]`; another last one, up to 2**16, gives another permutation, as does another
      first one in its last 8 bits.
    last: int64 scalar.
    largest: how many numbers are permuted, or the largest count of several permutations.
  """
  first = FIRST_SEED + tf.bitwise.right_shift(seeds[1:], BITS_TAKEN)
  all_seeds = tf.concat([first, seeds], 0)
  rounds = FEW_ROUNDS if largest <= SMALL else MANY_ROUNDS
  return tf.random_index_shuffle(index, all_seeds, tf.cast(last, tf.int64), rounds=rounds)


def batch_ids(split: Split, batch_size: int, seed: int, step: int) -> list[int]:
  """Returns which images of a split a training step took: `batch_size` numbers within it."""
  first = (step - 1) * batch_size
  if not isinstance(split.rows, Streamed):
    per_epoch = steps_per_epoch(split, batch_size) * batch_size
    epoch, start = divmod(first, per_epoch)
    positions = tf.range(start, start + batch_size, dtype=tf.int64)
    return index_at(positions, epoch, split.num_examples, seed).numpy().tolist()
  stream = _numbered_records(split, batch_size, seed, first)
  return [int(number) for _, (number, _) in stream.take(batch_size)]


def _streamed_records(
  split: Split, batch_size: int, seed: int, shard: WorkerShard
) -> tf.data.Dataset:
  """Returns `training_records` of a split whose records only stream."""
  first = shard.first_step * batch_size
  size = batch_size // shard.num_workers
  stream = _numbered_records(split, batch_size, seed, first)
  if shard.num_workers > 1:  # before anything is decoded
    stream = stream.filter(lambda position, _: position // size % shard.num_workers == shard.worker)
  return stream.map(lambda position, element: (position, element[1]))


@tf.autograph.experimental.do_not_convert
def _numbered_records(split: Split, batch_size: int, seed: int, first: int) -> tf.data.Dataset:
  """Returns (position, (number, record)) from a position on, of a split that streams."""
  shuffled = split.rows.shuffled if isinstance(split.rows, Streamed) else None
  if shuffled is None:
    raise UsageError(
      "dataset must be prepared as tfrecord or array_record, or be held in memory "
      f"(--cache_dataset), to learn from it. Received: another format for {split.name}"
    )
  per_epoch = steps_per_epoch(split, batch_size) * batch_size
  epoch, passed = divmod(first, per_epoch)

  def of_epoch(number: tf.Tensor) -> tf.data.Dataset:
    return shuffled(tf.stack([tf.constant(seed, tf.int64), number])).take(per_epoch)

  stream = tf.data.Dataset.range(epoch, LAST).flat_map(
    lambda number: tf.data.Dataset.zip(
      (tf.data.Dataset.range(number * per_epoch, LAST), of_epoch(number))
    )
  )
  return _passing_over(stream, first, passed) if passed else stream


def _passing_over(stream: tf.data.Dataset, first: int, passed: int) -> tf.data.Dataset:
  """Drops what comes before a position, encoded, with a progress bar."""
  logger.info("Passing over %d encoded records of the epoch at hand", passed)
  bar = progress_bar("Passing over", "records", passed)

  def update() -> np.int64:
    bar.update(min(RECORDS_BETWEEN_UPDATES, passed - bar.n))
    if bar.n >= passed:
      bar.close()
    return np.int64(bar.n)

  def is_due(position: tf.Tensor, _: tuple) -> tf.Tensor:
    left = first - position
    with tf.control_dependencies(
      [
        tf.cond(
          (left > 0) & (left % RECORDS_BETWEEN_UPDATES == 1),
          lambda: tf.numpy_function(update, [], tf.int64),
          lambda: tf.constant(0, tf.int64),
        )
      ]
    ):
      return left <= 0

  return stream.filter(is_due)
