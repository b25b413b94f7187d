"""Images that are in a dataset more than once: copied, compressed anew, resized, or cropped a bit.

They are told by a perceptual hash (imagehash's `phash`: signs of the low frequencies of a cosine
transform, around their median), which says how alike two images look and not what they show.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from conrec_tf.data.augmentation.reduction import largest_reduction

SIDE = 12  # frequencies of a hash in each direction
BITS = SIDE * SIDE
HASHED_PIXELS = 128  # to which images are reduced beforehand
FARTHEST = 36  # bits in which two hashes of one image differ at most
ROWS_AT_ONCE = 2048


class Duplicate(NamedTuple):
  """An image that looks like an earlier one.

  Attributes:
    place: of the image.
    of: place of the first image that it looks like.
    distance: bits of `BITS` in which their hashes differ.
  """

  place: int
  of: int
  distance: int


def perceptual_hashes(
  images: tf.data.Dataset, decode: Callable[[Any], tf.Tensor], description: str
) -> np.ndarray:
  """Returns the hashes of images, bool `[N, BITS]`, with a progress bar in a terminal.

  Args:
    images: finite `tf.data.Dataset` of what `decode` takes; all of them can be decoded.
    decode: to uint8 or uint16 `[h, w, C]`.
    description: of the progress bar.
  """
  import imagehash
  from PIL import Image

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def small(image: Any) -> tf.Tensor:
    pixels = decode(image)
    grey = tf.reduce_mean(tf.cast(pixels, tf.float32), -1, keepdims=True) / pixels.dtype.max
    size = [HASHED_PIXELS, HASHED_PIXELS]
    return tf.cast(255 * tf.image.resize(grey, size, "area")[..., 0], tf.uint8)

  count = int(images.cardinality())
  hashes = np.zeros([count, BITS], bool)
  reduced = images.map(small, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
  with tqdm(total=count, desc=description, unit=" images", disable=None, leave=False) as bar:
    for place, pixels in enumerate(reduced.as_numpy_iterator()):
      hashes[place] = imagehash.phash(Image.fromarray(pixels), hash_size=SIDE).hash.ravel()
      bar.update()
  return hashes


def hash_reduction(full_size: tf.Tensor) -> tf.Tensor:
  """Returns by how much an image can be reduced before it is hashed."""
  return largest_reduction(full_size, HASHED_PIXELS)


def find_duplicates(hashes: np.ndarray, farthest: int = FARTHEST) -> list[Duplicate]:
  """Returns the images that look like an earlier one, in order.

  Args:
    hashes: bool `[N, BITS]`.
    farthest: bits in which two hashes of one image may differ.
  """
  signs = np.where(hashes, 1, -1).astype(np.float32)
  found = []
  for start in range(0, len(signs), ROWS_AT_ONCE):
    rows = signs[start : start + ROWS_AT_ONCE]
    distances = (BITS - rows @ signs[: start + len(rows)].T) / 2
    is_earlier = np.arange(start, start + len(rows))[:, np.newaxis] > np.arange(start + len(rows))
    near = (distances <= farthest) & is_earlier
    for row in np.flatnonzero(near.any(axis=1)):
      first = int(np.argmax(near[row]))
      found.append(Duplicate(start + int(row), first, int(distances[row, first])))
  return found


def listed_duplicates(duplicates: Sequence[Duplicate], names: Sequence[str]) -> list[str]:
  """Returns a line for each duplicate: its name, the other's, and how alike they are."""
  return [
    f"{names[found.place]} looks like {names[found.of]} "
    + (f"({found.distance} of {BITS} bits differ)" if found.distance else "(the same hash)")
    for found in duplicates
  ]
