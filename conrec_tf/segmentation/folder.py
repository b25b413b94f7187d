"""Images with masks in folders: `split/images/x.png` with `split/masks/x.png`."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import logging
import os

import numpy as np
import tensorflow as tf

from conrec_tf.config import Config, Data
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.layout import (
  IMAGES,
  MASKS,
  VALID_MASKS,
  Layout,
  layout_beside_masks,
  without_masks,
)
from conrec_tf.data.files.store import Folder
from conrec_tf.data.files.walk import existing_path, image_files, readable, without_ending
from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.records import Numbered, Record, content_digests
from conrec_tf.data.sources.image_files import image_source
from conrec_tf.errors import UsageError, listed
from conrec_tf.segmentation import masks
from conrec_tf.segmentation.mask_classes import class_maps
from conrec_tf.segmentation.mask_table import read_mask_table
from conrec_tf.segmentation.masks import Mask, check_sizes, read_mask, shown_size

logger = logging.getLogger(__name__)


def open_masked_folder(config: Config) -> DatasetSource:
  """Opens a folder of images and masks, for segmentation.

  Image and mask have the same name but for the ending, in folders `images` and `masks` side by
  side. The folder above those is the split; without any, a tenth is held out as test. A file of the
  same name in a folder `fields`, where there is one, says which pixels count: those that aren't 0.
  `config.mask_table` says all of that of folders of any other form.
  Masks are read and checked at once, and held in memory as class maps; an image whose mask can't
  be decoded is a bad image.

  Raises:
    UsageError: an image or a mask stands alone, their sizes differ, a mask holds something else
      than classes, or the images can't be opened; see `open_image_folder`.
  """
  root = existing_path(config.data_dir, config.dataset, "a folder of images and masks")
  files, store = image_files(root), Folder(root)
  table = read_mask_table(config.mask_table, files) if config.mask_table else None
  mask_of, valid_mask_of = (table.mask_of, table.valid_mask_of) if table else paired(files, root)
  contents, bad = _read(store, mask_of)
  valid_masks, bad_valid_masks = _read(store, valid_mask_of)
  bad |= bad_valid_masks
  contents = {name: content for name, content in contents.items() if name not in bad}
  if not contents:
    raise UsageError(
      "masks must be image files that can be decoded. "
      f"Received: {len(bad)} bad ones in {root}, e.g. {bad[min(bad)]}"
    )
  class_names, found_maps = class_maps(
    list(contents.values()), config.mask_classes, config.ignored_mask_value
  )
  maps = dict(zip(contents, found_maps, strict=True))
  for name in sorted(valid_masks.keys() & maps.keys()):
    pixels, file = valid_masks[name].pixels, valid_mask_of[name]
    if pixels.shape[:2] != maps[name].shape:
      raise UsageError(
        f"{VALID_MASKS} must be as large as {MASKS}, {shown_size(maps[name].shape)} for "
        f"{readable(mask_of[name])}. Received: {shown_size(pixels.shape[:2])} in {readable(file)}"
      )
    maps[name][(pixels if pixels.ndim == 2 else pixels.any(axis=-1)) == 0] = masks.IGNORED
  maps = {readable(name): found for name, found in maps.items()}  # as splits name images
  encoded = {name: masks.encoded(found) for name, found in maps.items()}

  layout = table.layout if table else layout_beside_masks
  limit = None if config.mode == "check_data" else config.max_undecodable
  source = image_source(config, store, list(mask_of), layout, limit, bad)
  mask_names = {readable(name): readable(mask) for name, mask in mask_of.items()}
  for split in (source.train, source.eval):
    assert split.names is not None and split.shapes is not None
    check_sizes(
      (name, size, mask_names[name], maps[name])
      for name, size in zip(map(str, split.names), split.shapes[:, :2], strict=True)
    )
  digest = hashlib.sha256(source.digest.encode())
  for name in sorted(encoded):
    digest.update(encoded[name])
  assert source.train.names is not None
  masks.log_balance(class_names, [maps[str(name)] for name in source.train.names])
  return dataclasses.replace(
    source,
    train=repeated(_with_masks(source.train, encoded), config.crops_per_image),
    eval=_with_masks(source.eval, encoded),
    class_names=class_names,
    decode_mask=decode_mask,
    digest=digest.hexdigest(),
  )


def _read(store: Folder, files: Mapping[str, str]) -> tuple[dict[str, Mask], dict[str, str]]:
  """Reads masks of classes, or of which pixels are valid.

  Args:
    store: where they lie.
    files: `{image: file}`.

  Returns:
    `{image: content}`, and of those that can't be read `{image: why}`.
  """
  contents, bad = dict[str, Mask](), dict[str, str]()
  for name, file in files.items():
    try:
      with as_bad_image():
        data = store.content(file)
      contents[name] = read_mask(data, readable(file))
    except BadImage as error:
      bad[name] = f"{file}: {error}"
  return contents, bad


def open_images_to_segment(data: Data) -> DatasetSource:
  """Opens all images below a folder as one split, without labels; masks beside `images` are not.

  Raises:
    UsageError: the images can't be opened; see `open_image_folder`.
  """
  root = existing_path(data.data_dir, data.dataset, "a folder of images")
  files = without_masks(image_files(root))

  def layout(names: list[str]) -> Layout:
    return Layout(np.full(len(names), IMAGES), np.zeros(len(names), np.int64), ())

  return image_source(
    data.with_splits(IMAGES, IMAGES), Folder(root), files, layout, data.max_undecodable
  )


def decode_mask(encoded: tf.Tensor) -> tf.Tensor:
  """Decodes a class map, uint8 `[h, w]`."""
  return tf.io.decode_png(encoded, 1)[..., 0]


def paired(files: Sequence[str], root: str) -> tuple[dict[str, str], dict[str, str]]:
  """Pairs files that lie in folders `images` and `masks` side by side, and perhaps `fields`.

  Args:
    files: paths below the root.
    root: the folder, for messages.

  Returns:
    `{image: mask}`, and of those that have one `{image: valid mask}`.

  Raises:
    UsageError: there are no such folders, or a file of one has none in the other.
  """
  sides: dict[str, dict[tuple[str, str], str]] = {IMAGES: {}, MASKS: {}, VALID_MASKS: {}}
  for name in files:
    folder, base = os.path.split(name)
    above, kind = os.path.split(folder)
    if kind not in sides:
      raise UsageError(
        f"data_dir must hold {IMAGES} and {MASKS} side by side, in splits or not. "
        f"Received: {name} in {root}"
      )
    key = above, without_ending(base)
    if key in sides[kind]:
      raise UsageError(
        f"{kind} must have names that differ in more than their endings. "
        f"Received: {sides[kind][key]} and {name} in {root}"
      )
    sides[kind][key] = name
  for here, there in ((IMAGES, MASKS), (MASKS, IMAGES), (VALID_MASKS, IMAGES)):
    alone = sorted(sides[here][key] for key in sides[here].keys() - sides[there].keys())
    if alone:
      raise UsageError(
        f"data_dir must have a file of the same name in {there} for each in {here}, without: "
        f"{len(alone)} of {len(sides[here])}. Received: {listed(alone)} in {root}"
      )
  images, valid_masks = sorted(sides[IMAGES].items()), sides[VALID_MASKS]
  return (
    {name: sides[MASKS][key] for key, name in images},
    {name: valid_masks[key] for key, name in images if key in valid_masks},
  )


def repeated(split: Split, times: int) -> Split:
  """Returns a split that holds all images so many times, one after the other."""
  index = np.tile(np.arange(split.num_examples), times)
  return dataclasses.replace(split, rows=split.rows.part(index), **vars(split.at(index)))


def _with_masks(split: Split, encoded: dict[str, bytes]) -> Split:
  """Returns a split whose records hold `mask` beside `image`."""
  assert split.names is not None and isinstance(split.rows, Numbered)
  column, lookup = np.array([encoded[str(name)] for name in split.names], object), split.rows.lookup
  with tf.init_scope(), tf.device("CPU:0"):
    files = tf.constant(column)

  def at(number: tf.Tensor) -> Record:
    return {**lookup(number), "mask": tf.gather(files, number)}

  rows = Numbered(split.num_examples, at)
  return dataclasses.replace(split, rows=rows, masks=content_digests(column))
