"""Images in folders: `split/label/file`, `label/file`, or unlabelled, nested or flat."""

from collections.abc import Sequence
import hashlib
import logging
import os

import numpy as np
import tensorflow as tf

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import (
  DatasetSource,
  existing_path,
  holdout_mask,
  listed_split,
  log_cache_size,
)
from conrec_tf.data.decoding import NATIVE, decode_image
from conrec_tf.data.folder_scan import (
  FolderScan,
  base_name,
  content,
  paths_below,
  scan_folder,
)

logger = logging.getLogger(__name__)

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def open_image_folder(config: Config) -> DatasetSource:
  """Opens `--dataset=image_folder --data_dir=DIR`.

  With `label_mode=auto`, files in two levels of folders are `split/label/file`, in one level
  `label/file` with a stratified fifth held out for evaluation, and in none unlabelled with a
  tenth held out; with `label_mode=none` all files are unlabelled wherever they lie. Images are
  ordered by base name, then content, so that a run doesn't depend on where files lie.

  Raises:
    UsageError: the folder is missing or unreadable, holds no images, is nested in another way,
      has a single class, or more images than `max_undecodable` can't be decoded.
  """
  root = existing_path(config.data_dir, config.dataset, "a folder of images")
  scan = scan_folder(root, _image_files(root), _decode_file)
  names, shapes = scan.names, scan.shapes
  splits, labels, class_names = _layout(
    config.label_mode, [name.split(os.sep)[:-1] for name in names], root
  )
  is_good = shapes[:, 2] > 0
  if not np.any(is_good):
    raise UsageError(
      f"data_dir must hold images that can be decoded. Received: {len(names)} bad ones in {root}"
    )
  bad = tuple(f"{names[place]}: {scan.errors[names[place]]}" for place in np.flatnonzero(~is_good))
  if config.mode != "check_data":
    _check_count(config.max_undecodable, bad, len(names))

  paths = list(paths_below(root, names))
  images, read = np.array([os.fsencode(path) for path in paths], object), tf.io.read_file
  if config.cache_dataset:
    log_cache_size("the image folder", int(scan.sizes.clip(0).sum()))
    images, read = np.array([content(path) for path in paths], object), tf.identity
  good = shapes[is_good]
  channels = config.image_channels or (1 if np.all(good[:, 2] <= 2) else 3)
  stored = {
    name: _substituted(np.flatnonzero(splits == name), is_good) for name in np.unique(splits)
  }
  texts = np.array([_text(name) for name in names], object)
  columns = (
    {name: values[index] for name, index in stored.items()}
    for values in (images, labels, shapes, texts)
  )
  by_image, by_label, by_shape, by_name = columns
  arguments = (by_image, by_label if class_names else None, by_shape, by_name)
  return DatasetSource(
    name=os.path.basename(os.path.abspath(root)),
    channels=channels,
    decode=lambda image: decode_image(read(image), channels),
    train=listed_split("train_split", config.train_split, *arguments),
    eval=listed_split("eval_split", config.eval_split, *arguments),
    one_size=len(np.unique(good[:, :2], axis=0)) == 1,
    class_names=class_names,
    bad=bad,
    digest=_digest(scan, splits, labels, class_names),
  )


def _decode_file(path: tf.Tensor) -> tf.Tensor:
  return decode_image(tf.io.read_file(path), NATIVE)


def _image_files(root: str) -> list[str]:
  """Returns the paths of all images below a folder, relative to it, links followed."""
  images: list[str] = []
  others: list[str] = []
  seen: set[str] = set()

  def fail(error: OSError) -> None:
    raise UsageError(
      f"data_dir must be a folder that can be read ({error.strerror}). Received: {error.filename}"
    )

  for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
    if os.path.realpath(folder) in seen:  # a link back to where the walk has been
      folders.clear()
      continue
    seen.add(os.path.realpath(folder))
    below = os.path.relpath(folder, root)
    for file in files:
      name = file if below == os.curdir else f"{below}{os.sep}{file}"
      (images if file.lower().endswith(ENDINGS) else others).append(name)
  if not images:
    raise UsageError(
      f"data_dir must hold images ({', '.join(ENDINGS)}). Received: {root} with "
      f"{len(others)} other files"
    )
  if others:
    logger.info(
      "Left out %d files that aren't images, e.g. %s", len(others), os.path.join(root, min(others))
    )
  return images


