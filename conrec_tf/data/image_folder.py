"""Images in folders: `split/label/file`, `label/file`, or unlabelled, nested or flat."""

import collections
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
from conrec_tf.data.decoding import NATIVE, decode_error, decode_image, scan_images

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
  paths = _ordered(_image_files(root))
  parts = [os.path.relpath(path, root).split(os.sep)[:-1] for path in paths]
  splits, labels, class_names = _layout(config.label_mode, parts, root)

  images = np.array([os.fsencode(path) for path in paths], object)
  read = tf.io.read_file
  if config.cache_dataset:
    log_cache_size("the image folder", sum(map(os.path.getsize, paths)))
    images, read = np.array([_content(path) for path in paths], object), tf.identity

  def decode_native(image: tf.Tensor) -> tf.Tensor:
    return decode_image(read(image), NATIVE)

  shapes = scan_images(tf.data.Dataset.from_tensor_slices(images), decode_native, "Checking images")
  is_good = shapes[:, 2] > 0
  if not np.any(is_good):
    raise UsageError(
      f"data_dir must hold images that can be decoded. Received: {len(paths)} bad ones in {root}"
    )
  bad = tuple(
    f"{os.path.relpath(paths[i], root)}: {decode_error(decode_native, images[i])}"
    for i in np.flatnonzero(~is_good)
  )
  if config.mode != "check_data":
    _check_count(config.max_undecodable, bad, len(paths))
  good = shapes[is_good]
  channels = config.image_channels or (1 if np.all(good[:, 2] <= 2) else 3)
  stored = {
    name: _substituted(np.flatnonzero(splits == name), is_good) for name in np.unique(splits)
  }
  names = np.array([_text(os.path.relpath(path, root)) for path in paths], object)
  columns = (
    {name: values[index] for name, index in stored.items()}
    for values in (images, labels, shapes, names)
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
  )


def _image_files(root: str) -> list[str]:
  """Returns the paths of all images under a folder, links followed."""
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
    for file in files:
      path = os.path.join(folder, file)
      (images if file.lower().endswith(ENDINGS) else others).append(path)
  if not images:
    raise UsageError(
      f"data_dir must hold images ({', '.join(ENDINGS)}). Received: {root} with "
      f"{len(others)} other files"
    )
  if others:
    logger.info("Left out %d files that aren't images, e.g. %s", len(others), min(others))
  return images


def _ordered(paths: list[str]) -> list[str]:
  """Sorts paths by base name, and files of one name by content."""
  names = collections.Counter(map(os.path.basename, paths))

  def key(path: str) -> tuple[str, bytes, str]:
    name = os.path.basename(path)
    return name, _digest(path) if names[name] > 1 else b"", path

  return sorted(paths, key=key)


def _digest(path: str) -> bytes:
  return hashlib.sha256(_content(path)).digest()


def _content(path: str) -> bytes:
  """Returns a file's bytes; none if it can't be read, which later shows as a bad image."""
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError:
    return b""


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
