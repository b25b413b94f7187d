"""Images in a NumPy archive."""

import hashlib
import logging
import os
import zlib

import numpy as np

from conrec_tf.config import Data
from conrec_tf.data.dataset import Columns, DatasetSource
from conrec_tf.data.files.groups import holdout_mask
from conrec_tf.data.files.labels import (
  checked_multi_hot,
  label_numbers,
  label_text,
  labels_by_number,
  ordered_labels,
  warn_of_near_twins,
  warn_of_odd_labels,
)
from conrec_tf.data.files.walk import existing_path
from conrec_tf.data.images.decoding import checked_channels, with_channels
from conrec_tf.data.images.frames import ALL, MIDDLE
from conrec_tf.data.images.pixel_values import ROUNDING, converted, filled_range
from conrec_tf.data.records import content_digests
from conrec_tf.data.splits import listed_split
from conrec_tf.errors import UsageError, as_usage_error, listed

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
CHANNEL_COUNTS = (1, 2, 3, 4)
ALMOST_BLACK = 2 / 255  # of white


def open_npz(data: Data) -> DatasetSource:
  """Opens `--dataset=npz --data_dir=FILE.npz`; nothing in it is unpickled.

  The archive holds `x_train` and `x_test`, perhaps `x_val`, `[N, h, w]` or `[N, h, w, C]`, uint8,
  uint16 or float in [0, 1] (kept in 8 bits where those hold it, else in 16), and `y_train`,
  `y_test` and `y_val`, `[N]` or `[N, 1]`: classes counted from 0, or words, empty for none; or
  `[N, L]`, 0 or 1 of several labels, perhaps with their names in `label_names` `[L]`. Without the
  `y` images are unlabelled; without `x_test` a share of `x_train` is held out. MedMNIST's archives
  are read as they are downloaded; of volumes, `[N, d, d, d]`, slices are, as `dicom_frames` says.

  Raises:
    UsageError: the file is missing or no such archive, or its arrays don't fit together.
  """
  path = existing_path(data.data_dir, data.dataset, "an .npz file")
  arrays = _with_usual_names(_arrays(path))
  images = {
    name: _images(arrays, "x_" + name, data.image_bits, data.dicom_frames)
    for name in SPLITS
    if "x_" + name in arrays
  }
  if "train" not in images:
    raise UsageError(
      "data_dir must hold x_train (and y_train, x_test, y_test). "
      f"Received: {', '.join(arrays) or 'nothing'}"
    )
  labelled = data.label_mode != "none" and any("y_" + name in arrays for name in images)
  labels = {
    name: _labels(arrays, "y_" + name, len(part)) if labelled else np.zeros(len(part), int)
    for name, part in images.items()
  }
  class_names: tuple[str, ...] = ()
  shapes = {part.shape[1:] for part in labels.values()}
  if len(shapes) > 1:
    raise UsageError(
      f"y_train, y_val and y_test must have the same labels. Received: {sorted(shapes)}"
    )
  multi_label = labels["train"].ndim == 2
  if multi_label:
    class_names, labels = _multi_hot_labels(labels, arrays.get("label_names"), data)
  elif labelled:
    class_names, labels = _numbered(labels, data)
  places = {name: np.arange(len(part)) for name, part in images.items()}  # in their arrays
  is_held_out = "test" not in images
  if is_held_out:
    held = holdout_mask(labels["train"] if labelled else None, len(images["train"]))
    for parts in (images, labels, places):
      parts["train"], parts["test"] = parts["train"][~held], parts["train"][held]
  groups = None
  if all(map(_are_volumes, images.values())):
    images, labels, groups = _sliced(images, labels, data.dicom_frames)
  slices = len(images["train"]) // len(places["train"])  # of each volume
  if any(part.dtype == np.uint16 for part in images.values()):
    images = {name: converted(part, 0, as_uint16=True) for name, part in images.items()}
  shapes = {part.shape[1:] for part in images.values()}
  if len(shapes) > 1:
    raise UsageError(f"x_train, x_val and x_test must have one size. Received: {sorted(shapes)}")
  channels = checked_channels(data.image_channels, shapes.pop()[-1])
  ends = np.cumsum([len(part) for part in images.values()])
  index_of = dict(zip(images, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
  digest, all_labels = _digest(images, labels), np.concatenate(list(labels.values()))
  rows = {"image": np.concatenate(list(images.values()))}
  del arrays, images  # memory need not hold them twice
  if labelled:
    rows["label"] = all_labels
  shape = [*rows["image"].shape[1:], 8 * rows["image"].itemsize]
  columns = Columns(
    shapes=np.tile(np.array(shape, np.int32), (ends[-1], 1)),
    groups=None if groups is None else np.concatenate(list(groups.values())),
    labels=(lambda: all_labels) if labelled else None,
    stored=np.arange(ends[-1]),
    content=content_digests(np.ascontiguousarray(image).data for image in rows["image"]),
    places=np.concatenate(
      [np.add.outer(slices * part, np.arange(slices)).ravel() for part in places.values()]
    )
    if is_held_out
    else None,
  )
  return DatasetSource(
    name=os.path.basename(path).removesuffix(".npz"),
    channels=channels,
    decode=lambda image: with_channels(image, channels),
    train=listed_split("train_split", data.train_split, rows, columns, index_of),
    eval=listed_split("eval_split", data.eval_split, rows, columns, index_of),
    one_size=True,
    class_names=class_names,
    multi_label=multi_label,
    digest=digest,
  )


def _are_volumes(images: np.ndarray) -> bool:
  """Returns whether arrays `[N, d, d, d]` have more slices than an image has channels."""
  return len(set(images.shape[1:])) == 1 and images.shape[-1] > max(CHANNEL_COUNTS)


def _sliced(
  volumes: dict[str, np.ndarray], labels: dict[str, np.ndarray], choice: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray] | None]:
  """Returns slices along the first axis of volumes `{split: [N, d, d, d]}`, with labels and groups.

  `middle` takes that slice of each, and there are no groups; `all` takes each, and those of a
  volume are a group.
  """
  depth = volumes["train"].shape[1]
  count = sum(map(len, volumes.values()))
  logger.info("%s volumes as %s slices", f"{count:,}", f"{count * depth ** (choice == ALL):,}")
  if choice != ALL:
    return (
      {name: part[:, depth // 2, :, :, np.newaxis] for name, part in volumes.items()},
      labels,
      None,
    )
  return (
    {name: part.reshape(-1, depth, depth, 1) for name, part in volumes.items()},
    {name: np.repeat(part, depth, axis=0) for name, part in labels.items()},
    {
      name: np.repeat(np.array([f"{name}/{index}" for index in range(len(part))], object), depth)
      for name, part in volumes.items()
    },
  )


def _digest(images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> str:
  """Returns what stays the same when an archive moves: names, shapes, images and labels."""
  digest = hashlib.sha256()
  for name, part in images.items():
    digest.update(repr((name, part.shape, zlib.crc32(np.ascontiguousarray(part).data))).encode())
    digest.update(np.ascontiguousarray(labels[name]).tobytes())
  return digest.hexdigest()


def _with_usual_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Gives MedMNIST's arrays, `train_images` and so on, the names `x_train` and so on."""
  usual = {
    f"{split}_{kind}": f"{letter}_{split}"
    for split in SPLITS
    for kind, letter in (("images", "x"), ("labels", "y"))
  }
  return {usual.get(name, name): array for name, array in arrays.items()}


def _arrays(path: str) -> dict[str, np.ndarray]:
  """Returns `{name: array}` of an archive; members that aren't arrays are left out."""
  # Of zipfile, zlib, struct and numpy, which have no common class.
  with as_usage_error("data_dir must be an .npz file of plain arrays", path, Exception):
    with np.load(path, allow_pickle=False) as archive:
      members = {name: archive[name] for name in archive.files}
  return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}


def _images(arrays: dict[str, np.ndarray], name: str, bits: int, frames: str) -> np.ndarray:
  """Returns an array of images as uint8 or uint16 `[N, h, w, C]`, or volumes `[N, d, d, d]`."""
  images = np.asarray(arrays[name], arrays[name].dtype.newbyteorder("="))
  if images.ndim == 3:
    images = images[..., np.newaxis]
  if images.ndim != 4 or not images.size:
    raise UsageError(f"{name} must be [N, h, w] or [N, h, w, C]. Received: {arrays[name].shape}")
  _, first, second, last = images.shape
  if last > max(CHANNEL_COUNTS) and (first in CHANNEL_COUNTS or first < second == last):
    raise UsageError(
      f"{name} must be [N, h, w, C]. Received: {images.shape}, which looks like [N, C, h, w]"
    )
  if _are_volumes(images) and not frames:
    raise UsageError(
      f"{name} must be images, [N, h, w] or [N, h, w, C]. Received: {images.shape}, which looks "
      f"like volumes; take the middle slice of each, {name}[:, {images.shape[1] // 2}], by "
      f"--dicom_frames={MIDDLE}, or all by --dicom_frames={ALL}"
    )
  low, high = images.min(), images.max()
  if np.issubdtype(images.dtype, np.floating):
    if not np.all(np.isfinite(images)):
      raise UsageError(f"{name} must be finite. Received: NaN or infinity")
    if low < -ROUNDING or high > 1 + ROUNDING:
      raise UsageError(
        f"{name} must be uint8, uint16, or float in [0, 1]. Received: {float(low)} to {float(high)}"
      )
    images = _of_floats(images)
  elif images.dtype not in (np.uint8, np.uint16):
    raise UsageError(
      f"{name} must be uint8, uint16, or float in [0, 1]. "
      f"Received: {images.dtype} from {low} to {high}"
    )
  elif bits and images.dtype == np.uint16:
    images = filled_range(images, 2**bits - 1)
  if images.max() <= ALMOST_BLACK * np.iinfo(images.dtype).max:
    logger.warning(
      "%s is almost black: its values go from %s to %s, where 8 bits go to 255, 16 to 65535 "
      "(--image_bits if fewer are used) and floats to 1",
      name,
      low,
      high,
    )
  elif bits and images.min() >= (1 - ALMOST_BLACK) * np.iinfo(images.dtype).max:
    logger.warning(
      "%s is almost white: its values go from %s to %s, which --image_bits=%d may be too few for",
      name,
      low,
      high,
      bits,
    )
  return images


def _of_floats(images: np.ndarray) -> np.ndarray:
  """Returns floats in [0, 1] as uint8 where that loses nothing, else as uint16."""
  scaled = 255 * np.clip(images, 0, 1)
  if np.abs(scaled - np.round(scaled)).max() <= 255 * ROUNDING:
    return np.round(scaled).astype(np.uint8)
  return filled_range(images, 1.0)


def _labels(arrays: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
  """Returns an array of labels, numbers or words `[N]`, or numbers `[N, L]`."""
  labels = arrays.get(name)
  if labels is None:
    raise UsageError(
      f"data_dir must hold {name} too, or --label_mode=none. Received: {', '.join(arrays)}"
    )
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim not in (1, 2) or len(labels) != count:
    raise UsageError(
      f"{name} must be [{count}], a class of each image, or [{count}, L] of several labels. "
      f"Received: {labels.shape}"
    )
  if labels.ndim == 2:
    return checked_multi_hot(labels, name)
  if labels.dtype.kind not in "iuU" or labels.dtype.kind == "i" and labels.min() < 0:
    raise UsageError(
      f"{name} must be whole numbers from 0, or words. Received: {labels.dtype}"
      + (f" from {labels.min()}" if labels.dtype.kind in "if" else "")
    )
  return labels


def _multi_hot_labels(
  labels: dict[str, np.ndarray], names: np.ndarray | None, data: Data
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """Returns names of several labels, and them, which are more or fewer than one of each image."""
  if all(np.all(part.sum(axis=1) == 1) for part in labels.values()):
    raise UsageError(
      "y_train must be class numbers, [N], where each image has one class. Received: "
      f"{labels['train'].shape} with a single 1 in each row"
    )
  count = labels["train"].shape[1]
  if names is None:
    names = np.arange(count)
  if names.shape != (count,):
    raise UsageError(f"label_names must be [{count}]. Received: {names.shape}")
  stored = tuple(label_text(str(name)) for name in names)
  if len(set(stored)) < count:
    raise UsageError(f"label_names must differ. Received: {listed(stored)}")
  class_names = labels_by_number(data, stored)
  columns = [stored.index(name) for name in class_names]
  return class_names, {name: part[:, columns] for name, part in labels.items()}


def _numbered(
  labels: dict[str, np.ndarray], data: Data
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """Returns class names, words in natural order or numbers, and labels as int64 `[N]`."""
  if all(part.dtype.kind != "U" for part in labels.values()):
    numbers = {name: part.astype(np.int64) for name, part in labels.items()}
    count = 1 + max(part.max(initial=0) for part in numbers.values())
    named = tuple(map(str, range(count)))
    class_names = labels_by_number(data, named)
    if class_names != named:
      new_numbers = label_numbers(named, class_names)
      numbers = {name: new_numbers[part] for name, part in numbers.items()}
    return class_names, numbers
  words = {name: [label_text(str(word).strip()) for word in part] for name, part in labels.items()}
  every = [word for part in words.values() for word in part]
  class_names = ordered_labels(data, set(every) - {""})
  warn_of_odd_labels(every, class_names)
  warn_of_near_twins("labels", class_names)
  return class_names, {name: label_numbers(part, class_names) for name, part in words.items()}
