"""Records of a prepared TFDS dataset, encoded: held in memory, reached by number, or streamed."""

from collections.abc import Callable
import contextlib
import functools
import hashlib
import logging
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.data.dataset import Split
from conrec_tf.data.files.scan import cache_folder
from conrec_tf.data.images.bad_image import reason
from conrec_tf.data.records import InMemory, Numbered, Record, Records, Streamed, content_digests
from conrec_tf.data.sources import tfds_files
from conrec_tf.data.sources.tfds_files import FileFormat
from conrec_tf.data.splits import empty_split, stored_numbers, stored_parts, stored_starts
from conrec_tf.data.stream import permuted
from conrec_tf.errors import UsageError
from conrec_tf.files import replacing
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

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
    expression: as TFDS writes them.
    keys: names of the features by those of a `Record`.
    cache: whether to hold the split in memory whatever its size.
    num_labels: how many there are where an image has a sequence of them, which become 0 or 1 of
      each; else 0.

  Raises:
    UsageError: there is no such split, it is empty, or its files are missing or damaged.
  """
  infos = builder.info.splits
  parts = stored_parts(flag, expression, infos)
  num_examples = sum(part.stop - part.start for part in parts)
  if not num_examples:
    raise empty_split(flag, expression)
  tfds_files.check_files(builder, expression)
  numbers = stored_numbers(parts, infos)
  record_bytes = sum(info.num_bytes for info in infos.values()) / max(
    1, sum(info.num_examples for info in infos.values())
  )
  wanted = tfds.decode.PartialDecoding(
    {key: True for key in keys.values()},
    decoders={keys[name]: tfds.decode.SkipDecoding() for name in ("image", "mask") if name in keys},
  )

  def label_of(record: Record) -> tf.Tensor:
    label = record[keys["label"]]
    if not num_labels:
      return label
    one_hot = tf.one_hot(label, num_labels, on_value=True, off_value=False)
    return tf.cast(tf.reduce_any(one_hot, axis=0), tf.int64)

  def named(record: Record) -> Record:
    labels = {"label": label_of(record)} if "label" in keys else {}
    return {name: record[key] for name, key in keys.items() if name != "label"} | labels

  def fault() -> str:
    return tfds_files.fault(builder, expression)

  rows: Records
  identified: Callable[[], tf.data.Dataset]  # records, with what says where each is stored
  file_format = builder.info.file_format
  if file_format == FileFormat.ARRAY_RECORD:  # which TFDS reads by number alone
    rows = identified = Numbered(num_examples, _lookup(builder, expression, wanted, named))
  else:
    files = _Files(builder, expression, wanted)
    block_size = max(1, int(BYTES_IN_MEMORY / (record_bytes + 1)))

    @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
    def records(with_ids: bool = False) -> tf.data.Dataset:
      stored = builder.as_dataset(
        split=expression,
        shuffle_files=False,
        decoders=wanted,
        read_config=tfds.ReadConfig(try_autocache=False, add_tfds_id=with_ids),
      )
      ids = ("tfds_id",) if with_ids else ()
      return stored.map(lambda record: named(record) | {key: record[key] for key in ids})

    @tf.autograph.experimental.do_not_convert
    def in_file_order() -> tf.data.Dataset:
      return files.in_order().map(named)

    shuffled = functools.partial(_shuffled, files, named, block_size)
    in_files = (shuffled, in_file_order) if file_format == FileFormat.TFRECORD else ()
    rows, identified = Streamed(num_examples, records, *in_files), lambda: records(with_ids=True)
  size = num_examples * record_bytes
  if cache:
    logger.info("Keeping %s in memory: %.0f MB", expression, size / 1e6)
  if cache or size <= BYTES_IN_MEMORY:
    try:
      stored = list(identified().as_numpy_iterator())
      return _in_memory(expression, stored, _numbers_of_rows(builder, stored, numbers))
    except Exception as error:  # TensorFlow's or array_record's
      raise tfds_files.damaged(builder, fault() or f"{expression} ({reason(error)})") from error
  labels = None
  if "label" in keys:
    labels = functools.cache(lambda: _labels(builder, expression, keys["label"], label_of))
  return Split(
    expression,
    rows,
    labels=labels,
    stored=numbers,
    origin=_origin(builder, expression, keys),
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
  named: Callable[[Record], Any],
) -> Callable[[tf.Tensor], Any]:
  """Returns the lookup of records in array_record files, which are reached by number."""
  source = builder.as_data_source(split=expression).data_source
  features = wanted.extract_features(builder.info.features)

  def lookup(number: tf.Tensor) -> dict[str, tf.Tensor]:
    record = tf.numpy_function(lambda number: source[int(number)], [number], tf.string)
    example = features.deserialize_example(tf.ensure_shape(record, []), decoders=wanted.decoders)
    return named(example)

  return lookup


def _in_memory(name: str, stored: list[dict[str, Any]], numbers: np.ndarray) -> Split:
  """Returns a split of encoded records that are held in memory; numbers are `Columns.stored`."""
  columns = {
    key: np.array([record[key] for record in stored], kind)
    for key, kind in (("image", object), ("mask", object), ("label", np.int64))
    if key in stored[0]
  }
  content, masks = (
    content_digests(columns[key]) if key in columns else None for key in ("image", "mask")
  )
  labels = (lambda: columns["label"]) if "label" in columns else None
  return Split(name, InMemory(columns), labels=labels, stored=numbers, content=content, masks=masks)


def _numbers_of_rows(
  builder: tfds.core.DatasetBuilder, stored: list[dict[str, Any]], numbers: np.ndarray
) -> np.ndarray:
  """Returns `Columns.stored` in the order of the records, which TFDS takes from its files by turns.

  Args:
    stored: the records; `tfds_id` of each says its file and place, where they aren't in the order
      of the files.
    numbers: theirs in the order of the files.
  """
  if "tfds_id" not in stored[0]:
    return numbers
  infos, starts = builder.info.splits, dict[str, int]()
  for name, number in stored_starts(infos).items():
    for part in infos[name].file_instructions if infos[name].num_examples else ():
      starts[os.path.basename(part.filename)] = number
      number += part.examples_in_shard
  places = (record["tfds_id"].decode().rpartition("__") for record in stored)
  return np.array([starts[file] + int(place) for file, _, place in places], np.int64)


class _Files:
  """Encoded records of a split in tfrecord files, in the order of the files."""

  def __init__(
    self,
    builder: tfds.core.DatasetBuilder,
    expression: str,
    wanted: tfds.decode.PartialDecoding,
  ) -> None:
    self.instructions = builder.info.splits[expression].file_instructions
    self._wanted, self._features = wanted, wanted.extract_features(builder.info.features)

  def records(self, file: tf.Tensor) -> tf.data.Dataset:
    """Returns (number, serialized record) of a file by its number."""
    names = tf.constant([instruction.filename for instruction in self.instructions])
    skips, takes = (
      tf.constant([getattr(instruction, name) for instruction in self.instructions], tf.int64)
      for name in ("skip", "take")
    )
    records = tf.data.TFRecordDataset(names[file]).skip(skips[file]).take(takes[file])
    # A file that ends early fails, and isn't taken for a shorter one.
    whole = records.apply(tf.data.experimental.assert_cardinality(takes[file]))
    return whole.enumerate(tf.cumsum(takes, exclusive=True)[file])

  def parsed(self, record: tf.Tensor) -> Record:
    """Returns the features of a serialized record."""
    return self._features.deserialize_example(record, decoders=self._wanted.decoders)

  @tf.autograph.experimental.do_not_convert
  def in_order(self) -> tf.data.Dataset:
    """Returns all records, one file after the other."""
    files = tf.data.Dataset.range(len(self.instructions))
    return files.flat_map(self.records).map(lambda _, record: self.parsed(record))


@tf.autograph.experimental.do_not_convert
def _shuffled(
  files: _Files, named: Callable[[Record], Record], block_size: int, seed: tf.Tensor
) -> tf.data.Dataset:
  """Returns `Streamed.shuffled` of a seed, of records that only stream from tfrecord files.

  The files come in random order, `FILES_AT_ONCE` of them at a time; then consecutive blocks of
  records are shuffled. Both follow from the seed, int64 `[2]`, alone, and nothing else is kept.
  """
  count = len(files.instructions)
  order = tf.data.Dataset.range(count).map(lambda file: permuted(file, seed, count - 1, count))
  records = order.interleave(files.records, cycle_length=min(FILES_AT_ONCE, count), block_length=1)
  blocks = records.batch(block_size).enumerate()
  return blocks.flat_map(lambda number, block: shuffle_block(block, seed, number, block_size)).map(
    lambda number, record: (number, named(files.parsed(record))),
    tf.data.AUTOTUNE,
    deterministic=True,
  )


@tf.autograph.experimental.do_not_convert
def _labels(
  builder: tfds.core.DatasetBuilder,
  expression: str,
  key: str,
  label_of: Callable[[Record], tf.Tensor],
) -> np.ndarray:
  """Reads the labels of a split that isn't in memory, int64, in the order of its files.

  That takes a pass over the files, once: labels are kept; see `scan.cache_folder`. `label_of` makes
  one of a record that has nothing else.
  """
  info = builder.info.splits[expression]
  known = hashlib.sha256(f"{builder.info.full_name} {key}".encode())
  for part in info.file_instructions:
    stat = tf.io.gfile.stat(part.filename)
    known.update(f"{part.filename} {part.skip} {part.take} {stat.length}".encode())
    known.update(str(stat.mtime_nsec).encode())
  cache = cache_folder() / f"labels-{known.hexdigest()[:32]}.npy"
  with contextlib.suppress(OSError, ValueError, EOFError):
    kept = np.load(cache, allow_pickle=False)
    if len(kept) == info.num_examples:
      return kept
  wanted = tfds.decode.PartialDecoding({key: True})
  if builder.info.file_format == FileFormat.ARRAY_RECORD:
    numbers = tf.data.Dataset.range(info.num_examples)
    records = numbers.map(_lookup(builder, expression, wanted, label_of))
  elif builder.info.file_format == FileFormat.TFRECORD:
    records = _Files(builder, expression, wanted).in_order().map(label_of)
  else:
    stored = builder.as_dataset(split=expression, shuffle_files=False, decoders=wanted)
    records = stored.map(label_of)
  values = records.as_numpy_iterator()
  bar = progress_bar(f"Reading labels of {expression}", "labels", info.num_examples, values)
  labels = np.array(list(bar), np.int64)
  with contextlib.suppress(OSError, UsageError):
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as temporary, temporary.open("wb") as file:
      np.save(file, labels)
  return labels


def shuffle_block(
  block: tuple[tf.Tensor, ...], seed: tf.Tensor, number: tf.Tensor, block_size: int
) -> tf.data.Dataset:
  """Returns the rows of some tensors, at most `block_size`, by a seed and a number."""
  size = tf.shape(block[0], tf.int64)[0]
  block_seed = tf.random.experimental.stateless_fold_in(seed, number)
  order = permuted(tf.range(size), block_seed, size - 1, block_size)
  return tf.data.Dataset.from_tensor_slices(tuple(tf.gather(column, order) for column in block))
