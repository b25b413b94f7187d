"""Images in folders: `split/label/file`, `label/file`, or unlabelled, nested or flat."""

from collections.abc import Callable
import logging
import os

import numpy as np

from conrec_tf.config import Data
from conrec_tf.config.options.option import written
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.label_table import Row, read_label_table
from conrec_tf.data.files.layout import (
  IMAGES,
  Layout,
  folder_layout,
  layout_beside_masks,
  table_layout,
  without_masks,
)
from conrec_tf.data.files.store import Folder
from conrec_tf.data.files.walk import existing_path, images_and_tables
from conrec_tf.data.sources.image_files import image_source
from conrec_tf.data.sources.metadata_files import read_metadata
from conrec_tf.data.sources.unpacking import unpacked_folder
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)


def open_image_folder(data: Data, max_undecodable: str | None) -> DatasetSource:
  """Opens `--dataset=image_folder --data_dir=DIR`.

  With `label_mode=auto`, files in two levels of folders are `split/label/file`, in one level
  `label/file` with a stratified fifth held out for evaluation, and in none unlabelled with a
  tenth held out; with `label_mode=none` all files are unlabelled wherever they lie; a
  `label_table` says all of that itself, and so does `metadata.csv` beside the images; see
  `read_metadata`. Of folders `images` and `masks` side by side, which are for segmentation, the
  images are taken, unlabelled. Files of several images are unpacked as `dicom_frames` says, and
  have the split, label and group of their file. Images are ordered by base name, then content, so
  that a run doesn't depend on where files lie.

  Raises:
    UsageError: the folder is missing or unreadable, holds no images, is nested in another way,
      has a single class, or more images than `max_undecodable` can't be decoded.
  """
  root = existing_path(data.data_dir, data.dataset, "a folder of images")
  files, tables = images_and_tables(root)
  columns = data.label_columns
  rows: dict[str, Row] = {}
  if data.label_table:
    rows = read_label_table(data.label_table, files, columns)
  elif tables and data.label_mode == "auto":
    rows = read_metadata(root, tables, files, columns)
  elif tables:
    logger.info("Left out %d tables beside the images, e.g. %s", len(tables), tables[0])
  if columns and not rows:
    raise UsageError(
      "label_columns must be of a label_table, or of metadata.csv or .jsonl in data_dir. "
      f"Received: {written(columns)}"
    )

  of_files: Callable[[list[str]], Layout]
  images = without_masks(files)
  if len(images) < len(files) and not rows:
    logger.info(
      "%d files of masks are left out; train_mode=segment learns from them",
      len(files) - len(images),
    )
    files = images
  if files is images and all(os.path.basename(os.path.dirname(name)) == IMAGES for name in files):
    of_files = layout_beside_masks
  elif rows:
    files = [name for name in files if name in rows]
    of_files = lambda names: table_layout(data, names, rows)
  else:
    of_files = lambda names: folder_layout(data, names, root)
  store, names = unpacked_folder(data, root, files)
  return image_source(
    data, store, names, lambda names: store.layout(names, of_files), max_undecodable
  )


def open_files(data: Data, root: str, files: list[str], split: str = "all") -> DatasetSource:
  """Opens image files as one split without labels, wherever they lie below a folder.

  Args:
    files: their names below `root`.
    split: what the split is called.

  Raises:
    UsageError: they can't be opened; see `image_source`.
  """

  def layout(names: list[str]) -> Layout:
    return Layout(np.full(len(names), split), np.zeros(len(names), np.int64), ())

  return image_source(
    data.with_splits(split, split), Folder(root), files, layout, data.max_undecodable
  )
