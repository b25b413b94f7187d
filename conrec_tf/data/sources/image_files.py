"""A dataset of image files, wherever their bytes come from."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import functools
import hashlib
import logging
import os
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Data
from conrec_tf.data.dataset import DatasetSource, log_cache_size
from conrec_tf.data.files.duplicates import drop_duplicates
from conrec_tf.data.files.layout import Layout
from conrec_tf.data.files.scan import FileScan, scan_files
from conrec_tf.data.files.store import FileStore, content
from conrec_tf.data.files.walk import base_name, readable
from conrec_tf.data.images.channels import checked_channels
from conrec_tf.data.images.decoding import (
  Decode,
  DecodeSize,
  decode_image,
  decode_reduced,
  decode_stored,
)
from conrec_tf.data.images.inspection import image_describer
from conrec_tf.data.split_expressions import listed_split
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)

LOOKED_AT = 16  # images
DARK = 1 / 8  # of white; as far from white is almost white


def image_source(
  data: Data,
  store: FileStore,
  names: list[str],
  layout: Callable[[list[str]], Layout],
  max_undecodable: str | None,
  bad_companions: Mapping[str, str] | None = None,
) -> DatasetSource:
  """Makes a dataset of image files.

  Args:
    data: the options of the images.
    store: where the files lie.
    names: of the files.
    layout: from names to what else is known of the files.
    max_undecodable: how many may fail to decode, as the option says it; None for any number.
    bad_companions: `{name: why}` of images that are bad as what belongs to them, a mask, is.

  Raises:
    UsageError: none or too few can be decoded, they differ in their number of channels, or a
      split isn't there.
  """
  # Images that were unpacked from a file are what the window made of it.
  variant = f"{data.dicom_frames} {data.dicom_window}" if store.order else data.dicom_frames
  describe = image_describer(data.max_pixels, data.dicom_frames)
  scan = scan_files(store, names, describe, data.max_pixels, variant)
  for place, name in enumerate(scan.names):
    if bad_companions and name in bad_companions and scan.is_good[place]:
      scan.mark_bad(place, bad_companions[name], passes=True)
  bad = tuple(f"{name}: {scan.errors[name]}" for name in scan.names if name in scan.errors)
  if len(bad) == len(scan.names):
    received = f"{len(bad)} bad ones in {store.path}, e.g. {bad[0]}" if bad else store.path
    raise UsageError(f"data_dir must hold images that can be decoded. Received: {received}")
  if max_undecodable is not None:
    _check_count(max_undecodable, bad, len(scan.names))

  channels = _channels(data, scan)
  as_uint16 = bool(np.any(scan.shapes[:, 3] > 8))
  options: dict[str, Any] = dict(
    channels=channels,
    bits=data.image_bits,
    max_pixels=data.max_pixels,
    as_uint16=as_uint16,
    libraries=True,
    dicom_window=data.dicom_window,
    dicom_frames=data.dicom_frames,
  )
  stored, decode = (
    functools.partial(function, **options) for function in (decode_stored, decode_image)
  )

  def reduced(encoded: tf.Tensor, decode_size: DecodeSize) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_reduced(encoded, decode_size, stored, channels, data.max_pixels, as_uint16)

  if data.drop_duplicates:
    drop_duplicates(store, scan, reduced)
  names, shapes, is_good = scan.names, scan.shapes, scan.is_good
  splits, labels, class_names, groups = layout(names)
  images, read = store.locations(names), store.read
  if data.cache_dataset:
    log_cache_size("the images", int(scan.sizes.clip(0).sum()))
    contents = [
      content(store, name) if good else b"" for name, good in zip(names, is_good, strict=True)
    ]
    images, read = np.array(contents, object), tf.identity
  good = shapes[is_good]
  looked_at = [names[place] for place in np.flatnonzero(is_good)[:LOOKED_AT]]
  _warn_of_dark_or_white_images(store, stored, looked_at, data.image_bits)
  places = {
    name: _substituted(np.flatnonzero(splits == name), is_good) for name in np.unique(splits)
  }
  texts = np.array([readable(name) for name in names], object)
  columns = (
    None if values is None else {name: values[index] for name, index in places.items()}
    for values in (images, labels if class_names else None, shapes, texts, groups, scan.digests)
  )
  by_image, by_label, by_shape, by_name, by_group, by_content = columns
  assert by_image is not None and by_shape is not None
  arguments = (by_image, by_label, by_shape, by_name, by_group, places, by_content)
  return DatasetSource(
    name=os.path.basename(os.path.abspath(store.path)),
    channels=channels,
    decode=lambda image: decode(read(image)),
    decode_reduced=(lambda image, decode_size: reduced(read(image), decode_size))
    if data.scaled_decoding
    else None,
    train=listed_split("train_split", data.train_split, *arguments),
    eval=listed_split("eval_split", data.eval_split, *arguments),
    one_size=len(np.unique(good[:, :2], axis=0)) == 1,
    class_names=class_names,
    multi_label=labels.ndim == 2,
    bad=bad,
    digest=_digest(scan, Layout(splits, labels, class_names, groups)),
  )


def _channels(data: Data, scan: FileScan) -> int:
  """Returns how many channels the network gets: 1 or 3, or as many as all images have."""
  places = np.flatnonzero(scan.is_good)
  examples = {int(scan.shapes[place, 2]): scan.names[place] for place in places[::-1]}
  if set(examples) <= {1, 3}:
    return data.image_channels or max(examples)
  if len(examples) > 1:
    found = ", ".join(f"{count} in {name}" for count, name in sorted(examples.items()))
    raise UsageError(
      f"data_dir must hold images of grey or RGB, or of one number of channels. Received: {found}"
    )
  return checked_channels(data.image_channels, examples.popitem()[0])


def _warn_of_dark_or_white_images(
  store: FileStore, decode: Decode, names: Sequence[str], bits: int
) -> None:
  """Looks at some images; where all are dark or white, values don't fill their files' range."""
  ranges, white = [], 0
  for name in names:
    with contextlib.suppress(Exception):  # what goes wrong is said where the image is needed
      image = decode(tf.constant(store.content(name)))
      ranges.append((int(tf.reduce_min(image)), int(tf.reduce_max(image))))
      white = image.dtype.max
  if not ranges:
    return
  lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
  if highest <= DARK * white:
    logger.warning(
      "Images are almost black: in %d of them values go to %d of %d, e.g. in %s. If files of 16 "
      "bits use 12, say --image_bits=12",
      len(ranges),
      highest,
      white,
      names[0],
    )
  elif lowest >= (1 - DARK) * white:
    hint = (
      f"Files of 16 bits may use more than --image_bits={bits}"
      if bits
      else "If files of 16 bits use 12 and 0 is white, say --image_bits=12"
    )
    logger.warning(
      "Images are almost white: in %d of them values go from %d to %d of %d, e.g. in %s. %s",
      len(ranges),
      lowest,
      highest,
      white,
      names[0],
      hint,
    )


def _digest(scan: FileScan, layout: Layout) -> str:
  """Returns what stays the same when a folder moves: names, sizes, splits and labels.

  Where there are groups, they are in it, and where images can't be decoded, which ones.
  """
  digest = hashlib.sha256(repr(layout.class_names).encode())
  for name, size, split, label in zip(
    scan.names, scan.sizes, layout.splits, layout.labels, strict=True
  ):
    digest.update(os.fsencode(f"{base_name(name)}\0{size}\0{split}\0{_shown(label)}\0"))
  if layout.groups is not None:
    digest.update(repr(["groups", *layout.groups.tolist()]).encode())
  if not scan.is_good.all():
    digest.update(repr(["bad", *np.flatnonzero(~scan.is_good).tolist()]).encode())
  return digest.hexdigest()


def _shown(label: np.ndarray) -> str:
  """Returns a class number, or several labels as 0 and 1, as text."""
  return str(label) if not label.ndim else "".join(map(str, label))


def _substituted(indices: np.ndarray, is_good: np.ndarray) -> np.ndarray:
  """Replaces each bad image by the next good one of the split; after the last comes the first."""
  good = indices[is_good[indices]]
  if not len(good):
    return good
  place = np.searchsorted(good, indices)
  return good[place % len(good)]


def _check_count(limit: str, bad: Sequence[str], count: int) -> None:
  """Raises UsageError when there are more bad images than the limit allows."""
  allowed = max(
    int(count * float(text.rstrip("% ")) / 100) if "%" in text else int(text)
    for text in limit.split(",")
  )
  for line in bad:
    logger.warning("Bad image, the next one stands in for it: %s", line)
  if len(bad) > allowed:
    raise UsageError(
      f"data_dir must hold at most max_undecodable={limit} images that can't be "
      f"decoded, {allowed} of {count}. Received: {len(bad)}, e.g. {bad[0]}"
    )
