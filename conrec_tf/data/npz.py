"""Images in a NumPy archive."""

import hashlib
import os
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import DatasetSource, existing_path, holdout_mask, listed_split


def open_npz(config: Config) -> DatasetSource:
  """Opens `--dataset=npz --data_dir=FILE.npz`; nothing in it is unpickled.

  The archive holds `x_train` and `x_test`, `[N, h, w]` or `[N, h, w, C]`, uint8 or float in
  [0, 1] (which is rounded to 8 bits), and `y_train` and `y_test`, int `[N]` or `[N, 1]`, their
  classes counted from 0. Without the `y` images are unlabelled; without `x_test` a share of
  `x_train` is held out.

  Raises:
    UsageError: the file is missing or no such archive, or its arrays don't fit together.
  """
  path = existing_path(config.data_dir, config.dataset, "an .npz file")
  arrays = _arrays(path)
  images = {
    name: _images(arrays, "x_" + name) for name in ("train", "test") if "x_" + name in arrays
  }
  if "train" not in images:
    raise UsageError(
      "data_dir must hold x_train (and y_train, x_test, y_test). "
      f"Received: {', '.join(arrays) or 'nothing'}"
    )
  labelled = config.label_mode != "none" and "y_train" in arrays
  labels = {
    name: _labels(arrays, "y_" + name, len(part)) if labelled else np.zeros(len(part), int)
    for name, part in images.items()
  }
  if "test" not in images:
    held = holdout_mask(labels["train"] if labelled else None, len(images["train"]))
    images, labels = (
      {"train": part["train"][~held], "test": part["train"][held]} for part in (images, labels)
    )
  shapes = {part.shape[1:] for part in images.values()}
  if len(shapes) > 1:
    raise UsageError(f"x_train and x_test must have one size. Received: {sorted(shapes)}")
  stored = shapes.pop()[-1]
  channels = config.image_channels or stored
  if channels != stored and stored not in (1, 3):
    raise UsageError(
      "image_channels must be 0 for images that are neither grey nor RGB. "
      f"Received: {config.image_channels} for {stored} channels"
    )

  def decode(image: tf.Tensor) -> tf.Tensor:
    if channels != stored:
      image = (tf.image.rgb_to_grayscale if channels == 1 else tf.image.grayscale_to_rgb)(image)
    return image

  arguments = (
    images,
    labels if labelled else None,
    {
      name: np.tile(np.array(part.shape[1:], np.int32), (len(part), 1))
      for name, part in images.items()
    },
  )
  classes = 1 + max(part.max(initial=0) for part in labels.values())
  return DatasetSource(
    name=os.path.basename(path).removesuffix(".npz"),
    channels=channels,
    decode=decode,
    train=listed_split("train_split", config.train_split, *arguments),
    eval=listed_split("eval_split", config.eval_split, *arguments),
    one_size=True,
    class_names=tuple(map(str, range(classes))) if labelled else (),
    digest=_digest(images, labels),
  )


def _digest(images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> str:
  """Returns what stays the same when an archive moves: names, shapes, images and labels."""
  digest = hashlib.sha256()
  for name, part in images.items():
    digest.update(repr((name, part.shape, zlib.crc32(np.ascontiguousarray(part).data))).encode())
    digest.update(np.ascontiguousarray(labels[name]).tobytes())
  return digest.hexdigest()


def _arrays(path: str) -> dict[str, np.ndarray]:
  """Returns `{name: array}` of an archive."""
  try:
    with np.load(path, allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
    raise UsageError(
      "data_dir must be an .npz file of plain arrays "
      f"({str(error).splitlines()[0]}). Received: {path}"
    ) from error


def _images(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  """Returns an array of images as uint8 `[N, h, w, C]`."""
  images = arrays[name]
  if images.ndim == 3:
    images = images[..., np.newaxis]
  if images.ndim != 4 or not images.size:
    raise UsageError(f"{name} must be [N, h, w] or [N, h, w, C]. Received: {arrays[name].shape}")
  if images.dtype == np.uint8:
    return images
  if not np.issubdtype(images.dtype, np.floating):
    raise UsageError(f"{name} must be uint8, or float in [0, 1]. Received: {images.dtype}")
  if not np.all(np.isfinite(images)):
    raise UsageError(f"{name} must be finite. Received: NaN or infinity")
  if images.min() < 0 or images.max() > 1:
    raise UsageError(
      f"{name} must be uint8, or float in [0, 1]. Received: {images.min():g} to {images.max():g}"
    )
  return np.round(255 * images).astype(np.uint8)


def _labels(arrays: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
  """Returns an array of labels as int64 `[N]`."""
  labels = arrays.get(name)
  if labels is None:
    raise UsageError(f"data_dir must hold {name} too. Received: {', '.join(arrays)}")
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.shape != (count,):
    raise UsageError(f"{name} must be [{count}], one label an image. Received: {labels.shape}")
  if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
    raise UsageError(
      f"{name} must be whole numbers from 0. Received: {labels.dtype} from {labels.min()}"
    )
  return labels.astype(np.int64)
