"""Images that are in a dataset more than once: copied, compressed anew, resized, or cropped a bit.

They are told by a perceptual hash (imagehash's `phash`: signs of the low frequencies of a cosine
transform, around their median), which says how alike two images look and not what they show.
"""

from collections.abc import Callable, Iterable, Sequence
import hashlib
import logging
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from conrec_tf.data.augmentation.resizing import largest_reduction
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.scan import FileScan
from conrec_tf.data.files.store import FileStore
from conrec_tf.data.images.decoding import DecodeReduced
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

SIDE = 12  # frequencies of a hash in each direction
BITS = SIDE * SIDE
HASHED_PIXELS = 128  # to which images are reduced beforehand
FARTHEST = 36  # bits in which two hashes of one image differ at most
BLOCK = 2048  # hashes that are compared with as many others at a time


class Duplicate(NamedTuple):
  """An image that looks like an earlier one.

  Attributes:
    of: number of the first image that it looks like, or is known to be a copy of.
    distance: bits of `BITS` in which their hashes differ.
    is_copy: whether all pixels are known to be the same.
  """

  image: int
  of: int
  distance: int
  is_copy: bool = False


def hashes_of(source: DatasetSource, split: Split, index: np.ndarray) -> np.ndarray:
  """Returns the `perceptual_hashes` of the images of an index of a split, int `[N]`."""
  images = split.rows.at(index).map(lambda record: record["image"])
  return perceptual_hashes(images, source.decode_for)


