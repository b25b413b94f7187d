"""`predictions_<step>.csv`: what a classifier said of each image of the eval split.

With several labels an image there are two columns for each of them: 0 or 1, and the probability.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import dataclasses
from typing import Any

import numpy as np

from conrec_tf.errors import UsageError, as_usage_error, listed
from conrec_tf.files import csv_text, write_text
from conrec_tf.metrics import MEASURED_ON
from conrec_tf.run_dir.run_directory import RunDirectory

FILE = ("predictions_", ".csv")  # around the step
PROBABILITY = " probability"
OTHER_COLUMNS = {"image", "group", MEASURED_ON}  # beside those of several labels
TRUE_CLASS_PROBABILITY = "true_class_probability"


@dataclasses.dataclass(frozen=True)
class ImagePredictions:
  """Predictions for the images of a split, in its order.

  Attributes:
    images: `[N]`, names, or where they have none places in the split, as texts.
    labels, predictions: int `[N]`, true and predicted; of several labels 0 or 1, `[N, L]`, and
      probabilities float `[N, L]`.
    groups: object `[N]`, names of what images belong together by, or None.
    measured_on: the digest of their `Measurement`; empty where it wasn't noted.
    true_class_probability: float `[N]`, or None where it wasn't kept, or there is no one class.
  """

  images: tuple[str, ...]
  labels: np.ndarray
  predictions: np.ndarray
  groups: np.ndarray | None = None
  measured_on: str = ""
  true_class_probability: np.ndarray | None = None


def file_name(step: int) -> str:
  """Returns the name of the file of a step."""
  return str(step).join(FILE)


def write_predictions(
  directory: RunDirectory, step: int, columns: dict[str, Sequence | np.ndarray]
) -> None:
  """Writes the file of a step: image, label, prediction and others, columns of one length."""
  write_text(directory.path / file_name(step), csv_text(csv_rows(columns)))


def csv_rows(columns: Mapping[str, Sequence | np.ndarray]) -> list[Iterable[Any]]:
  """Returns the names of columns and their rows, numbers of arrays with six digits."""
  shown = (
    [f"{value:.6g}" for value in column]
    if isinstance(column, np.ndarray) and column.dtype.kind == "f"
    else column
    for column in columns.values()
  )
  return [columns, *zip(*shown, strict=True)]


def read_predictions(directory: RunDirectory, step: int) -> ImagePredictions | None:
  """Returns the predictions of a step, or None where none were written.

  Raises:
    UsageError: the file can't be read.
  """
  path = directory.path / file_name(step)
  if not path.exists():
    return None
  expected = "must have the columns image, label and prediction, or two for each label"
  damaged = (OSError, ValueError, KeyError, TypeError, csv.Error)
  with as_usage_error(f"{path.name} {expected}", path, *damaged):
    with path.open(newline="") as file:
      reader = csv.DictReader(file)
      names = [
        name.removesuffix(PROBABILITY)
        for name in reader.fieldnames or ()
        if name.endswith(PROBABILITY)
      ]
      rows = list(reader)
    images = tuple(row["image"] for row in rows)
    measured_on = ", ".join(sorted({row.get(MEASURED_ON) or "" for row in rows}))
    has_groups = "group" in (reader.fieldnames or ()) and "group" not in names
    groups = np.array([row["group"] for row in rows], object) if has_groups else None
    if names:
      labels, probabilities = (
        np.array([[row[name + ending] for name in names] for row in rows])
        for ending in ("", PROBABILITY)
      )
      return ImagePredictions(
        images, labels.astype(int), probabilities.astype(float), groups, measured_on
      )
    labels, predictions = (
      np.array([row[column] for row in rows], int) for column in ("label", "prediction")
    )
    of_true = None
    if rows and TRUE_CLASS_PROBABILITY in rows[0]:
      of_true = np.array([row[TRUE_CLASS_PROBABILITY] for row in rows]).astype(float)
    return ImagePredictions(images, labels, predictions, groups, measured_on, of_true)


def check_label_names(names: Sequence[str]) -> None:
  """Checks that several labels an image have columns of their own.

  Raises:
    UsageError: one is called as another column is, or may be.
  """
  if clashing := [name for name in names if name in OTHER_COLUMNS or name.endswith(PROBABILITY)]:
    raise UsageError(
      f"labels must not be called {', '.join(sorted(OTHER_COLUMNS))}, or end with "
      f'"{PROBABILITY}". Received: {listed(clashing)}'
    )


def multi_label_columns(
  labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]
) -> dict[str, Sequence | np.ndarray]:
  """Returns the columns of several labels, int 0 or 1, and their probabilities, `[N, L]` both.

  Probabilities have all their digits: their order, of those near 1 too, is what methods are
  compared by.
  """
  columns: dict[str, Sequence | np.ndarray] = {}
  for place, name in enumerate(names):
    columns |= {name: labels[:, place], name + PROBABILITY: probabilities[:, place].tolist()}
  return columns
