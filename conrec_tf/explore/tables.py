"""What is found out about embedded images as tables: CSV, and Parquet with the embeddings."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from conrec_tf.explore.findings import Findings
from conrec_tf.files import io_as_usage_error, replacing

OUTLIERS = 0.01  # share of images that are listed
LEAST_OUTLIERS = 20


@dataclasses.dataclass(frozen=True)
class Images:
  """What is known of N images beside their vectors.

  Attributes:
    names: of their files, or their numbers in the split.
    splits: name of the split of each.
    words: the label of each in words, empty without one.
    class_names: the classes in their order, which `words` are of where each image has one label.
  """

  names: Sequence[str]
  splits: Sequence[str]
  words: Sequence[str]
  class_names: Sequence[str]

  def row(self, image: int) -> tuple[str, str, str]:
    """Returns name, split and label of an image."""
    return self.names[image], self.splits[image], self.words[image]


def outliers(found: Findings) -> np.ndarray:
  """Returns the images that are listed as outliers: one in a hundred, and at least twenty.

  The farthest from others comes first.
  """
  count = max(LEAST_OUTLIERS, round(OUTLIERS * len(found.isolated)))
  return np.argsort(-found.isolated, kind="stable")[:count]


def rounded(value: float) -> float | None:
  """Returns a number of four digits, as JSON and CSV have it; None for NaN."""
  return None if np.isnan(value) else float(f"{value:.4g}")


def tables(images: Images, found: Findings) -> dict[str, list[tuple[Any, ...]]]:
  """Returns the rows of the CSV files, with their heads, by name."""
  image = ("image", "split", "label")
  made: dict[str, list[tuple[Any, ...]]] = {
    "images": [
      (*image, "x", "y", "cluster", "isolation"),
      *(
        (*images.row(at), *map(rounded, place), int(group), rounded(far))
        for at, (place, group, far) in enumerate(
          zip(found.map.places, found.clusters.label, found.isolated, strict=True)
        )
      ),
    ],
    "outliers": [
      (*image, "isolation"),
      *((*images.row(at), rounded(found.isolated[at])) for at in outliers(found)),
    ],
    "duplicates": [
      ("image", "split", "other_image", "other_split", "distance", "by_embedding", "bits"),
      *(
        (
          *images.row(pair.first)[:2],
          *images.row(pair.second)[:2],
          rounded(pair.distance),
          int(pair.is_near),
          "" if pair.bits < 0 else pair.bits,
        )
        for pair in found.pairs
      ),
    ],
    "label_next": [
      (*image, "stands_for"),
      *((*images.row(at), int(size) or "") for at, size in zip(*found.next, strict=True)),
    ],
  }
  if found.suspects:
    made["label_errors"] = [
      (*image, "suggested", "score"),
      *(
        (*images.row(at), images.class_names[label], rounded(score))
        for at, label, score in zip(*found.suspects, strict=True)
      ),
    ]
  return made


def write_parquet(
  path: pathlib.Path, embeddings: pathlib.Path, kept: np.ndarray, found: Findings
) -> None:
  """Writes what `--mode=embed` wrote as Parquet with `x`, `y`, `cluster` and `isolation` beside it.

  Args:
    path: of the file.
    embeddings: the file that `--mode=embed` wrote, of M images.
    kept: bool `[M]`, which of them were looked at.
    found: what was found out about those.

  Raises:
    UsageError: the file can't be written.
  """
  import pyarrow as pa
  from pyarrow import parquet

  columns = {
    "x": found.map.places[:, 0],
    "y": found.map.places[:, 1],
    "cluster": found.clusters.label,
    "isolation": found.isolated,
  }
  read = done = 0
  with parquet.ParquetFile(embeddings) as file, replacing(path) as temporary:
    schema = file.schema_arrow
    for name, values in columns.items():
      schema = schema.append(pa.field(name, pa.from_numpy_dtype(values.dtype)))
    with io_as_usage_error(path.parent), parquet.ParquetWriter(temporary, schema) as writer:
      for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        is_kept = kept[read : read + len(table)]
        read += len(table)
        table = table.filter(pa.array(is_kept))
        for name, values in columns.items():
          table = table.append_column(name, pa.array(values[done : done + len(table)]))
        done += len(table)
        writer.write_table(table)
