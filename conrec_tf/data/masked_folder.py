"""Images with masks in folders: `split/images/x.png` with `split/masks/x.png`."""

from collections.abc import Sequence
import dataclasses
import hashlib
import logging
import os

import numpy as np
import tensorflow as tf

from conrec_tf.config import Config, UsageError, listed
from conrec_tf.data import masks
from conrec_tf.data.dataset import DatasetSource, Record, Split, existing_path
from conrec_tf.data.file_store import Folder
from conrec_tf.data.folder_layout import Layout
from conrec_tf.data.folder_walk import image_files
from conrec_tf.data.image_files import image_source
from conrec_tf.data.image_header import orientation
from conrec_tf.data.mask_table import layout_of, read_mask_table

logger = logging.getLogger(__name__)

IMAGES, MASKS, FIELDS = "images", "masks", "fields"


def open_masked_folder(config: Config) -> DatasetSource:
  """Opens a folder of images and masks, for segmentation.

  Image and mask have the same name but for the ending, in folders `images` and `masks` side by
  side. The folder above those is the split; without any, a tenth is held out as test. A file of the
  same name in a folder `fields`, where there is one, says which pixels count: those that aren't 0.
  `config.mask_table` says all of that of folders of any other form.
  Masks are read and checked at once, and held in memory as class maps.

  Raises:
    UsageError: an image or a mask stands alone, their sizes differ, a mask holds something else
      than classes, or the images can't be opened; see `open_image_folder`.
  """
  root = existing_path(config.data_dir, config.dataset, "a folder of images and masks")
  files, store = image_files(root), Folder(root)
  table = read_mask_table(config.mask_table, files) if config.mask_table else None
  mask_of, field_of = (table.mask_of, table.field_of) if table else paired(files, root)
  contents = {name: masks.read_mask(store.content(mask), mask) for name, mask in mask_of.items()}
  ignored = config.ignored_mask_value
  read = ((mask_of[name], contents[name]) for name in mask_of)
  classes = masks.mask_classes(config.mask_classes, read, ignored)
  maps = {
    name: masks.class_map(content, classes, ignored, mask_of[name])
    for name, content in contents.items()
  }
  for name, field in field_of.items():
    seen = masks.read_mask(store.content(field), field)
    if seen.shape[:2] != maps[name].shape:
      raise UsageError(
        f"{FIELDS} must be as large as {MASKS}, {_size(maps[name])} for {mask_of[name]}. "
        f"Received: {_size(seen)} in {field}"
      )
    maps[name][(seen if seen.ndim == 2 else seen.any(axis=-1)) == 0] = masks.IGNORED
  encoded = {name: masks.encoded(found) for name, found in maps.items()}

  layout = table.layout if table else unlabelled_layout
  source = image_source(config, store, list(mask_of), layout)
  for split in (source.train, source.eval):
    _check_sizes(split, maps, mask_of, store)
  digest = hashlib.sha256(source.digest.encode())
  for name in sorted(encoded):
    digest.update(encoded[name])
  assert source.train.names is not None
  masks.log_balance(classes.names, [maps[str(name)] for name in source.train.names])
  return dataclasses.replace(
    source,
    train=repeated(_with_masks(source.train, encoded), config.crops_per_image),
    eval=_with_masks(source.eval, encoded),
    class_names=classes.names,
    decode_mask=decode_mask,
    digest=digest.hexdigest(),
  )


def open_images_to_segment(config: Config) -> DatasetSource:
  """Opens all images below a folder as one split, without labels; masks beside `images` are not.

  Raises:
    UsageError: the images can't be opened; see `open_image_folder`.
  """
  root = existing_path(config.data_dir, config.dataset, "a folder of images")
  files = without_masks(image_files(root))
  config = dataclasses.replace(config, train_split=IMAGES, eval_split=IMAGES)

  def layout(names: list[str]) -> Layout:
    return Layout(np.full(len(names), IMAGES), np.zeros(len(names), np.int64), ())

  return image_source(config, Folder(root), files, layout)


def without_masks(files: Sequence[str]) -> list[str]:
  """Returns files but for those in folders `masks` and `fields` beside `images`, as they were."""
  kinds = [os.path.basename(os.path.dirname(name)) for name in files]
  if not {IMAGES, MASKS} <= set(kinds) <= {IMAGES, MASKS, FIELDS}:
    return list(files)
  return [name for name, kind in zip(files, kinds) if kind == IMAGES]


