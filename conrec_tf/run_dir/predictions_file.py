"""`predictions_<step>.csv`: what a classifier said of each image of the eval split."""

from collections.abc import Sequence
import csv
import dataclasses
import io

import numpy as np

from conrec_tf.config import UsageError
from conrec_tf.run_dir.run_directory import RunDirectory, write_text


@dataclasses.dataclass(frozen=True)
class ImagePredictions:
  """Predictions for the images of a split, in its order.

  Attributes:
    images: `[N]`, names, or where they have none places in the split, as texts.
    labels, predictions: int `[N]`, true and predicted.
  """

  images: tuple[str, ...]
  labels: np.ndarray
  predictions: np.ndarray


def file_name(step: int) -> str:
  """Returns the name of the file of a step."""
  return f"predictions_{step}.csv"


def write_predictions(
  directory: RunDirectory, step: int, columns: dict[str, Sequence | np.ndarray]
) -> None:
  """Writes the file of a step.

  Args:
    directory: the run's.
    step: of the network.
    columns: image, label, prediction and others, by name; of one length.
  """
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(columns)
  shown = (
    [f"{value:.6g}" for value in column]
    if isinstance(column, np.ndarray) and column.dtype.kind == "f"
    else column
    for column in columns.values()
  )
  writer.writerows(zip(*shown, strict=True))
  write_text(directory.path / file_name(step), text.getvalue())


def read_predictions(directory: RunDirectory, step: int) -> ImagePredictions | None:
  """Returns the predictions of a step, or None where none were written.

  Raises:
    UsageError: the file can't be read.
  """
  path = directory.path / file_name(step)
  if not path.exists():
    return None
  try:
    with path.open(newline="") as file:
      rows = [(row["image"], row["label"], row["prediction"]) for row in csv.DictReader(file)]
    images, labels, predictions = zip(*rows)
    return ImagePredictions(images, np.array(labels, int), np.array(predictions, int))
  except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
    raise UsageError(
      f"{path.name} must have the columns image, label and prediction. Received: {path}"
    ) from error
