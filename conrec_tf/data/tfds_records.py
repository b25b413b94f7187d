"""Records of a prepared TFDS dataset, encoded: held in memory, reached by number, or streamed."""

from collections.abc import Callable
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.data import tfds_files
from conrec_tf.data.bad_image import reason
from conrec_tf.data.dataset import (
  Record,
  Split,
  content_digests,
  log_cache_size,
  split_in_memory,
)
from conrec_tf.data.split_expressions import empty_split, wrong_split

BYTES_IN_MEMORY = 64 * 2**20  # encoded records of a split; larger splits stream
FILES_AT_ONCE = 16


def tfds_split(
  builder: tfds.core.DatasetBuilder,
  flag: str,
  expression: str,
  keys: dict[str, str],
  cache: bool,
  num_labels: int = 0,
) -> Split:
  """Returns a split of a prepared dataset: in memory, by number, or streamed, as its size allows.

  Args:
    builder: of the dataset.
    flag: the flag that `expression` comes from, for messages.
    expression: as TFDS writes them.
    keys: names of the features by those of a `Record`.
    cache: whether to hold the split in memory whatever its size.
    num_labels: how many there are where an image has a sequence of them, which become 0 or 1 of
      each; else 0.

  Raises:
    UsageError: there is no such split, it is empty, or its files are missing or damaged.
  """
  try:
    num_examples = builder.info.splits[expression].num_examples
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, builder.info.splits) from error
  if not num_examples:
    raise empty_split(flag, expression)
  tfds_files.check_files(builder, expression)
  stored = builder.info.splits.values()
  record_bytes = sum(s.num_bytes for s in stored) / max(1, sum(s.num_examples for s in stored))
  wanted = tfds.decode.PartialDecoding(
    {key: True for key in keys.values()},
    decoders={keys[name]: tfds.decode.SkipDecoding() for name in ("image", "mask") if name in keys},
  )

  def named(record: Record) -> Record:
    renamed = {name: record[key] for name, key in keys.items()}
    if num_labels and "label" in renamed:
      marks = tf.one_hot(renamed["label"], num_labels, on_value=True, off_value=False)
      renamed["label"] = tf.cast(tf.reduce_any(marks, axis=0), tf.int64)
    return renamed

  def fault() -> str:
    return tfds_files.fault(builder, expression)

  lookup = None
  if builder.info.file_format == tfds.core.file_adapters.FileFormat.ARRAY_RECORD:
    lookup = _lookup(builder, expression, wanted, named)

  def records() -> tf.data.Dataset:
    if lookup:  # TFDS reads such files by number alone
      return tf.data.Dataset.range(num_examples).map(lookup)
    return builder.as_dataset(
      split=expression,
      shuffle_files=False,
      decoders=wanted,
      read_config=tfds.ReadConfig(try_autocache=False),
    ).map(named)

  size = num_examples * record_bytes
  if cache:
    log_cache_size(expression, size)
  if cache or size <= BYTES_IN_MEMORY:
    try:
      return _in_memory(expression, list(records().as_numpy_iterator()))
    except Exception as error:  # TensorFlow's or array_record's
      raise tfds_files.damaged(builder, fault() or f"{expression} ({reason(error)})") from error
  origin = _origin(builder, expression, keys)
  if lookup:
    return Split(expression, num_examples, records, lookup, origin=origin, fault=fault)
  return Split(
    expression,
    num_examples,
    records,
    shuffled=_stream(
      builder, expression, wanted, named, max(1, int(BYTES_IN_MEMORY / (record_bytes + 1)))
    ),
    origin=origin,
    fault=fault,
  )


def _origin(builder: tfds.core.DatasetBuilder, expression: str, keys: dict[str, str]) -> str:
  """Returns what tells the records of a split from others: set, features, files, their ranges."""
  ranges = [
    (os.path.basename(part.filename), part.skip, part.take, tf.io.gfile.stat(part.filename).length)
    for part in builder.info.splits[expression].file_instructions
  ]
  return repr((builder.info.full_name, sorted(keys.items()), ranges))


