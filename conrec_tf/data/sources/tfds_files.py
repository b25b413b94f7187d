"""The files of a prepared TFDS dataset: whether they hold what its description says."""

from collections.abc import Callable
import concurrent.futures
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.data.images.bad_image import reason
from conrec_tf.errors import UsageError

FileFormat = tfds.core.file_adapters.FileFormat
RECORDS_AT_ONCE = 64


def check_files(builder: tfds.core.DatasetBuilder, expression: str) -> None:
  """Looks at the files of a split, without reading all of them.

  Raises:
    UsageError: one is missing, empty, or too short for its records.
  """
  expected = _records_of(builder, expression)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    sizes = dict(zip(expected, pool.map(_size, expected), strict=True))
  lengths = dict[str, int]()
  for path, size in sizes.items():
    if isinstance(size, str):
      raise damaged(builder, f"{path} ({size})")
    lengths[path] = size
  if builder.info.file_format == FileFormat.ARRAY_RECORD:
    for path, count in expected.items():
      if what := _said(path, count, lambda path: _array_reader(path).num_records()):
        raise damaged(builder, what)
  elif builder.info.file_format == FileFormat.TFRECORD:  # others compress
    for split in builder.info.splits.values():
      files = [os.fspath(path) for path in split.filepaths]
      length = sum(lengths.get(path, 0) for path in files)
      if lengths.keys() >= set(files) and length < split.num_bytes:
        what = f"{length} of at least {int(split.num_bytes)} bytes in the files of {split.name}"
        raise damaged(builder, f"{files[0]} ({what})")


def fault(builder: tfds.core.DatasetBuilder, expression: str) -> str:
  """Reads all records of a split's files; returns `<path> (<why>)` of a damaged one, or nothing.

  Of another format than tfrecord and array_record, it looks no further than at sizes.
  """
  counting = {FileFormat.TFRECORD: _tfrecords, FileFormat.ARRAY_RECORD: _array_records}
  count_records = counting.get(builder.info.file_format)
  for path, expected in _records_of(builder, expression).items():
    size = _size(path)
    if isinstance(size, str):
      return f"{path} ({size})"
    if count_records and (what := _said(path, expected, count_records)):
      return what
  return ""


def damaged_description(folder: str) -> str:
  """Returns `<path> (<why>)` of a JSON file in a folder that can't be read, of those that describe
  prepared datasets; empty where all can be."""
  for name, key in (("dataset_info.json", "splits"), ("features.json", "pythonClassName")):
    for path in sorted(pathlib.Path(folder).rglob(name)):
      try:
        content = json.loads(path.read_text())
      except (OSError, ValueError) as error:
        return f"{path} ({reason(error)})"
      if key not in content:
        return f"{path} (without {key})"
  return ""


def damaged(builder: tfds.core.DatasetBuilder, what: str) -> UsageError:
  """Returns the error of a dataset whose files aren't what they were; `what` names one of them."""
  return UsageError(
    "dataset must have its files as they were prepared; copy or prepare them anew. "
    f"Received: {builder.info.full_name} with {what}"
  )


def _records_of(builder: tfds.core.DatasetBuilder, expression: str) -> dict[str, int]:
  """Returns how many records each file that a split lies in must hold, `{path: count}`."""
  instructions = builder.info.splits[expression].file_instructions
  return {os.fspath(each.filename): each.examples_in_shard for each in instructions}


def _size(path: str) -> int | str:
  """Returns the bytes of a file that should hold something, or what is wrong with it."""
  try:
    stat = tf.io.gfile.stat(path)
  except tf.errors.OpError as error:
    return reason(error)
  if stat.is_directory:
    return "a folder"
  return stat.length or "empty"


def _said(path: str, expected: int, count_records: Callable[[str], int]) -> str:
  """Returns `<path> (<why>)` of a file that doesn't hold the records that it should, or nothing."""
  try:
    count = count_records(path)
  except Exception as error:  # TensorFlow's, or array_record's of no common class
    return f"{path} ({reason(error)})"
  return "" if count == expected else f"{path} ({count} of {expected} records)"


def _tfrecords(path: str) -> int:
  """Counts records, whose checksums TensorFlow compares."""
  return int(tf.data.TFRecordDataset(path).reduce(np.int64(0), lambda count, _: count + 1))


def _array_reader(path: str) -> Any:
  from array_record.python.array_record_module import ArrayRecordReader

  return ArrayRecordReader(path)


def _array_records(path: str) -> int:
  """Counts records, all of which are read."""
  reader = _array_reader(path)
  count = reader.num_records()
  for start in range(0, count, RECORDS_AT_ONCE):
    reader.read(list(range(start, min(start + RECORDS_AT_ONCE, count))))
  return count
