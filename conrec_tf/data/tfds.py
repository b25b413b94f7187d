"""Datasets of TensorFlow Datasets, the embedded ones included."""

import contextlib
import logging
import os
import sys

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.config import Config, UsageError
import conrec_tf.data.builders  # registers the embedded datasets  # noqa: F401
from conrec_tf.data.dataset import DatasetSource, Split, empty_split, log_cache_size, wrong_split

logger = logging.getLogger(__name__)


def open_tfds(config: Config) -> DatasetSource:
  """Opens a dataset of TFDS; prepares it if it isn't yet.

  Raises:
    UsageError: the dataset or a split is unknown, isn't prepared and can't be
      downloaded, or has no image and, unless `label_mode` is none, label.
  """
  builder = _prepared_builder(config.dataset, config.data_dir)
  features = dict(getattr(builder.info.features, "items", tuple)())
  labelled = config.label_mode != "none"
  if (
    not isinstance(features.get("image"), tfds.features.Image)
    or labelled
    and not isinstance(features.get("label"), tfds.features.ClassLabel)
  ):
    raise UsageError(
      "dataset must have an image and a label with classes (or just an image, for "
      f"label_mode=none). Received: {config.dataset}"
    )
  stored = features["image"].shape
  channels = config.image_channels or stored[-1]
  if not stored[-1] or channels != stored[-1] and stored[-1] not in (1, 3):
    raise UsageError(
      "image_channels must be 0 for images that are neither grey nor RGB. "
      f"Received: {config.image_channels} for {stored[-1]} channels"
    )

  def decode(encoded: tf.Tensor) -> tf.Tensor:
    image = tf.image.convert_image_dtype(features["image"].decode_example(encoded), tf.uint8)
    if channels != stored[-1]:
      image = (tf.image.rgb_to_grayscale if channels == 1 else tf.image.grayscale_to_rgb)(image)
    return image

  return DatasetSource(
    name=config.dataset,
    decode=decode,
    channels=channels,
    one_size=None not in stored[:2],
    train=_split(builder, "train_split", config.train_split, labelled, config.cache_dataset),
    eval=_split(builder, "eval_split", config.eval_split, labelled, config.cache_dataset),
    class_names=tuple(features["label"].names) if labelled else (),
  )


def _prepared_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
  try:
    builder = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
  except Exception as error:  # TFDS has no common class for a bad name, version or config.
    raise UsageError(
      "dataset must be image_folder, npz or a name that TensorFlow Datasets knows "
      f"({_line(error)}). Received: {name}"
    ) from error
  if not builder.is_prepared():
    logger.info("Preparing %s in %s", name, builder.data_dir)
    if not sys.stderr.isatty():
      tfds.disable_progress_bar()
    try:
      # TFDS draws its progress bars on stderr; its closing words on stdout repeat ours.
      with contextlib.redirect_stdout(None):
        builder.download_and_prepare()
    except (Exception, SystemExit) as error:  # Whatever hosts, archives and disks come up with.
      raise UsageError(
        f"dataset is not prepared in {builder.data_dir} and could not be "
        f"downloaded or prepared there ({_line(error)}). "
        f"Received: {name}"
      ) from error
  return builder


def _split(
  builder: tfds.core.DatasetBuilder, flag: str, expression: str, labelled: bool, cache: bool
) -> Split:
  try:
    num_examples = builder.info.splits[expression].num_examples
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise wrong_split(flag, expression, builder.info.splits) from error
  if not num_examples:
    raise empty_split(flag, expression)
  stored = builder.info.splits.values()
  record_bytes = sum(s.num_bytes for s in stored) / max(1, sum(s.num_examples for s in stored))
  wanted = tfds.decode.PartialDecoding(
    {"image": True, **({"label": True} if labelled else {})},
    decoders={"image": tfds.decode.SkipDecoding()},
  )

  def records() -> tf.data.Dataset:
    return builder.as_dataset(
      split=expression,
      shuffle_files=False,
      decoders=wanted,
      read_config=tfds.ReadConfig(try_autocache=False),
    )

  if cache:
    log_cache_size(expression, num_examples * record_bytes)
    stored = list(records().as_numpy_iterator())
    columns = {
      name: np.array([record[name] for record in stored], kind)
      for name, kind in (("image", object), ("label", np.int64))
      if name in stored[0]
    }
    return Split(
      expression, num_examples, record_bytes, lambda: tf.data.Dataset.from_tensor_slices(columns)
    )
  return Split(expression, num_examples, record_bytes, records)


def _line(error: BaseException) -> str:
  """Returns the first line of an exception's message, or its type."""
  return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
