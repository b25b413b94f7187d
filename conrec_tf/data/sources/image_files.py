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
from conrec_tf.data.dataset import BadFile, Columns, DatasetSource, Split
from conrec_tf.data.duplicates import drop_duplicates
from conrec_tf.data.files.layout import Layout
from conrec_tf.data.files.scan import FileScan, scan_files
from conrec_tf.data.files.store import FileStore
from conrec_tf.data.files.walk import base_name, readable
from conrec_tf.data.images.decoding import (
  Decode,
  DecodeReduced,
  DecodeSize,
  checked_channels,
  decode_image,
  decode_reduced,
  decode_stored,
)
from conrec_tf.data.images.formats import is_dicom
from conrec_tf.data.images.header import says_that_it_fills_bits
from conrec_tf.data.images.inspection import image_describer
from conrec_tf.data.records import evenly_over
from conrec_tf.data.splits import listed_split
from conrec_tf.errors import UsageError, as_usage_error

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
  column: str = "",
) -> DatasetSource:
  """Makes a dataset of image files.

  Args:
    layout: from names to what else is known of the files.
    max_undecodable: how many may fail to decode, as the option says it; None for any number.
    bad_companions: `{name: why}` of images that are bad as what belongs to them, a mask, is.
    column: of the images, where what lies at the store's path has several under the same names.

  Raises:
    UsageError: none or too few can be decoded, they differ in their number of channels, or a
      split isn't there.
  """
  scan, bad = _scanned(data, store, names, max_undecodable, bad_companions or {}, column)
  channels, stored, upright, reduced = _decoding(data, scan)
  if data.drop_duplicates:
    drop_duplicates(store, scan, reduced)
  found = layout(scan.names)
  locations, read = store.locations(scan.names), store.read
  if data.cache_dataset:
    logger.info("Keeping the images in memory: %.0f MB", scan.sizes.clip(0).sum() / 1e6)
    locations, read = _contents(store, scan), tf.identity
  good = np.flatnonzero(scan.is_good)
  looked_at = [scan.names[index] for index in good[evenly_over(len(good), LOOKED_AT)]]
  _warn_of_dark_or_white_images(store, stored, looked_at, data.image_bits)
  split = _splits(scan, found, locations)
  return DatasetSource(
    name=os.path.basename(os.path.abspath(store.path)),
    channels=channels,
    decode=lambda image: upright(read(image)),
    decode_reduced=(lambda image, decode_size: reduced(read(image), decode_size))
    if data.scaled_decoding
    else None,
    train=split("train_split", data.train_split),
    eval=split("eval_split", data.eval_split),
    one_size=len(np.unique(scan.shapes[scan.is_good][:, :2], axis=0)) == 1,
    class_names=found.class_names,
    multi_label=found.labels.ndim == 2,
    bad=bad,
    digest=_digest(scan, found),
    changed=None if data.cache_dataset else lambda: [*map(readable, scan.changed(store))],
  )


def _scanned(
  data: Data,
  store: FileStore,
  names: list[str],
  max_undecodable: str | None,
  bad_companions: Mapping[str, str],
  column: str,
) -> tuple[FileScan, tuple[BadFile, ...]]:
  """Looks at all files, and checks that enough can be decoded; see `image_source`."""
  # Images that were unpacked are what the window made of a file; others may be bad without it.
  variant = f"{data.dicom_frames} {data.dicom_window}".strip()
  decoded_as = data.image_bits, data.image_channels
  if data.drop_duplicates and any(decoded_as):  # hashes are of what is decoded
    variant += f" {decoded_as}"
  variant += f" {column}" if column else ""
  describe = image_describer(data.max_pixels, data.dicom_window, data.dicom_frames)
  scan = scan_files(store, names, describe, data.max_pixels, variant)
  for index, name in enumerate(scan.names):
    if name in bad_companions and scan.is_good[index]:
      scan.mark_bad(index, bad_companions[name], passes=True)
  bad = tuple(BadFile(name, scan.errors[name]) for name in scan.names if name in scan.errors)
  if len(bad) == len(scan.names):
    received = f"{len(bad)} bad ones in {store.path}, e.g. {bad[0]}" if bad else store.path
    raise UsageError(f"data_dir must hold images that can be decoded. Received: {received}")
  if max_undecodable is not None:
    _check_count(max_undecodable, bad, len(scan.names))
  return scan, bad


