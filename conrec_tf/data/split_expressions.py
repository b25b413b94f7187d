"""Split expressions, as TensorFlow Datasets writes them, e.g. `train[:10%]+validation`."""

from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds

from conrec_tf.config import UsageError
from conrec_tf.data.dataset import Split, split_in_memory


def listed_split(
  flag: str,
  expression: str,
  images: dict[str, np.ndarray],
  labels: dict[str, np.ndarray] | None,
  shapes: dict[str, np.ndarray],
  names: dict[str, np.ndarray] | None = None,
  groups: dict[str, np.ndarray] | None = None,
  content: dict[str, np.ndarray] | None = None,
) -> Split:
  """Makes a `Split` of data that lies in lists, one for each stored split.

  Args:
    flag: the flag that `expression` comes from, for messages.
    expression: as TFDS writes them: names, sums and slices.
    images: `{name: array}` of whatever `DatasetSource.decode` takes.
    labels: `{name: int array}`, or None without labels.
    shapes: `{name: int array [n, 4]}`.
    names: `{name: object array [n]}` of the images' names, or None.
    groups: `{name: object array [n]}` of the images' groups, or None.
    content: `{name: uint8 array [n, 32]}` of the images' digests, or None.

  Raises:
    UsageError: the expression names no such split, or selects nothing.
  """
  counts = {name: len(stored) for name, stored in images.items()}
  infos = tfds.core.splits.SplitDict(
    [
      tfds.core.SplitInfo(name=name, shard_lengths=[count], num_bytes=0)
      for name, count in counts.items()
      if count
    ]
  )
  try:
    parts = tfds.core.ReadInstruction.from_spec(expression).to_absolute(infos)
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, infos) from error

  def chosen(stored: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([stored[part.splitname][part.from_ : part.to] for part in parts])

  columns = {"image": chosen(images)} | ({} if labels is None else {"label": chosen(labels)})
  if not len(columns["image"]):
    raise empty_split(flag, expression)
  known = [None if stored is None else chosen(stored) for stored in (names, groups, content)]
  return split_in_memory(expression, columns, chosen(shapes), *known)


def wrong_split(flag: str, expression: str, names: Iterable[str]) -> UsageError:
  """Returns the `UsageError` for a split that isn't there."""
  return UsageError(
    f"{flag} must be made of {', '.join(sorted(names))}, e.g. train[:10%] or "
    f"train+test. Received: {expression}"
  )


def empty_split(flag: str, expression: str) -> UsageError:
  """Returns the `UsageError` for a split without images."""
  return UsageError(f"{flag} must hold images. Received: {expression}, which is empty")
