"""Splits: of which images by an expression, in folds, and whether two of them are apart.

Expressions are those of TensorFlow Datasets, e.g. `train[:10%]+validation`.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
import logging
import re
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from conrec_tf.config import Data
from conrec_tf.data.dataset import Columns, DatasetSource, Split
from conrec_tf.data.files.groups import check_folds, group_folds
from conrec_tf.data.files.labels import multi_hot
from conrec_tf.data.records import InMemory
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

# What follows the name of a split: perhaps a slice, then another split or the end.
SLICE_AND_PLUS = re.compile(r"(?P<slice>\[[^\[\]]*\])?(?:(?P<plus>\s*\+\s*)|$)")
SEED = 0  # of folds


class Part(NamedTuple):
  """A range of the images of a stored split."""

  split: str
  start: int
  stop: int


def listed_split(
  flag: str,
  expression: str,
  rows: Mapping[str, np.ndarray],
  columns: Columns,
  index_of: Mapping[str, np.ndarray],
) -> Split:
  """Makes a split of images that lie in memory, or whose files do.

  For each bad image the next good one of its part, `train[:50%]` say, stands in.

  Args:
    flag: the flag that `expression` comes from, for messages.
    expression: as TFDS writes them: names, sums and slices.
    rows: `{image, label}` of all images, arrays of one length; without label where there is none.
    columns: what else is known of all images.
    index_of: `{stored split: int [n]}`, the index of its images.

  Raises:
    UsageError: the expression names no such split, or selects nothing.
  """
  names = [name for name, index in index_of.items() if len(index)]
  # TFDS knows names of letters, digits, _ and - alone; a folder may be called anything.
  infos = tfds.core.splits.SplitDict(
    [
      tfds.core.SplitInfo(name=f"split-{at}", shard_lengths=[len(index_of[name])], num_bytes=0)
      for at, name in enumerate(names)
    ]
  )
  readings = _readings(expression, names)
  if not readings:
    raise wrong_split(flag, expression, names)
  if len(readings) > 1:
    raise UsageError(
      f"{flag} must have one meaning, with splits named {', '.join(sorted(names))}. "
      f"Received: {expression}"
    )
  try:
    parts = _parts("+".join(f"split-{at}{part}" for at, part in readings[0]), infos)
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, names) from error
  named = {f"split-{at}": index_of[name] for at, name in enumerate(names)}
  index = np.concatenate(
    [_with_stand_ins(named[part.split][part.start : part.stop], columns.shapes) for part in parts]
  )
  if not len(index):
    raise empty_split(flag, expression)
  chosen = InMemory({name: values[index] for name, values in rows.items()})
  return Split(expression, chosen, **vars(columns.at(index)))


def _with_stand_ins(index: np.ndarray, shapes: np.ndarray | None) -> np.ndarray:
  """Replaces each bad image of an index by its next good one; after the last comes the first.

  It is empty where all are bad. Shapes are `Columns.shapes`.
  """
  if shapes is None:
    return index
  good = index[shapes[index, 2] > 0]
  return good[np.searchsorted(good, index) % len(good)] if len(good) else good


def _readings(expression: str, names: Sequence[str]) -> list[list[tuple[int, str]]]:
  """Returns what an expression may mean: each a sum of splits, by their index, and their slices.

  Names may have blanks, brackets and plus signs in them. An expression that is a name is that
  split, `all` is each of them, and what has no meaning has no readings.
  """
  expression = expression.strip()
  if expression in names:
    return [[(names.index(expression), "")]]
  meant = {"all": list(range(len(names)))} | {name: [at] for at, name in enumerate(names) if name}

  def of_rest(start: int) -> list[list[tuple[int, str]]]:
    found = []
    for name, splits in meant.items():
      after = SLICE_AND_PLUS.match(expression, start + len(name))
      if not after or not expression.startswith(name, start):
        continue
      if after["slice"] and len(splits) > 1:
        continue
      rest = of_rest(after.end()) if after["plus"] else [[]]
      found += [[*((at, after["slice"] or "") for at in splits), *parts] for parts in rest]
    return found

  return of_rest(0)


def stored_parts(flag: str, expression: str, infos: tfds.core.splits.SplitDict) -> list[Part]:
  """Returns the ranges of stored splits that an expression names, in its order.

  Raises:
    UsageError: it names none; `flag` is where it comes from.
  """
  try:
    return _parts(expression, infos)
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, infos) from error


def _parts(expression: str, infos: tfds.core.splits.SplitDict) -> list[Part]:
  found = tfds.core.ReadInstruction.from_spec(expression).to_absolute(infos)
  parts = [
    Part(
      part.splitname, *slice(part.from_, part.to).indices(infos[part.splitname].num_examples)[:2]
    )
    for part in found
  ]
  if any(part.stop < part.start for part in parts):  # of which TFDS reads anything
    raise ValueError("a slice that ends before it starts")
  return parts


def stored_numbers(parts: Iterable[Part], infos: tfds.core.splits.SplitDict) -> np.ndarray:
  """Returns what numbers images have among those of all stored splits, int64 `[N]`."""
  starts = stored_starts(infos)
  return np.concatenate(
    [np.arange(part.start, part.stop, dtype=np.int64) + starts[part.split] for part in parts]
  )


def stored_starts(infos: tfds.core.splits.SplitDict) -> dict[str, int]:
  """Returns the number of the first image of each stored split among those of all."""
  names = sorted(infos)
  ends = itertools.accumulate((infos[name].num_examples for name in names), initial=0)
  return dict(zip(names, ends, strict=False))  # after the last one nothing begins


def wrong_split(flag: str, expression: str, names: Iterable[str]) -> UsageError:
  """Returns the `UsageError` for a split that isn't there."""
  return UsageError(
    f"{flag} must be made of {', '.join(sorted(names))}, e.g. train[:10%] or "
    f"train+test. Received: {expression}"
  )


