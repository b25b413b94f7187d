"""Names of labels: as text, in their order, as numbers."""

from collections.abc import Iterable, Sequence
import logging
import math
import os
import re
from typing import Any
import unicodedata

import numpy as np

from conrec_tf.config import Data
from conrec_tf.config.options.option import written
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

# What other data and programs write where an image has no label.
NO_LABEL_ELSEWHERE = ("-1", "-1.0", "nan", "null", "n/a")
NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d*))?")


def label_text(name: str) -> str:
  """Returns a name as text that can be compared, shown and written on one line."""
  text = os.fsencode(name).decode("utf-8", "backslashreplace")
  return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", unicodedata.normalize("NFC", text))


def value_text(value: Any) -> str | None:
  """Returns a label from JSON or a column as text, whole numbers without a point; None if none."""
  if isinstance(value, bool) or not isinstance(value, (str, int, float)):
    return None
  if isinstance(value, float):
    if not math.isfinite(value):
      return None
    value = int(value) if value.is_integer() else value
  return label_text(str(value).strip()) or None


def ordered_labels(data: Data, labels: set[str], stated: tuple[str, ...] = ()) -> tuple[str, ...]:
  """Puts labels in their order: what the user says, what the data states, or the natural one.

  Args:
    data: `label_order` and `ordinal_labels` count.
    stated: all labels in the order of the data, of which some may be unused; or none.

  Raises:
    UsageError: `label_order` must fit, and doesn't hold just these labels.
  """
  labels = set(stated) or labels
  given = data.label_order
  if given and set(given) == labels and len(given) == len(labels):
    return given
  if given and data.names_must_fit:
    raise UsageError(
      f"label_order must name each label once: {listed(sorted(labels, key=natural))}. "
      f"Received: {written(given)}"
    )
  found = stated or tuple(sorted(labels, key=natural))
  if data.ordinal_labels and not _ascend(found):
    logger.warning(
      "Grades are taken in this order: %s (--label_order sets another)", ", ".join(found)
    )
  return found


def labels_by_number(data: Data, class_names: tuple[str, ...]) -> tuple[str, ...]:
  """Returns labels that a dataset numbers, in the order that `label_order` sets, if it does.

  With an `eval_dataset` that may be of its labels alone.

  Raises:
    UsageError: see `ordered_labels`.
  """
  given = data.label_order
  if not given or not class_names or data.eval_dataset and set(given) != set(class_names):
    return class_names
  return ordered_labels(data, set(), class_names)


def _ascend(names: Sequence[str]) -> bool:
  """Returns whether names are grades in their order, as far as one can see: each has a number.

  Where they are nothing else, -1 say or 0.5, these ascend.
  """
  try:
    values = list(map(float, names))
  except ValueError:
    values = []
  return all(re.search(r"\d", name) for name in names) and values == sorted(values)


def warn_of_odd_labels(labels: Sequence[str], class_names: Sequence[str]) -> None:
  """Warns of names of labels, among those of all images, that elsewhere say that there is none."""
  for name in class_names:
    if name.casefold() in NO_LABEL_ELSEWHERE:
      logger.warning(
        "%s counts as a label like others, with %d images; leave those out if it means that they "
        "have none",
        name,
        labels.count(name),
      )


def warn_of_near_twins(what: str, names: Iterable[str]) -> None:
  """Warns of names, of labels or splits say, that differ in case, blanks or zeros alone.

  Zeros are those that don't change a number, as in 1, 01 and 1.0.
  """
  unique = sorted(set(names))
  for how, key in (
    ("differ in case or blanks alone", lambda name: "".join(name.split()).casefold()),
    ("are numbers of one value", _number),
  ):
    alike: dict[str, list[str]] = {}
    for name in unique:
      alike.setdefault(key(name), []).append(name)
    if twins := [" and ".join(map(repr, found)) for found in alike.values() if len(found) > 1]:
      logger.warning("Names of %s %s and count as different: %s", what, how, listed(twins))


def _number(name: str) -> str:
  """Returns a number without zeros that say nothing, and any other name as it is."""
  found = NUMBER.fullmatch(name)
  if not found:
    return name
  sign, whole, fraction = found.groups("")
  digits = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}"
  return f"{sign.removeprefix('+')}{digits}" if digits != "0." else digits


def natural(name: str) -> list[tuple[bool, int, str]]:
  """Returns a key for sorting: numbers within names by their value, all else by code points."""
  return [
    (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
    for part in re.split(r"(\d+)", name)
    if part
  ]


def label_numbers(labels: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
  """Returns labels as their numbers among the class names, int64 `[N]`; -1 of an empty one."""
  numbers = {"": -1} | {name: number for number, name in enumerate(class_names)}
  return np.array([numbers[label] for label in labels], np.int64)


def checked_multi_hot(labels: np.ndarray, what: str) -> np.ndarray:
  """Returns several labels of each image, int64 `[N, L]`.

  Raises:
    UsageError: there are others than 0 and 1; `what` says where they come from.
  """
  values = np.unique(labels)
  if not np.isin(values, (0, 1)).all():
    strange = [str(value) for value in values if value not in (0, 1)]
    raise UsageError(f"{what} must be 0 or 1, by label. Received: {listed(strange)}")
  return labels.astype(np.int64)


def multi_hot(labels: np.ndarray, count: int) -> np.ndarray:
  """Returns labels, int `[N]` or 0 and 1 `[N, count]`, as 0 and 1 `[N, count]`; -1 is none."""
  return labels if labels.ndim == 2 else np.eye(count + 1, count, dtype=np.int64)[labels]


def label_words(label: np.ndarray | int, class_names: Sequence[str]) -> str:
  """Returns an image's label, a number or 0 and 1 `[L]`, in words."""
  if np.ndim(label):
    found = [name for name, has in zip(class_names, np.asarray(label), strict=True) if has]
    return ", ".join(found) or "none of the labels"
  return class_names[int(label)] if label >= 0 else "no label"