def decode_mask(encoded: tf.Tensor) -> tf.Tensor:
  """Decodes a class map, uint8 `[h, w]`."""
  return tf.io.decode_png(encoded, 1)[..., 0]


def paired(files: Sequence[str], root: str) -> tuple[dict[str, str], dict[str, str]]:
  """Pairs files that lie in folders `images` and `masks` side by side, and perhaps `fields`.

  Args:
    files: paths below the root.
    root: the folder, for messages.

  Returns:
    `{image: mask}`, and of those that have one `{image: field}`.

  Raises:
    UsageError: there are no such folders, or a file of one has none in the other.
  """
  sides: dict[str, dict[tuple[str, str], str]] = {IMAGES: {}, MASKS: {}, FIELDS: {}}
  for name in files:
    folder, base = os.path.split(name)
    above, kind = os.path.split(folder)
    if kind not in sides:
      raise UsageError(
        f"data_dir must hold {IMAGES} and {MASKS} side by side, in splits or not. "
        f"Received: {name} in {root}"
      )
    key = above, os.path.splitext(base)[0]
    if key in sides[kind]:
      raise UsageError(
        f"{kind} must have names that differ in more than their endings. "
        f"Received: {sides[kind][key]} and {name} in {root}"
      )
    sides[kind][key] = name
  for here, there in ((IMAGES, MASKS), (MASKS, IMAGES), (FIELDS, IMAGES)):
    alone = sorted(sides[here][key] for key in sides[here].keys() - sides[there].keys())
    if alone:
      raise UsageError(
        f"data_dir must have a file of the same name in {there} for each in {here}, without: "
        f"{len(alone)} of {len(sides[here])}. Received: {listed(alone)} in {root}"
      )
  images, fields = sorted(sides[IMAGES].items()), sides[FIELDS]
  return (
    {name: sides[MASKS][key] for key, name in images},
    {name: fields[key] for key, name in images if key in fields},
  )


def unlabelled_layout(names: Sequence[str]) -> Layout:
  """Returns the split of each image, the folder above `images`, and no labels."""
  return layout_of([os.path.split(os.path.dirname(name))[0] for name in names])


def _check_sizes(
  split: Split, maps: dict[str, np.ndarray], mask_of: dict[str, str], store: Folder
) -> None:
  """Raises UsageError where a mask isn't of the size of its image as it is to be seen."""
  assert split.names is not None and split.shapes is not None
  for name, shape in zip(split.names, split.shapes):
    height, width = shape[:2]
    if orientation(tf.constant(store.content(str(name)))) >= 5:
      height, width = width, height
    if maps[str(name)].shape != (height, width):
      raise UsageError(
        f"masks must be as large as their images, {height} x {width} for {name}. "
        f"Received: {_size(maps[str(name)])} in {mask_of[str(name)]}"
      )


def repeated(split: Split, times: int) -> Split:
  """Returns a split that holds all images so many times, one after the other."""
  lookup, contents = split.lookup, split.contents
  assert lookup is not None and split.names is not None
  count = split.num_examples
  return dataclasses.replace(
    split,
    num_examples=count * times,
    records=lambda: split.records().repeat(times),
    lookup=lambda place: lookup(place % count),
    names=np.tile(split.names, times),
    groups=None if split.groups is None else np.tile(split.groups, times),
    shapes=None if split.shapes is None else np.tile(split.shapes, (times, 1)),
    stored=None if split.stored is None else np.tile(split.stored, times),
    contents=contents and (lambda: np.tile(contents(), times)),
  )


def _size(mask: np.ndarray) -> str:
  return " x ".join(map(str, mask.shape[:2]))


def _with_masks(split: Split, encoded: dict[str, bytes]) -> Split:
  """Returns a split whose records hold `mask` beside `image`."""
  assert split.names is not None and split.lookup is not None
  column, lookup = np.array([encoded[str(name)] for name in split.names], object), split.lookup
  with tf.init_scope(), tf.device("CPU:0"):
    files = tf.constant(column)

  def at(place: tf.Tensor) -> Record:
    return {**lookup(place), "mask": tf.gather(files, place)}

  return dataclasses.replace(
    split,
    records=lambda: tf.data.Dataset.range(split.num_examples).map(at),
    lookup=at,
  )