def empty_split(flag: str, expression: str) -> UsageError:
  """Returns the `UsageError` for a split without images."""
  return UsageError(f"{flag} must hold images. Received: {expression}, which is empty")


def with_fold_held_out(source: DatasetSource, number: int, count: int) -> DatasetSource:
  """Returns a dataset whose network is measured on a fold of its train split, and learns the rest.

  Bad images, for which others stand in, and those without a label are in no fold. The number of the
  fold that is held out counts from 0.

  Raises:
    UsageError: there are more folds than images or groups, or one label alone would be learnt.
  """
  whole = source.train.without_stand_ins.labelled
  if whole.labels is None:
    raise UsageError(f"dataset must have labels for cv_folds. Received: {source.name} without")
  labels = whole.labels()
  folds = stratified_folds(labels, whole.groups, count)
  for fold in range(count):
    if len(np.unique(labels[folds != fold])) < 2:
      raise UsageError(
        "train_split must have two labels in all but any fold, for cv_folds. "
        f"Received: one without fold {fold} of {count}"
      )
  return dataclasses.replace(
    source,
    train=whole.part(np.flatnonzero(folds != number), f"{whole.name} but for fold {number}"),
    eval=whole.part(np.flatnonzero(folds == number), f"fold {number} of {whole.name}"),
  )


def stratified_folds(labels: np.ndarray, groups: np.ndarray | None, count: int) -> np.ndarray:
  """Returns the fold of each image, int `[N]`: random ones, with shares of labels as in the whole.

  Groups, object `[N]` or None, are in one fold each. Of several labels an image, `[N, L]`, shares
  are as chance makes them.

  Raises:
    UsageError: there are more folds than images, or than groups.
  """
  if groups is not None:
    return group_folds(labels, groups, count, SEED)
  check_folds(count, len(labels), "the labelled images")
  shuffled = np.random.default_rng(SEED).permutation(len(labels))
  by_label = shuffled
  if labels.ndim == 1:  # of several labels any shares
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
  folds = np.empty(len(labels), int)
  folds[by_label] = np.arange(len(labels)) % count
  return folds


def check_splits(data: Data, source: DatasetSource, in_folds: bool) -> None:
  """Warns of images that are learnt from and measured, and of labels that a split lacks.

  Within folds of the train split neither is to be said: nothing is measured on the eval split, and
  folds are apart.

  Raises:
    UsageError: images differ, but groups of them stand in both splits.
  """
  if not in_folds:
    names = "train_split", "eval_split"
    if data.eval_dataset:
      names = "eval_train_split", "eval_test_split" if data.eval_test_split else "eval_split"
    check_apart(source.train, source.eval, *names)
  for split in [source.train] if in_folds else source.splits.values():
    warn_of_missing_labels(split, source.class_names)


def check_apart(learnt: Split, measured: Split, first: str, second: str) -> None:
  """Warns of images that two splits share; the options `first` and `second` name the splits.

  Raises:
    UsageError: no image is in both, but a group is.
  """
  shared = shared_images(learnt, measured)
  groups: list[str] = []
  if learnt.groups is not None and measured.groups is not None:
    groups = sorted(set(learnt.groups) & set(measured.groups))
  if len(shared):
    name = measured.image_names[shared[0]]
    example = f"number {name}" if measured.names is None else name
    logger.warning(
      "%d of %d images of %s=%s are images of %s=%s too, e.g. %s%s: numbers that are measured on "
      "them say little of other images",
      len(shared),
      measured.num_examples,
      second,
      measured.name,
      first,
      learnt.name,
      example,
      f" ({len(groups)} groups are in both)" if groups else "",
    )
  elif groups:
    raise UsageError(
      f"{first} and {second} must have no group in common, learnt from and measured. "
      f"Received: {len(groups)} in both of {learnt.name} and {measured.name}, e.g. {groups[0]}"
    )


def shared_images(learnt: Split, measured: Split) -> np.ndarray:
  """Returns the index in `measured` of images that `learnt` holds too, int `[n]`, in its order.

  Copies count where the contents of both are known; where records stream, numbers of the stored
  records, which are in the order of the files.
  """
  if learnt.content is not None and measured.content is not None:
    known = set(map(bytes, learnt.content))
    return np.flatnonzero([bytes(digest) in known for digest in measured.content])
  if learnt.stored is not None and measured.stored is not None:
    return np.flatnonzero(np.isin(measured.stored, learnt.stored))
  return np.zeros(0, int)


def warn_of_missing_labels(split: Split, class_names: Sequence[str]) -> None:
  """Warns of labels that no image of a split has."""
  if split.labels is None or not class_names:
    return
  there = multi_hot(split.labels(), len(class_names)).any(axis=0)
  if missing := [name for name, known in zip(class_names, there, strict=True) if not known]:
    logger.warning(
      "%s has no images of %d of %d labels: %s",
      split.name,
      len(missing),
      len(class_names),
      listed(missing),
    )
