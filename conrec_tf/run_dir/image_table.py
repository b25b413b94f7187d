"""Tables of embedded images: labels, predictions, and in Parquet the embeddings themselves."""

from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
from typing import Any

import numpy as np

from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.labels import label_words
from conrec_tf.evaluation.label_kinds import MultiLabel
from conrec_tf.files import io_as_usage_error, replacing
from conrec_tf.run_dir.classifier_file import KeptClassifier
from conrec_tf.run_dir.embedding_files import UNKNOWN, Archive
from conrec_tf.run_dir.predictions_file import PROBABILITY

PARQUET = "embeddings.parquet"
HAS = 0.5  # the probability above which an image is said to have one of several labels

Columns = dict[str, np.ndarray]  # of one length
# Of columns, see `image_columns`, of embeddings float32 [n, F], and of the folder that `image` is a
# path below, or nothing; `filepath` is null of what is no file there.
AddRows = Callable[[Columns, np.ndarray, str], None]


def image_columns(
  source: DatasetSource,
  split: Split,
  archive: Archive,
  kept: KeptClassifier | None,
  standardise: bool = True,
) -> Columns:
  """Returns what is known of the images of an archive, arrays `[n]` by the column's name.

  Args:
    kept: what classifies them, or None.
    standardise: whether to take the classifier of standardised embeddings, where there are two.

  Returns:
    `image` and `split`, and where there are labels `class_name`, empty of images without one. With
    a classifier `predicted_class_name` and `probability`, or of several labels an image the names
    of those above 0.5 and the probability of each; and where it is known what was learnt from,
    `distance`, to the nearest of those images, `nearest_image`, and `unlike`, 1 where that is
    further than they lie from each other.
  """
  names = split.image_names[archive.images]
  found: Columns = {
    "image": np.array([str(name) for name in names], object),
    "split": np.full(len(names), split.name, object),
  }
  labels = archive.arrays.get("label")
  if labels is not None:
    words = [
      label_words(label, source.class_names) if np.any(label != UNKNOWN) else "" for label in labels
    ]
    found["class_name"] = np.array(words, object)
  return found | (_predicted(kept, standardise, archive.arrays["embedding"]) if kept else {})


def _predicted(kept: KeptClassifier, standardise: bool, embeddings: np.ndarray) -> Columns:
  """Returns the columns of what is predicted from embeddings float `[n, F]`."""
  kind, outputs = kept.labels, kept.reading(standardise).probabilities(embeddings)
  predicted, confidence = kind.predicted(outputs), kind.confidence(outputs)
  if isinstance(kind, MultiLabel):
    predicted = (outputs > HAS).astype(int)
  words = [label_words(each, kept.class_names) for each in predicted]
  found: Columns = {"predicted_class_name": np.array(words, object)}
  if isinstance(kind, MultiLabel):
    found |= {name + PROBABILITY: confidence[:, at] for at, name in enumerate(kept.class_names)}
  else:
    found["probability"] = confidence
  if len(kept.known.names):
    distances, nearest = kept.known.nearest(embeddings)
    found |= {
      "distance": distances,
      "nearest_image": kept.known.names[nearest].astype(object),
      "unlike": (distances > kept.known.limit).astype(int),
    }
  return found


@contextlib.contextmanager
def parquet_table(folder: pathlib.Path) -> Iterator[AddRows]:
  """Yields what adds rows, a row group each time, to `embeddings.parquet` of a folder.

  That is written whole or not at all.

  Raises:
    UsageError: the folder can't be written.
  """
  import pyarrow as pa
  from pyarrow import parquet

  with (
    replacing(folder / PARQUET) as temporary,
    io_as_usage_error(folder),
    contextlib.ExitStack() as opened,
  ):
    writer: Any = None

    def add(columns: Columns, embeddings: np.ndarray, root: str) -> None:
      nonlocal writer
      paths = [os.path.join(root, str(name)) for name in columns["image"]]
      files = [path if root and os.path.exists(path) else None for path in paths]
      arrays: dict[str, Any] = {"filepath": pa.array(files, pa.string())}
      for name, values in columns.items():
        is_text = values.dtype == object
        arrays[name] = pa.array(values, pa.string()) if is_text else pa.array(values)
      flat = pa.array(np.ascontiguousarray(embeddings, np.float32).ravel())
      arrays["embedding"] = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
      table = pa.table(arrays)
      if writer is None:
        writer = opened.enter_context(parquet.ParquetWriter(temporary, table.schema))
      writer.write_table(table)

    yield add
