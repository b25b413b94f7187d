"""Batches of segmentation: random crops of images with their classes, and whole images."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from conrec_tf.config import SegmentationExperiment
from conrec_tf.data.augmentation.views import draw_color
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.pipeline import shuffled_batches
from conrec_tf.data.records import Record
from conrec_tf.data.stream import WHOLE, WorkerShard
from conrec_tf.segmentation.crops import make_masked_crop


def segmentation_batches(
  options: SegmentationExperiment,
  source: DatasetSource,
  shard: WorkerShard = WHOLE,
  image_size: int | None = None,
) -> tf.data.Dataset:
  """Returns endless batches of random crops; see `make_masked_crop`.

  Args:
    image_size: height and width of the crops, pixels; None takes `options.image_size`.

  Returns:
    `tf.data.Dataset` of `{image, classes}`: float32 `[B, H, W, C]` in [0, 1] and int32
    `[B, H, W]`.

  Raises:
    UsageError: the batch is larger than the crops of an epoch.
  """
  strength = options.segment_color_jitter
  jitters = (
    options.brightness_jitter,
    options.contrast_jitter,
    options.saturation_jitter,
    options.hue_jitter,
  )

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position: tf.Tensor, record: Record) -> Record:
    stream_seed = tf.stack([tf.constant(options.seed, tf.int64), position])
    crop_seed, color_seed = tf.unstack(tf.random.experimental.stateless_split(stream_seed, 2))
    color = draw_color(
      color_seed,
      probabilities=(options.color_jitter_probability, 0.0, 0.0),
      ranges=[strength * largest for largest in jitters],
    )
    image, classes = make_masked_crop(
      source.decode(record["image"]),
      _classes(source, record),
      crop_seed,
      size=image_size or options.image_size,
      scale_jitter=options.scale_jitter,
      random_flip=options.random_flip,
      random_rotation=options.random_rotation,
      elastic=options.elastic_deformation,
      color=color if strength else None,
    )
    return {"image": image, "classes": classes}

  return shuffled_batches(source, options, augment, shard)


def whole_images(source: DatasetSource, split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields images float32 `[h, w, C]` in [0, 1] and classes uint8 `[h, w]`, in a split's order."""

  @tf.autograph.experimental.do_not_convert
  def prepare(record: Record) -> tuple[tf.Tensor, tf.Tensor]:
    return _image(source, record), _classes(source, record)

  images = split.records().map(prepare, tf.data.AUTOTUNE, deterministic=True).prefetch(1)
  yield from images.as_numpy_iterator()


def images_at(source: DatasetSource, split: Split, index: np.ndarray) -> Iterator[np.ndarray]:
  """Yields images float32 `[h, w, C]` in [0, 1] of an index of a split, in its order."""

  records = split.rows.at(index)
  images = records.map(lambda record: _image(source, record), tf.data.AUTOTUNE, deterministic=True)
  yield from images.prefetch(1).as_numpy_iterator()


@tf.autograph.experimental.do_not_convert
def _image(source: DatasetSource, record: Record) -> tf.Tensor:
  image = source.decode(record["image"])
  return tf.cast(image, tf.float32) / image.dtype.max


def _classes(source: DatasetSource, record: Record) -> tf.Tensor:
  assert source.decode_mask is not None
  return source.decode_mask(record["mask"])
