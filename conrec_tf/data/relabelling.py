"""Labels of a dataset in the numbers of a network that knows them by other numbers."""

from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from conrec_tf.data.dataset import DatasetSource, Record, Split
from conrec_tf.errors import UsageError, listed


def with_class_names(source: DatasetSource, class_names: Sequence[str]) -> DatasetSource:
  """Returns a dataset whose labels, or classes of masks, are numbered as a network's.

  Args:
    source: the dataset; its labels are matched by their names.
    class_names: the network's, in its order; those that the dataset lacks stay without images.

  Raises:
    UsageError: the dataset has labels that the network doesn't know.
  """
  if source.class_names == tuple(class_names):
    return source
  unknown = [name for name in source.class_names if name not in class_names]
  if unknown or not source.class_names:
    raise UsageError(
      f"dataset must have labels that the network knows, {listed(class_names)}. "
      f"Received: {listed(unknown) or 'none'} in {source.name}"
    )
  numbers = np.array([class_names.index(name) for name in source.class_names], np.int64)
  renumbered = np.arange(256, dtype=np.uint8)  # what is no class, and doesn't count, stays
  renumbered[: len(numbers)] = numbers
  decode_mask = source.decode_mask
  return dataclasses.replace(
    source,
    class_names=tuple(class_names),
    train=_renumbered(source.train, numbers),
    eval=_renumbered(source.eval, numbers),
    decode_mask=decode_mask
    and (lambda encoded: tf.gather(renumbered, tf.cast(decode_mask(encoded), tf.int32))),
  )


def _renumbered(split: Split, numbers: np.ndarray) -> Split:
  """Returns a split whose records have other label numbers; `numbers[label]` is the new one."""
  records, lookup, shuffled = split.records, split.lookup, split.shuffled
  labels, in_order = split.labels, split.in_file_order

  def renumber(record: Record) -> Record:
    if "label" not in record:
      return record
    label = record["label"]  # -1 where an image has none
    known = tf.gather(numbers, tf.maximum(label, 0))
    return {**record, "label": tf.where(label < 0, label, known)}

  return dataclasses.replace(
    split,
    records=lambda: records().map(renumber),
    lookup=lookup and (lambda place: renumber(lookup(place))),
    shuffled=shuffled
    and (lambda seed: shuffled(seed).map(lambda place, record: (place, renumber(record)))),
    labels=labels and (lambda: np.where(labels() < 0, labels(), numbers[labels()])),
    in_file_order=in_order and (lambda: in_order().map(renumber)),
  )
