"""Where images come from: a dataset name becomes a `Source`."""

from collections.abc import Callable
import contextlib
import dataclasses
import logging
import os

import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.config import UsageError
import conrec_tf.data.builders  # registers the embedded datasets  # noqa: F401

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Split:
  """A named part of a dataset.

  Attributes:
    name: the split expression, e.g. `train+validation`.
    num_examples: how many images.
    record_bytes: mean size of an encoded record, bytes.
    records: makes a finite `tf.data.Dataset` of `{image, label}`, still encoded and in
      a fixed order.
  """

  name: str
  num_examples: int
  record_bytes: float
  records: Callable[[], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Source:
  """A dataset as the pipeline sees it.

  Attributes:
    name: the dataset's name.
    train, eval: `Split`.
    decode: encoded image -> uint8 `[h, w, channels]`.
    channels: 1 or 3.
    one_size: whether all images have the same height and width.
    class_names: tuple of names, in the order of the labels.
  """

  name: str
  train: Split
  eval: Split
  decode: Callable[[tf.Tensor], tf.Tensor]
  channels: int
  one_size: bool
  class_names: tuple


def open_source(config):
  """The `Source` that `config.dataset` names; prepares it if it isn't yet.

  Raises:
    UsageError: the dataset or a split is unknown, isn't prepared and can't be
      downloaded, or has no image with 1 or 3 channels and label.
  """
  builder = _prepared_builder(config.dataset, config.data_dir)
  features = dict(getattr(builder.info.features, "items", tuple)())
  if (not isinstance(features.get("image"), tfds.features.Image)
      or not isinstance(features.get("label"), tfds.features.ClassLabel)):
    raise UsageError("dataset must have an image and a label with classes. "
                     f"Received: {config.dataset}")
  stored = features["image"].shape
  if stored[-1] not in (1, 3):
    raise UsageError(f"dataset must have images of 1 or 3 channels. Received: {stored[-1]}")
  channels = config.image_channels or stored[-1]

  def decode(encoded):
    image = tf.image.convert_image_dtype(features["image"].decode_example(encoded), tf.uint8)
    if channels != stored[-1]:
      image = (tf.image.rgb_to_grayscale if channels == 1 else tf.image.grayscale_to_rgb)(image)
    return image

  return Source(
      name=config.dataset, train=_split(builder, "train_split", config.train_split),
      eval=_split(builder, "eval_split", config.eval_split), decode=decode, channels=channels,
      one_size=None not in stored[:2], class_names=tuple(features["label"].names))


def _prepared_builder(name, data_dir):
  try:
    builder = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
  except Exception as error:  # TFDS has no common class for a bad name, version or config.
    raise UsageError(f"dataset must be a name that TensorFlow Datasets knows ({_line(error)}). "
                     f"Received: {name}") from error
  if not builder.is_prepared():
    logger.info("Preparing %s in %s", name, builder.data_dir)
    try:
      # TFDS draws its progress bars on stderr; its closing words on stdout repeat ours.
      with contextlib.redirect_stdout(None):
        builder.download_and_prepare()
    except (Exception, SystemExit) as error:  # Whatever hosts, archives and disks come up with.
      raise UsageError(f"dataset is not prepared in {builder.data_dir} and could not be "
                       f"downloaded or prepared there ({_line(error)}). "
                       f"Received: {name}") from error
  return builder


def _split(builder, flag, expression):
  try:
    info = builder.info.splits[expression]
    num_examples = info.num_examples
  except Exception as error:  # TFDS raises ValueError, KeyError or AssertionError.
    raise UsageError(f"{flag} must be made of {', '.join(sorted(builder.info.splits))}, e.g. "
                     f"train[:10%] or train+test. Received: {expression}") from error
  if not num_examples:
    raise UsageError(f"{flag} must hold images. Received: {expression}, which is empty")
  stored = builder.info.splits.values()
  record_bytes = sum(s.num_bytes for s in stored) / max(1, sum(s.num_examples for s in stored))

  def records():
    wanted = tfds.decode.PartialDecoding(
        {"image": True, "label": True}, decoders={"image": tfds.decode.SkipDecoding()})
    return builder.as_dataset(split=expression, shuffle_files=False, decoders=wanted,
                              read_config=tfds.ReadConfig(try_autocache=False))

  return Split(expression, num_examples, record_bytes, records)


def _line(error):
  """The first line of an exception's message, or its type."""
  return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