def _contents(store: FileStore, scan: FileScan) -> np.ndarray:
  """Reads the good files of a scan, object `[N]`."""
  contents = np.full(len(scan.names), b"", object)
  for index in np.flatnonzero(scan.is_good):
    received = f"{scan.names[index]} in {store.path}"
    with as_usage_error("data_dir must hold files that can be read", received, OSError):
      contents[index] = store.content(scan.names[index])
  return contents


def _decoding(data: Data, scan: FileScan) -> tuple[int, Decode, Decode, DecodeReduced]:
  """Returns how many channels all files are decoded to, and what does so.

  These do as `decode_stored`, `decode_image` and `decode_reduced`, to the same bits for all files.
  """
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
  stored = functools.partial(decode_stored, **options)

  def reduced(encoded: tf.Tensor, decode_size: DecodeSize) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_reduced(encoded, decode_size, stored, channels, data.max_pixels, as_uint16)

  return channels, stored, functools.partial(decode_image, **options), reduced


def _splits(scan: FileScan, layout: Layout, locations: np.ndarray) -> Callable[[str, str], Split]:
  """Returns what makes splits of a flag and its expression; see `listed_split`."""
  rows = {"image": locations} | ({"label": layout.labels} if layout.class_names else {})
  columns = Columns(
    shapes=scan.shapes,
    names=np.array([readable(name) for name in scan.names], object),
    groups=layout.groups,
    labels=(lambda: layout.labels) if layout.class_names else None,
    content=scan.digests,
  )
  index_of = {name: np.flatnonzero(layout.splits == name) for name in np.unique(layout.splits)}
  return lambda flag, expression: listed_split(flag, expression, rows, columns, index_of)


def _channels(data: Data, scan: FileScan) -> int:
  """Returns how many channels the network gets: 1 or 3, or as many as all images have."""
  good = np.flatnonzero(scan.is_good)
  examples = {int(scan.shapes[index, 2]): scan.names[index] for index in good[::-1]}
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
  ranges, white, has_window = [], 0, False
  for name in names:
    with contextlib.suppress(Exception):  # what goes wrong is said where the image is needed
      content = store.content(name)
      image = decode(tf.constant(content))
      ranges.append((int(tf.reduce_min(image)), int(tf.reduce_max(image))))
      white = image.dtype.max
      has_window |= is_dicom(content) or says_that_it_fills_bits(content)
  if not ranges:
    return
  lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
  of_window = "DICOM and NIfTI are shown by their own window, or by --dicom_window=centre,width"
  if highest <= DARK * white:
    logger.warning(
      "Images are almost black: in %d of them values go to %d of %d, e.g. in %s. %s",
      len(ranges),
      highest,
      white,
      names[0],
      of_window if has_window else "If files of 16 bits use 12, say --image_bits=12",
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
      of_window if has_window else hint,
    )


def _digest(scan: FileScan, layout: Layout) -> str:
  """Returns what stays the same when a folder moves: names, sizes, splits and labels.

  Where there are groups, they are in it, and where images can't be decoded, which ones.
  """
  digest = hashlib.sha256(repr(layout.class_names).encode())
  for name, size, split, label in zip(
    scan.names, scan.sizes, layout.splits, layout.labels, strict=True
  ):
    shown = "".join(map(str, np.atleast_1d(label)))
    digest.update(os.fsencode(f"{base_name(name)}\0{size}\0{split}\0{shown}\0"))
  if layout.groups is not None:
    digest.update(repr(["groups", *layout.groups.tolist()]).encode())
  if not scan.is_good.all():
    digest.update(repr(["bad", *np.flatnonzero(~scan.is_good).tolist()]).encode())
  return digest.hexdigest()


def _check_count(limit: str, bad: Sequence[BadFile], count: int) -> None:
  """Raises UsageError when there are more bad images than the limit allows."""
  allowed = max(
    int(count * float(text.rstrip("% ")) / 100) if "%" in text else int(text)
    for text in limit.split(",")
  )
  for file in bad:
    logger.warning("Bad image, the next one stands in for it: %s", file)
  if len(bad) > allowed:
    raise UsageError(
      f"data_dir must hold at most max_undecodable={limit} images that can't be "
      f"decoded, {allowed} of {count}. Received: {len(bad)}, e.g. {bad[0]}"
    )
