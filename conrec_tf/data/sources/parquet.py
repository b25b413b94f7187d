"""Images in Parquet files, as Hugging Face's library `datasets` writes them."""

import collections
from collections.abc import Iterator, Sequence
import os
import posixpath
import re

from conrec_tf.config import Data
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.layout import Label, Layout, has_splits, sample_layout, split_word
from conrec_tf.data.files.walk import existing_path
from conrec_tf.data.sources.image_files import image_source
from conrec_tf.data.sources.parquet_columns import (
  Chosen,
  chosen_columns,
  columns_of,
  labels_of,
)
from conrec_tf.data.sources.parquet_copy import parquet_file, unpacked
from conrec_tf.data.sources.tar_shards import ArchivedFile, TarShards
from conrec_tf.errors import UsageError, listed
from conrec_tf.files import is_output_folder

ENDING = ".parquet"
OF_DATASETS = re.compile(r"(\w+(?:\.\w+)*)-\d{5}-of-\d{5}(?:-\w+)?")  # split, number, of how many


def open_parquet(data: Data, max_undecodable: str | None) -> DatasetSource:
  """Opens `--dataset=parquet --data_dir=DIR`, a folder of `.parquet` files, or one file.

  A row has an encoded image, as bytes or a struct of `bytes` and `path`, and perhaps a label: a
  class by number, whose names stand in the file's metadata, text, a number, or a list of several.
  Files of a split have its name in theirs (`train-00000-of-00003.parquet`, `train/0000.parquet`);
  otherwise a share is held out. Images are ordered by the name of the file that they once were,
  then by content, so that neither number nor order of the files matters.

  Raises:
    UsageError: there are no such files or columns, one is damaged, files differ in their columns or
      classes, images of two of them have one name, some have a split's name and others none, or see
      `image_source`.
  """
  root = existing_path(data.data_dir, data.dataset, "a folder of .parquet files, or one")
  files = _files(root)
  columns = _columns(data, list(files.values()))
  shards = [_shard(path, columns) for path in files.values()]
  copies = unpacked(list(files.values()), columns.image)
  files_by_name: dict[str, tuple[int, ArchivedFile]] = {}
  labels: dict[str, Label] = {}
  splits: dict[str, str] = {}
  of_files = {prefix: split_of(prefix) for prefix in files}
  for number, (prefix, shard, copy) in enumerate(zip(files, shards, copies, strict=True)):
    given, paths = shard
    for row, name in enumerate(image_names(prefix, paths)):
      if name in files_by_name:  # a.parquet has b/1.png, a/b.parquet has 1.png
        raise UsageError(
          "data_dir must hold Parquet files whose images have names of their own. "
          f"Received: {name} in {list(files.values())[files_by_name[name][0]]} and {files[prefix]}"
        )
      files_by_name[name] = number, ArchivedFile(name, int(copy.offsets[row]), int(copy.sizes[row]))
      splits[name] = of_files[prefix]
      if given is not None:
        labels[name] = given[row]
  if not files_by_name:
    raise UsageError(f"data_dir must hold images. Received: {len(files)} files without rows")
  named = has_splits({prefix + ENDING: split for prefix, split in of_files.items()})

  def layout(names: list[str]) -> Layout:
    return sample_layout(data, names, labels, splits if named else {}, columns.class_names)

  store = TarShards(root, [copy.path for copy in copies], files_by_name)
  names = list(files_by_name)
  return image_source(data, store, names, layout, max_undecodable, column=columns.image)


def _files(root: str) -> dict[str, str]:
  """Returns `{name below the root without its ending: path}` of Parquet files, sorted.

  Hidden names and what runs of this program have left are passed over; links are followed.
  """
  if os.path.isfile(root):
    return {os.path.basename(root).removesuffix(ENDING): root}
  names = sorted(_walk(root))
  found = [name for name in names if name.endswith(ENDING)]
  if not found:
    if arrow := next((name for name in names if name.endswith(".arrow")), ""):
      raise UsageError(
        "data_dir must hold .parquet files, for dataset=parquet; of what save_to_disk wrote, "
        "export each split, datasets.load_from_disk(folder)['train'].to_parquet('train.parquet'). "
        f"Received: {root} with {arrow}"
      )
    raise UsageError(
      "data_dir must hold .parquet files, for dataset=parquet. "
      f"Received: {root} with {len(names)} other files"
    )
  return {name.removesuffix(ENDING): os.path.join(root, name) for name in found}


def _walk(root: str) -> Iterator[str]:
  """Yields the files below a folder, each folder once."""
  seen = set[str]()
  for folder, folders, names in os.walk(root, followlinks=True):
    seen.add(os.path.realpath(folder))
    folders[:] = sorted(
      name
      for name in folders
      if not name.startswith(".")
      and os.path.realpath(path := os.path.join(folder, name)) not in seen
      and not is_output_folder(path)
    )
    below = os.path.relpath(folder, root)
    yield from (os.path.normpath(os.path.join(below, name)) for name in names if name[0] != ".")


def split_of(name: str) -> str:
  """Returns the split that a file's name says, or one of its folders; else nothing.

  The name is below data_dir, without ending; `datasets` writes `data/<split>-00000-of-00003`.
  """
  folder, base = os.path.split(name)
  of_datasets = OF_DATASETS.fullmatch(base)
  return of_datasets[1] if of_datasets else split_word(base) or split_word(folder)


def _columns(data: Data, paths: Sequence[str]) -> Chosen:
  """Returns the columns of image and label, which must be the same in all files."""
  chosen: list[Chosen] = []
  for path in paths:
    with parquet_file(path) as file:
      chosen.append(chosen_columns(data, columns_of(file.schema_arrow), path))
    if chosen[-1] != chosen[0]:
      raise UsageError(
        "data_dir must hold Parquet files of the same columns and classes. "
        f"Received: {_said(chosen[0])} in {paths[0]}, {_said(chosen[-1])} in {path}"
      )
  return chosen[0]


def _said(chosen: Chosen) -> str:
  classes = f" of {listed(chosen.class_names)}" if chosen.class_names else ""
  return f"{chosen.image} and {chosen.label or 'no label'}{classes}"


def _shard(path: str, columns: Chosen) -> tuple[list[Label] | None, list[str]]:
  """Reads the labels of a file's rows, if it has any, and the paths that its images once had."""
  with parquet_file(path) as file:
    count = file.metadata.num_rows
    leaf = f"{columns.image}.path"
    paths = [""] * count
    if leaf in (file.schema.column(number).path for number in range(len(file.schema))):
      values = file.read([leaf]).column(0).combine_chunks()
      paths = [path or "" for path in values.field("path").to_pylist()]
    labels = None
    if columns.label:
      values = file.read([columns.label]).column(0).to_pylist()
      labels = labels_of(values, columns.class_names, f"{columns.label} of {path}")
  return labels, paths


def image_names(prefix: str, paths: Sequence[str]) -> list[str]:
  """Returns names of a file's images, each once, whose base names don't depend on the file.

  They are `prefix/path`, with the row between where rows have one path, and `prefix/row/image`
  without paths: of one base name, images are ordered by content.
  """
  parts = [posixpath.normpath("/" + path.replace("\0", " ")).lstrip("/") for path in paths]
  seen = collections.Counter(parts)
  return [
    os.path.join(prefix, part if part and seen[part] == 1 else f"{row:06}/{part or 'image'}")
    for row, part in enumerate(parts)
  ]
