"""The files of `embeddings/`: archives of arrays, an index of images, what they are of."""

from collections.abc import Callable, Iterable, Iterator, Mapping
import csv
import dataclasses
import io
import itertools
import pathlib
from typing import Any, NamedTuple, Self
import zipfile

import numpy as np

from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.labels import label_words
from conrec_tf.errors import UsageError
from conrec_tf.files import csv_text, write_bytes, write_text
from conrec_tf.run_dir.measurement import is_described, write_description

NOTED = (
  "dataset",
  "train_split",
  "eval_split",
  "label_mode",
  "image_size",
  "image_channels",
  "ft_proj_selector",
  "representation_levels",
  "external_scaling",
  "external_output",
  "mixed_precision",
  "eval_batch_size",
)
UNKNOWN = -1  # the label of an image without one
INDEX = "index.csv"
COLUMNS = ("file", "row", "split", "image", "label", "class_name")


class Archive(NamedTuple):
  """An archive of arrays of some images of a split.

  Attributes:
    images: int `[n]`, the images' places in the split.
    arrays: `{name: array [n, ...]}`, among them `embedding`.
    is_new: whether it was made just now.
  """

  path: pathlib.Path
  images: np.ndarray
  arrays: dict[str, np.ndarray]
  is_new: bool


class Embedded(NamedTuple):
  """All that a folder of embeddings holds, in the order of its index.

  Attributes:
    vectors: float32 `[N, F]`.
    labels: int64 `[N]`, -1 where an image has none, or 0 and 1 of several labels, `[N, L]`; None
      without labels.
    rows: of the index, `{column: text}`.
  """

  vectors: np.ndarray
  labels: np.ndarray | None
  rows: list[dict[str, str]]


def complete_archives(
  folder: pathlib.Path,
  role: str,
  index: np.ndarray,
  images_per_file: int,
  batch_size: int,
  make: Callable[[np.ndarray], Iterable[dict[str, np.ndarray]]],
  takes: Callable[[int], bool] = lambda number: True,
  is_current: Callable[[], bool] = lambda: True,
) -> Iterator[Archive]:
  """Yields the archives of a split, in order; those that aren't there yet are made and written.

  Args:
    role: with which their names begin.
    index: int `[N]`, places of the images in the split, sorted.
    images_per_file: a multiple of `batch_size`.
    batch_size: images of a batch; the last one may be smaller.
    make: from the places that are left to batches of `{name: array}`, in one pass over them.
    takes: tells of an archive's number whether it is one of those that are wanted.
    is_current: tells whether the folder is still of these images.

  Raises:
    UsageError: it isn't, as another command has begun in it meanwhile, or it can't be written.
  """
  wanted = [
    (path, index[number * images_per_file :][:images_per_file])
    for number, path in enumerate(archive_paths(folder, role, len(index), images_per_file))
    if takes(number)
  ]
  known = {path for path, images in wanted if read_arrays(path, len(images)) is not None}
  left = [images for path, images in wanted if path not in known]
  batches = iter(make(np.concatenate(left)) if left else ())
  for path, images in wanted:
    arrays = read_arrays(path, len(images)) if path in known else None
    if is_new := arrays is None:
      if path not in known:  # else it is gone, and there are no batches for it
        of_file = list(itertools.islice(batches, -(-len(images) // batch_size)))
        arrays = {name: np.concatenate([each[name] for each in of_file]) for name in of_file[0]}
      if arrays is None or not is_current():
        raise UsageError(
          "model_dir must not be used by two commands at once for images of one name. "
          f"Received: {folder}, in which another began meanwhile"
        )
      write_arrays(path, arrays)
    yield Archive(path, images, arrays, is_new)


def archive_paths(
  folder: pathlib.Path, role: str, images: int, images_per_file: int
) -> list[pathlib.Path]:
  """Returns where the archives of a split of so many images lie, in order."""
  count = -(-images // images_per_file)
  return [folder / f"{role}-{number:05}-of-{count:05}.npz" for number in range(count)]


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What the embeddings in a folder are of.

  Attributes:
    noted: `{name: value}`.
    added: what versions before noted otherwise or not at all.
  """

  noted: dict[str, Any]
  added: dict[str, Any]

  @classmethod
  def of(
    cls,
    network: str,
    step: int,
    options: Mapping[str, Any],
    source: DatasetSource,
  ) -> Self:
    """Describes what a network makes of images; options are `{option: value}` of the run."""
    noted = {name: options[name] for name in NOTED}
    added = {
      **{role: split.digest(source.class_names) for role, split in source.splits.items()},
      "class_names": list(source.class_names),
      "center_crop": source.center_crop,
      **{name: options[name] for name in ARCHITECTURE_OPTIONS if name not in NOTED},
    }
    return cls({"network": network, "global_step": step, **noted}, added)

  def write(self, folder: pathlib.Path, begins_anew: bool = False) -> None:
    """Writes it, or checks that the embeddings in the folder are of the same.

    Args:
      begins_anew: whether embeddings of something else are removed in place of an error.

    Raises:
      UsageError: there are embeddings of other images, or by another network.
    """
    what = "embeddings of the same images by the same network"
    write_description(folder, self.noted | self.added, what, self.added, begins_anew)

  def is_in(self, folder: pathlib.Path) -> bool:
    """Returns whether it stands in the folder as it would be written."""
    return is_described(folder, self.noted | self.added)


def index_rows(
  path: pathlib.Path,
  source: DatasetSource,
  split: Split,
  images: np.ndarray,
  arrays: dict[str, np.ndarray],
) -> Iterator[tuple[Any, ...]]:
  """Yields the rows of the index for the images of an archive.

  Args:
    images: int `[n]`, the images' places in the split.
  """
  labels, names = arrays.get("label", np.full(len(images), UNKNOWN)), split.image_names
  for row, (image, label) in enumerate(zip(images, labels, strict=True)):
    known = ("", "")
    if np.any(label != UNKNOWN):
      number = "".join(map(str, label)) if source.multi_label else label
      known = (number, label_words(label, source.class_names))
    yield (path.name, row, split.name, names[image], *known)


def read_arrays(
  path: pathlib.Path, count: int, counted: str = "embedding"
) -> dict[str, np.ndarray] | None:
  """Returns the arrays of an archive, or None if it isn't there or isn't whole.

  Args:
    count: rows of the array `counted`.
  """
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      arrays = dict(archive)
    return arrays if len(arrays[counted]) == count else None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes an archive, whole or not at all.

  Raises:
    UsageError: the folder can't be written.
  """
  buffer = io.BytesIO()  # an archive of a file that can't be written complains when it is forgotten
  np.savez(buffer, **arrays)
  write_bytes(path, buffer.getbuffer())


def write_index(folder: pathlib.Path, rows: Iterable[tuple[Any, ...]]) -> None:
  """Writes `index.csv`, with the rows of `index_rows`."""
  write_text(folder / INDEX, csv_text([COLUMNS, *rows]))


def read_embedded(folder: pathlib.Path) -> Embedded:
  """Returns what `complete_archives` and `write_index` wrote."""
  with (folder / INDEX).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
    rows = list(csv.DictReader(file))
  arrays = []
  for name in dict.fromkeys(row["file"] for row in rows):
    with np.load(folder / name) as archive:
      arrays.append(dict(archive))
  vectors = np.concatenate([each["embedding"] for each in arrays])
  labels = [each["label"] for each in arrays if "label" in each]
  return Embedded(vectors, np.concatenate(labels) if labels else None, rows)