def _lookup(
  builder: tfds.core.DatasetBuilder,
  expression: str,
  wanted: tfds.decode.PartialDecoding,
  named: Callable[[Record], Record],
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
  """Returns `Split.lookup` of records in array_record files, which are reached by number."""
  source = builder.as_data_source(split=expression).data_source
  features = wanted.extract_features(builder.info.features)

  def lookup(place: tf.Tensor) -> dict[str, tf.Tensor]:
    record = tf.numpy_function(lambda number: source[int(number)], [place], tf.string)
    example = features.deserialize_example(tf.ensure_shape(record, []), decoders=wanted.decoders)
    return named(example)

  return lookup


def _in_memory(name: str, stored: list[dict[str, Any]]) -> Split:
  """Returns a split of encoded records that are held in memory."""
  columns = {
    key: np.array([record[key] for record in stored], kind)
    for key, kind in (("image", object), ("mask", object), ("label", np.int64))
    if key in stored[0]
  }
  stored_as = [columns[key] for key in ("image", "mask") if key in columns]
  return split_in_memory(name, columns, content=content_digests(map(b"".join, zip(*stored_as))))


def _stream(
  builder: tfds.core.DatasetBuilder,
  expression: str,
  wanted: tfds.decode.PartialDecoding,
  named: Callable[[Record], Record],
  block_size: int,
) -> Callable[[tf.Tensor], tf.data.Dataset] | None:
  """Returns `Split.shuffled` of records that only stream from tfrecord files; None for others.

  The files come in random order, `FILES_AT_ONCE` of them at a time; then consecutive blocks of
  records are shuffled. Both follow from the seed alone, and nothing else is kept.

  Args:
    builder: of the dataset.
    expression: the split.
    wanted: which features to read, and which to leave encoded.
    named: gives what was read the names of a `Record`.
    block_size: records of a block.
  """
  if builder.info.file_format != tfds.core.file_adapters.FileFormat.TFRECORD:
    return None
  instructions = builder.info.splits[expression].file_instructions
  files = tf.constant([instruction.filename for instruction in instructions])
  skips, takes = (
    tf.constant([getattr(instruction, name) for instruction in instructions], tf.int64)
    for name in ("skip", "take")
  )
  starts = tf.cumsum(takes, exclusive=True)
  features = wanted.extract_features(builder.info.features)

  def read(file: tf.Tensor) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(files[file]).skip(skips[file]).take(takes[file])
    # A file that ends early fails, and isn't taken for a shorter one.
    whole = records.apply(tf.data.experimental.assert_cardinality(takes[file]))
    return whole.enumerate(starts[file])

  def shuffled(seed: tf.Tensor) -> tf.data.Dataset:
    order = tf.data.Dataset.range(len(instructions)).map(
      lambda place: tf.random.experimental.index_shuffle(place, seed, len(instructions) - 1)
    )
    records = order.interleave(
      read, cycle_length=min(FILES_AT_ONCE, len(instructions)), block_length=1
    )
    blocks = records.batch(block_size).enumerate()
    return blocks.flat_map(lambda number, block: shuffle_block(block, seed, number)).map(
      lambda place, record: (
        place,
        named(features.deserialize_example(record, decoders=wanted.decoders)),
      ),
      tf.data.AUTOTUNE,
      deterministic=True,
    )

  return shuffled


def shuffle_block(
  block: tuple[tf.Tensor, ...], seed: tf.Tensor, number: tf.Tensor
) -> tf.data.Dataset:
  """Returns the rows of some tensors, in an order that a seed and a number determine."""
  size = tf.shape(block[0], tf.int64)[0]
  block_seed = tf.random.experimental.stateless_fold_in(seed, number)
  order = tf.random.experimental.index_shuffle(tf.range(size), block_seed, size - 1)
  return tf.data.Dataset.from_tensor_slices(tuple(tf.gather(column, order) for column in block))
