"""Datasets of TensorFlow Datasets, the embedded ones included."""

import contextlib
import functools
import logging
import os
import re
import sys

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.config import Data
from conrec_tf.config.options.data import OWN_DATASETS
import conrec_tf.data.builders  # registers the embedded datasets  # noqa: F401
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.labels import labels_by_number
from conrec_tf.data.images import header
from conrec_tf.data.images.decoding import (
  DecodeSize,
  checked_channels,
  decode_reduced,
  fill_range,
  shares_of_white,
  with_channels,
  within_limit,
)
from conrec_tf.data.sources.tfds_files import damaged, damaged_description
from conrec_tf.data.sources.tfds_records import tfds_split
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)

DATA_DIR = os.path.expanduser(tfds.core.constants.DATA_DIR)


def open_tfds(data: Data, mask_key: str = "") -> DatasetSource:
  """Opens a dataset of TFDS; prepares it if it isn't yet.

  With a `mask_key`, encoded images of that feature become `mask` of records, without labels.

  Raises:
    UsageError: the dataset or a split is unknown, isn't prepared and can't be
      downloaded, or has no image and, unless `label_mode` is none, label; or see
      `labels_by_number`.
  """
  builder = prepared_builder(data.dataset, data.data_dir)
  features = dict(getattr(builder.info.features, "items", tuple)())
  labelled = data.label_mode != "none" and not mask_key
  image_key, label_key = (
    key if data.names_must_fit or key in features else usual
    for key, usual in ((data.image_key, "image"), (data.label_key, "label"))
  )
  keys = {"image": image_key, **({"label": label_key} if labelled else {})}
  label_feature = features.get(label_key)
  several = getattr(label_feature, "feature", None)  # of a sequence
  multi_label = labelled and isinstance(several, tfds.features.ClassLabel)
  for name, kind in (
    ("image", tfds.features.Image),
    ("label", tfds.features.Sequence if multi_label else tfds.features.ClassLabel),
  ):
    if name in keys and not isinstance(features.get(keys[name]), kind):
      there = [key for key, feature in features.items() if isinstance(feature, kind)]
      raise UsageError(
        "dataset must have an image and a label with classes or a sequence of them (or just an "
        f"image, for label_mode=none). Received: {data.dataset} without {name} {keys[name]}; "
        f"for --{name}_key there is {', '.join(there) or 'nothing'}"
      )
  named = several if multi_label else label_feature
  class_names = tuple(named.names) if labelled and named else ()
  image_feature = features[image_key]
  stored = image_feature.shape
  channels = checked_channels(data.image_channels, stored[-1] or 0)

  def stored_image(encoded: tf.Tensor) -> tf.Tensor:
    pixels = header.pixels(encoded)
    image = image_feature.decode_example(within_limit(encoded, pixels, data.max_pixels))
    if image.dtype == tf.uint16 and data.image_bits:
      image = fill_range(image, data.image_bits)
    elif image.dtype not in (tf.uint8, tf.uint16):
      image = tf.image.convert_image_dtype(shares_of_white(image), tf.uint16, saturate=True)
    return with_channels(image, channels)

  def decode(encoded: tf.Tensor) -> tf.Tensor:
    return header.upright(stored_image(encoded), header.orientation(encoded))

  def reduced(encoded: tf.Tensor, decode_size: DecodeSize) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_reduced(encoded, decode_size, stored_image, channels, data.max_pixels)

  may_be_jpeg = image_feature.dtype == np.uint8 and image_feature.encoding_format != "png"
  split = functools.partial(
    tfds_split,
    builder,
    keys={**keys, "mask": mask_key} if mask_key else keys,
    cache=data.cache_dataset and not mask_key,
    num_labels=len(class_names) if multi_label else 0,
  )
  train = split("train_split", data.train_split)
  source = DatasetSource(
    name=data.dataset,
    decode=decode,
    decode_reduced=reduced if data.scaled_decoding and may_be_jpeg else None,
    channels=channels,
    one_size=None not in stored[:2],
    train=train,
    eval=split("eval_split", data.eval_split),
    class_names=class_names,
    multi_label=multi_label,
    digest=f"{builder.info.full_name} {data.train_split}: {train.num_examples}",
  )
  return source.with_class_names(labels_by_number(data, class_names))


def prepared_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """Returns the builder of a dataset, which is prepared if it isn't yet.

  Raises:
    UsageError: there is no such dataset, or it can't be prepared.
  """
  try:
    builder = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
  except Exception as error:  # TFDS has no common class for a bad name, version or config.
    folder = os.path.join(os.path.expanduser(data_dir) or DATA_DIR, re.split("[:/]", name)[0])
    if description := damaged_description(folder):
      raise UsageError(
        "dataset must have its description as it was prepared; copy or prepare it anew. "
        f"Received: {name} with {description}"
      ) from error
    raise UsageError(
      f"dataset must be {', '.join(OWN_DATASETS)} or a name that TensorFlow Datasets knows "
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
    except UsageError:  # of a dataset of ours, whose files the user has brought
      raise
    except (Exception, SystemExit) as error:  # Whatever hosts, archives and disks come up with.
      if not builder.is_prepared():
        raise UsageError(
          f"dataset is not prepared in {builder.data_dir} and could not be "
          f"downloaded or prepared there ({_line(error)}). "
          f"Received: {name}"
        ) from error
      # Two processes prepare it at once, each in a folder that is moved; this one came second.
      builder = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
  if not builder.info.splits:
    info = os.path.join(builder.data_dir, "dataset_info.json")
    raise damaged(builder, f"{info} ({'no splits' if tf.io.gfile.exists(info) else 'missing'})")
  return builder


def _line(error: BaseException) -> str:
  """Returns the first line of an exception's message, or its type."""
  return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
