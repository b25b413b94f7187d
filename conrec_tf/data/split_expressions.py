"""Split expressions, as TensorFlow Datasets writes them, e.g. `train[:10%]+validation`."""

from collections.abc import Iterable, Sequence
import re
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from conrec_tf.data.dataset import Split, split_in_memory
from conrec_tf.errors import UsageError

# What follows the name of a split: perhaps a slice, then another split or the end.
SLICE_AND_PLUS = re.compile(r"(?P<slice>\[[^\[\]]*\])?(?:(?P<plus>\s*\+\s*)|$)")


class Part(NamedTuple):
  """A range of the images of a stored split."""

  split: str
  start: int
  stop: int


def listed_split(
  flag: str,
  expression: str,
  images: dict[str, np.ndarray],
  labels: dict[str, np.ndarray] | None,
  shapes: dict[str, np.ndarray],
  names: dict[str, np.ndarray] | None = None,
  groups: dict[str, np.ndarray] | None = None,
  stored: dict[str, np.ndarray] | None = None,
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
    stored: `{name: int array [n]}` of the images' numbers among all, or None: as they are listed.
    content: `{name: uint8 array [n, 32]}` of the images' digests, or None.

  Raises:
    UsageError: the expression names no such split, or selects nothing.
  """
  counts = {name: len(stored) for name, stored in images.items() if len(stored)}
  # TFDS knows names of letters, digits, _ and - alone; a folder may be called anything.
  names_by_place = {f"split-{place}": name for place, name in enumerate(counts)}
  infos = tfds.core.splits.SplitDict(
    [
      tfds.core.SplitInfo(name=place, shard_lengths=[counts[name]], num_bytes=0)
      for place, name in names_by_place.items()
    ]
  )
  readings = _readings(expression, list(counts))
  if not readings:
    raise wrong_split(flag, expression, counts)
  if len(readings) > 1:
    raise UsageError(
      f"{flag} must have one meaning, with splits named {', '.join(sorted(counts))}. "
      f"Received: {expression}"
    )
  spec = "+".join(f"split-{place}{part}" for place, part in readings[0])
  try:
    parts = _parts(spec, infos)
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, counts) from error

  def chosen(values: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(
      [values[names_by_place[part.split]][part.start : part.stop] for part in parts]
    )

  columns = {"image": chosen(images)} | ({} if labels is None else {"label": chosen(labels)})
  if not len(columns["image"]):
    raise empty_split(flag, expression)
  known_names, known_groups, digests = (
    None if values is None else chosen(values) for values in (names, groups, content)
  )
  numbers = stored_numbers(parts, infos) if stored is None else chosen(stored)
  return split_in_memory(
    expression, columns, chosen(shapes), known_names, known_groups, numbers, digests
  )


def _readings(expression: str, names: Sequence[str]) -> list[list[tuple[int, str]]]:
  """Returns what an expression may mean: each a sum of splits, by their places, and their slices.

  Names may have blanks, brackets and plus signs in them. An expression that is a name is that
  split, `all` is each of them, and what has no meaning has no readings.
  """
  expression = expression.strip()
  if expression in names:
    return [[(names.index(expression), "")]]
  meant = {"all": list(range(len(names)))} | {name: [at] for at, name in enumerate(names) if name}

  def of_rest(start: int) -> list[list[tuple[int, str]]]:
    found = []
    for name, places in meant.items():
      after = SLICE_AND_PLUS.match(expression, start + len(name))
      if not after or not expression.startswith(name, start):
        continue
      if after["slice"] and len(places) > 1:
        continue
      rest = of_rest(after.end()) if after["plus"] else [[]]
      found += [[*((place, after["slice"] or "") for place in places), *parts] for parts in rest]
    return found

  return of_rest(0)


def stored_parts(flag: str, expression: str, infos: tfds.core.splits.SplitDict) -> list[Part]:
  """Returns the ranges of stored splits that an expression names, in its order.

  Args:
    flag: the flag that `expression` comes from, for messages.
    expression: as TFDS writes them.
    infos: of the stored splits.

  Raises:
    UsageError: it names none.
  """
  try:
    return _parts(expression, infos)
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, infos) from error


def _parts(expression: str, infos: tfds.core.splits.SplitDict) -> list[Part]:
  found = tfds.core.ReadInstruction.from_spec(expression).to_absolute(infos)
  return [
    Part(
      part.splitname, *slice(part.from_, part.to).indices(infos[part.splitname].num_examples)[:2]
    )
    for part in found
  ]


def stored_numbers(parts: Iterable[Part], infos: tfds.core.splits.SplitDict) -> np.ndarray:
  """Returns what numbers images have among those of all stored splits, int64 `[N]`."""
  names = sorted(infos)
  ends = np.cumsum([infos[name].num_examples for name in names])
  starts = {name: end - infos[name].num_examples for name, end in zip(names, ends, strict=True)}
  return np.concatenate(
    [np.arange(part.start, part.stop, dtype=np.int64) + starts[part.split] for part in parts]
  )


def wrong_split(flag: str, expression: str, names: Iterable[str]) -> UsageError:
  """Returns the `UsageError` for a split that isn't there."""
  return UsageError(
    f"{flag} must be made of {', '.join(sorted(names))}, e.g. train[:10%] or "
    f"train+test. Received: {expression}"
  )


def empty_split(flag: str, expression: str) -> UsageError:
  """Returns the `UsageError` for a split without images."""
  return UsageError(f"{flag} must hold images. Received: {expression}, which is empty")
