"""Datasets of TensorFlow Datasets with masks, for segmentation."""

from collections.abc import Sequence
import dataclasses
import itertools

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from conrec_tf.config import SegmentationExperiment
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.images.by_pillow import opened
from conrec_tf.data.images.header import orientation, upright_size
from conrec_tf.data.records import InMemory, content_digests
from conrec_tf.data.sources.tfds import open_tfds, prepared_builder
from conrec_tf.data.summary import failing_images_named
from conrec_tf.errors import UsageError, as_usage_error
from conrec_tf.segmentation.folder import with_masks
from conrec_tf.segmentation.mask_classes import class_maps
from conrec_tf.segmentation.masks import check_size, read_mask

DECODABLE = "dataset must hold images and masks that can be decoded"
Example = tuple[str, bytes, bytes]  # a name, an encoded image, an encoded mask


def open_masked_tfds(options: SegmentationExperiment) -> DatasetSource:
  """Opens a dataset of TFDS whose records have an image and a mask, both held in memory encoded.

  Raises:
    UsageError: there is no such dataset or feature, sizes differ, or a mask holds something else
      than classes; see `open_tfds`.
  """
  key = options.mask_key
  features = dict(prepared_builder(options.dataset, options.data_dir).info.features.items())
  if not isinstance(features.get(key), tfds.features.Image):
    there = [
      name
      for name, feature in features.items()
      if isinstance(feature, tfds.features.Image) and name != options.image_key
    ]
    raise UsageError(
      "dataset must have masks, for train_mode=segment. "
      f"Received: {options.dataset} without {key}; for --mask_key there is "
      f"{', '.join(there) or 'nothing'}"
    )
  source = open_tfds(options, mask_key=key)
  with failing_images_named(source):
    examples = {split.name: _examples(split) for split in (source.train, source.eval)}
  read = []
  for name, _, mask in itertools.chain.from_iterable(examples.values()):
    with as_usage_error(DECODABLE, name, BadImage):
      read.append(read_mask(mask, name, options.max_pixels))
  class_names, class_map_list = class_maps(read, options.mask_classes, options.ignored_mask_value)
  maps = {mask.name: class_map for mask, class_map in zip(read, class_map_list, strict=True)}
  for name, image, _ in itertools.chain.from_iterable(examples.values()):
    check_size(name, _upright_size(name, image, options.max_pixels), f"its {key}", maps[name])
  train, test = (
    _in_memory(split.name, examples[split.name]) for split in (source.train, source.eval)
  )
  source = dataclasses.replace(source, train=train, eval=test, decode_reduced=None)
  return with_masks(source, class_names, maps, options.crops_per_image)


def _examples(split: Split) -> list[Example]:
  """Returns what a split holds; records have no names but their numbers."""
  records = split.records().as_numpy_iterator()
  return [
    (f"{split.name} {number}", record["image"], record["mask"])
    for number, record in enumerate(records)
  ]


def _upright_size(name: str, image: bytes, max_pixels: int) -> tuple[int, int]:
  """Returns height and width of an encoded image as it is to be seen."""
  with as_usage_error(DECODABLE, name, BadImage), as_bad_image():
    with opened(image, max_pixels) as file:
      size = tf.constant([file.height, file.width])
  height, width = upright_size(size, orientation(tf.constant(image))).numpy().tolist()
  return height, width


def _in_memory(name: str, examples: Sequence[Example]) -> Split:
  """Returns a split of encoded images in memory, which have names."""
  images = np.array([image for _, image, _ in examples], object)
  names = np.array([example for example, *_ in examples], object)
  return Split(name, InMemory({"image": images}), names=names, content=content_digests(images))