def perceptual_hashes(images: tf.data.Dataset, decode: DecodeReduced) -> np.ndarray:
  """Returns the hashes of images, bool `[N, BITS]`, with a progress bar in a terminal.

  Args:
    images: what `decode` takes; all of them can be decoded.
    decode: to uint8 or uint16 `[h, w, C]`; images may be reduced before they are hashed.
  """
  import imagehash
  from PIL import Image

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def small(image: Any) -> tf.Tensor:
    pixels, _ = decode(image, lambda full_size: largest_reduction(full_size, HASHED_PIXELS))
    grey = tf.reduce_mean(tf.cast(pixels, tf.float32), -1, keepdims=True) / pixels.dtype.max
    size = [HASHED_PIXELS, HASHED_PIXELS]
    return tf.cast(255 * tf.image.resize(grey, size, "area")[..., 0], tf.uint8)

  count = int(images.cardinality())
  hashes = np.zeros([count, BITS], bool)
  reduced = images.map(small, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
  with progress_bar("Looking for duplicates", "images", count) as bar:
    for index, pixels in enumerate(reduced.as_numpy_iterator()):
      hashes[index] = imagehash.phash(Image.fromarray(pixels), hash_size=SIDE).hash.ravel()
      bar.update()
  return hashes


def find_duplicates(hashes: np.ndarray, farthest: int = FARTHEST) -> list[Duplicate]:
  """Returns the images that look like an earlier one, in order, by hashes bool `[N, BITS]`.

  All pairs are compared, block by block: no index spares any where two hashes of one image may
  differ in a quarter of their bits. 100,000 take half a minute on two cores, and 50 MB.
  """
  found = []
  with progress_bar("Comparing", "pairs", len(hashes) * (len(hashes) - 1) // 2) as bar:
    for start in range(0, len(hashes), BLOCK):
      end = min(start + BLOCK, len(hashes))
      found += _like_earlier_ones(hashes, start, farthest)
      bar.update((end * (end - 1) - start * (start - 1)) // 2)
  return found


def _like_earlier_ones(hashes: np.ndarray, start: int, farthest: int) -> list[Duplicate]:
  """Returns the images of a block of rows that look like an earlier one, in order."""
  rows = _signs(hashes[start : start + BLOCK])
  images = np.arange(start, start + len(rows))  # of those that look like none so far
  found = []
  for column in range(0, start + 1, BLOCK):
    # Of signs 1 and -1 the product is how many bits agree, less how many differ.
    agreement = rows @ _signs(hashes[column : column + BLOCK]).T
    near = agreement >= BITS - 2 * farthest
    if column == start:
      near &= np.arange(column, column + near.shape[1]) < images[:, np.newaxis]
    has_one = near.any(axis=1)
    for row in np.flatnonzero(has_one):
      first = int(near[row].argmax())
      distance = (BITS - int(agreement[row, first])) // 2
      found.append(Duplicate(int(images[row]), column + first, distance))
    rows, images = rows[~has_one], images[~has_one]
  return sorted(found)


def _signs(hashes: np.ndarray) -> np.ndarray:
  """Returns 1 for a bit that is set and -1 for one that isn't, float32: exact, and fast to add."""
  return 2 * hashes.astype(np.float32) - 1


def of_one_hash(hashes: np.ndarray) -> list[np.ndarray]:
  """Returns the numbers, int and ascending, of images that have one hash, of two or more each.

  Args:
    hashes: bool `[N, BITS]`.
  """
  packed = np.packbits(hashes, axis=1)
  hash_of, counts = np.unique(packed, axis=0, return_inverse=True, return_counts=True)[1:]
  parts = np.split(np.argsort(hash_of.ravel(), kind="stable"), np.cumsum(counts)[:-1])
  return [part for part in parts if len(part) > 1]


def with_copies(
  duplicates: Sequence[Duplicate],
  alike: Sequence[Sequence[int]],
  decoded: Callable[[Iterable[int]], Iterable[tuple[int, np.ndarray]]],
  starts: Sequence[int] = (0,),
) -> list[Duplicate]:
  """Returns duplicates that say which are copies, each of the first image with the same pixels.

  One that looks like an image of an earlier split isn't taken for a copy within its own.

  Args:
    alike: numbers of images that have one hash; see `of_one_hash`.
    decoded: leads from numbers of images to each of them and its pixels, `[h, w, C]`.
    starts: numbers of the first image of each split.
  """
  digests = {
    image: (pixels.shape, pixels.dtype, hashlib.sha256(pixels.tobytes()).digest())
    for image, pixels in decoded({int(image) for images in alike for image in images})
  }
  first = dict[int, int]()
  for images in alike:
    known = dict[tuple, int]()
    for image in map(int, images):
      first[image] = known.setdefault(digests[image], image)

  def told(found: Duplicate) -> Duplicate:
    of = first.get(found.image, found.image)
    splits = np.searchsorted(starts, [of, found.of], side="right")
    if of == found.image or splits[0] != splits[1]:
      return found
    return Duplicate(found.image, of, 0, is_copy=True)

  return list(map(told, duplicates))


def drop_duplicates(store: FileStore, scan: FileScan, decode: DecodeReduced) -> None:
  """Leaves images out of a scan, and says which; hashes are kept with it."""
  good = np.flatnonzero(scan.is_good)
  unknown = good[~scan.perceptual_hashes[good].any(axis=1)]
  if len(unknown):
    locations = store.locations([scan.names[index] for index in unknown])
    hashes = perceptual_hashes(
      tf.data.Dataset.from_tensor_slices(locations),
      lambda location, decode_size: decode(store.read(location), decode_size),
    )
    scan.perceptual_hashes[unknown] = np.packbits(hashes, axis=1)
    scan.save(unknown)
  found = find_duplicates(
    np.unpackbits(scan.perceptual_hashes[good], axis=1, count=BITS).astype(bool)
  )
  for image, other, distance, _ in found:
    likeness = f"{distance} of {BITS} bits differ" if distance else "the same hash"
    names = scan.names[good[image]], scan.names[good[other]]
    logger.info("Left out: %s looks like %s (%s)", *names, likeness)
  if found:
    logger.warning("Left out %d of %d images, which look like earlier ones", len(found), len(good))
  gone = {int(good[duplicate.image]) for duplicate in found}
  scan.reorder([index for index in range(len(scan.names)) if index not in gone])
