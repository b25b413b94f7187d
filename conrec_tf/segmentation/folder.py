"""Images with masks in folders: `split/images/x.png` with `split/masks/x.png`."""

from collections.abc import Mapping
import dataclasses
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Data, SegmentationExperiment
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.layout import IMAGES, MASKS, VALID_MASKS, without_masks
from conrec_tf.data.files.store import Folder
from conrec_tf.data.files.walk import existing_path, image_files, readable
from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.records import content_digests
from conrec_tf.data.sources.image_files import image_source
from conrec_tf.data.sources.image_folder import open_files
from conrec_tf.errors import UsageError
from conrec_tf.segmentation import masks
from conrec_tf.segmentation.mask_classes import class_maps, counted_pixels
from conrec_tf.segmentation.masks import Mask, check_size, read_mask, shown_size
from conrec_tf.segmentation.pairs import paired_by_folders, paired_by_table


def open_masked_folder(options: SegmentationExperiment) -> DatasetSource:
  """Opens a folder of images and masks, for segmentation.

  Image and mask have the same name but for the ending, in folders `images` and `masks` side by
  side. The folder above those is the split; without any, a tenth is held out as test. A file of the
  same name in a folder `fields`, where there is one, says which pixels count: those that aren't 0.
  `mask_table` says all of that of folders of any other form.
  Masks are read and checked at once, and held in memory as class maps; an image whose mask can't
  be decoded is a bad image.

  Raises:
    UsageError: an image or a mask stands alone, their sizes differ, a mask holds something else
      than classes, or the images can't be opened; see `image_source`.
  """
  root = existing_path(options.data_dir, options.dataset, "a folder of images and masks")
  files, store, table = image_files(root), Folder(root), options.mask_table
  pairs = paired_by_table(table, files) if table else paired_by_folders(files, root)
  contents, bad = _read(store, pairs.masks, options.max_pixels)
  valid_masks, bad_valid_masks = _read(store, pairs.valid_masks, options.max_pixels)
  bad |= bad_valid_masks
  contents = {name: content for name, content in contents.items() if name not in bad}
  if not contents:
    raise UsageError(
      "masks must be image files that can be decoded. "
      f"Received: {len(bad)} bad ones in {root}, e.g. {bad[min(bad)]}"
    )
  class_names, class_map_list = class_maps(
    list(contents.values()), options.mask_classes, options.ignored_mask_value
  )
  maps = dict(zip(contents, class_map_list, strict=True))
  for name in sorted(valid_masks.keys() & maps.keys()):
    pixels, file = valid_masks[name].pixels, pairs.valid_masks[name]
    if pixels.shape[:2] != maps[name].shape:
      raise UsageError(
        f"{VALID_MASKS} must be as large as {MASKS}, {shown_size(maps[name].shape)} for "
        f"{readable(pairs.masks[name])}. "
        f"Received: {shown_size(pixels.shape[:2])} in {readable(file)}"
      )
    maps[name][~counted_pixels(valid_masks[name])] = masks.IGNORED
  maps = {readable(name): maps[name] for name in sorted(maps, key=readable)}  # as splits name them

  limit = None if options.mode == "check_data" else options.max_undecodable
  source = image_source(options, store, list(pairs.masks), pairs.layout, limit, bad)
  mask_names = {readable(name): readable(mask) for name, mask in pairs.masks.items()}
  for split in (source.train, source.eval):
    assert split.names is not None and split.shapes is not None
    for name, size in zip(map(str, split.names), split.shapes[:, :2], strict=True):
      check_size(name, size, mask_names[name], maps[name])
  return with_masks(source, class_names, maps, options.crops_per_image)


def with_masks(
  source: DatasetSource, class_names: tuple[str, ...], maps: Mapping[str, np.ndarray], crops: int
) -> DatasetSource:
  """Returns a dataset whose records hold `mask`, a class map as PNG, beside `image`.

  Args:
    source: the dataset; its splits name their images.
    maps: `{image: class map}`, uint8 `[h, w]`, in the order that the dataset is told by.
    crops: how often the training split holds each image.
  """
  encoded = {name: masks.encoded(class_map) for name, class_map in maps.items()}
  train, test = (_with_masks(split, encoded) for split in (source.train, source.eval))
  masks.log_balance(class_names, *(_of_images(split, maps) for split in (train, test)))
  index = np.tile(np.arange(train.num_examples), crops)
  return dataclasses.replace(
    source,
    train=dataclasses.replace(train, rows=train.rows.part(index), **vars(train.at(index))),
    eval=test,
    class_names=class_names,
    decode_mask=decode_mask,
    digest=hashlib.sha256(source.digest.encode() + b"".join(encoded.values())).hexdigest(),
  )


def _read(
  store: Folder, files: Mapping[str, str], max_pixels: int
) -> tuple[dict[str, Mask], dict[str, str]]:
  """Reads masks of classes, or of which pixels are valid.

  Args:
    files: `{image: file}`.
    max_pixels: larger ones can't be read.

  Returns:
    `{image: content}`, and of those that can't be read `{image: why}`.
  """
  contents, bad = dict[str, Mask](), dict[str, str]()
  for name, file in files.items():
    try:
      with as_bad_image():
        data = store.content(file)
      contents[name] = read_mask(data, readable(file), max_pixels)
    except BadImage as error:
      bad[name] = f"{file}: {error}"
  return contents, bad


def open_images_to_segment(data: Data) -> DatasetSource:
  """Opens all images below a folder as one split, without labels; masks beside `images` are not.

  Raises:
    UsageError: the images can't be opened; see `image_source`.
  """
  root = existing_path(data.data_dir, data.dataset, "a folder of images")
  return open_files(data, root, without_masks(image_files(root)), IMAGES)


def decode_mask(encoded: tf.Tensor) -> tf.Tensor:
  """Decodes a class map, uint8 `[h, w]`."""
  return tf.io.decode_png(encoded, 1)[..., 0]


def _with_masks(split: Split, encoded: dict[str, bytes]) -> Split:
  """Returns a split whose records hold `mask` beside `image`."""
  column = np.array(_of_images(split, encoded), object)
  rows = split.rows.with_column("mask", column)
  return dataclasses.replace(split, rows=rows, masks=content_digests(column))


def _of_images(split: Split, known: Mapping[str, Any]) -> list[Any]:
  """Returns what is known by name of the images of a split, in its order."""
  assert split.names is not None
  return [known[str(name)] for name in split.names]