def _digest(
  scan: FolderScan, splits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> str:
  """Returns what stays the same when a folder moves: names, sizes, splits and labels."""
  digest = hashlib.sha256(repr(class_names).encode())
  for name, size, split, label in zip(scan.names, scan.sizes, splits, labels):
    digest.update(os.fsencode(f"{base_name(name)}\0{size}\0{split}\0{label}\0"))
  return digest.hexdigest()


def _layout(
  labels: str, parts: list[list[str]], root: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
  """Returns split names `[N]`, labels int `[N]` and class names, from each file's folders."""
  depths = {len(folders) for folders in parts}
  if labels == "folders" and depths not in ({1}, {2}):
    raise UsageError(
      "data_dir must hold label/file or split/label/file, for label_mode=folders. "
      f"Received: {root} with files {_depths_text(depths)} folders deep"
    )
  if labels == "auto" and depths not in ({0}, {1}, {2}):
    raise UsageError(
      "label_mode must be none for images that lie neither flat nor as label/file or "
      f"split/label/file. Received: auto for files {_depths_text(depths)} folders deep"
    )
  if labels == "none" or depths == {0}:
    logger.info("%d images without labels; a tenth is held out as split test", len(parts))
    return _shares(None, len(parts)), np.zeros(len(parts), np.int64), ()
  names = [folders[-1] for folders in parts]
  class_names, indices = np.unique(names, return_inverse=True)
  indices = indices.astype(np.int64)
  if len(class_names) < 2:
    raise UsageError(
      "data_dir must hold at least two labels; without labels use --label_mode=none. "
      f"Received: {class_names[0]} alone in {root}"
    )
  logger.info(
    "%d images; folders are %d labels: %s",
    len(parts),
    len(class_names),
    ", ".join(class_names[:10]) + (", ..." if len(class_names) > 10 else ""),
  )
  if depths == {2}:
    return np.array([folders[0] for folders in parts]), indices, tuple(class_names)
  logger.info(
    "There are no splits; a fifth of each label is held out as split test "
    "(--label_mode=none if the folders aren't labels)"
  )
  return _shares(indices, len(parts)), indices, tuple(class_names)


def _shares(labels: np.ndarray | None, count: int) -> np.ndarray:
  return np.where(holdout_mask(labels, count), "test", "train")


def _text(name: str) -> str:
  """Returns a file's name as text that can be written, whatever bytes it has."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")


def _substituted(indices: np.ndarray, is_good: np.ndarray) -> np.ndarray:
  """Replaces each bad image by the next good one of the split; after the last comes the first."""
  good = indices[is_good[indices]]
  if not len(good):
    return good
  place = np.searchsorted(good, indices)
  return good[place % len(good)]


def _check_count(limit: str, bad: Sequence[str], count: int) -> None:
  """Raises UsageError when there are more bad images than the limit allows."""
  allowed = max(
    int(count * float(text.rstrip("% ")) / 100) if "%" in text else int(text)
    for text in limit.split(",")
  )
  for line in bad:
    logger.warning("Bad image, the next one stands in for it: %s", line)
  if len(bad) > allowed:
    raise UsageError(
      f"data_dir must hold at most max_undecodable={limit} images that can't be "
      f"decoded, {allowed} of {count}. Received: {len(bad)}, e.g. {bad[0]}"
    )


def _depths_text(depths: set[int]) -> str:
  return " and ".join(map(str, sorted(depths)))
