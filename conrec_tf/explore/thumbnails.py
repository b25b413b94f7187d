"""Small pictures of images, many in one file, so that a page loads few files."""

from collections.abc import Iterable, Iterator, Sequence
import pathlib

import numpy as np
from PIL import Image
import tensorflow as tf

from conrec_tf.data.augmentation.resizing import largest_reduction
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.records import Record

SIDE = 64  # pixels of a thumbnail
ACROSS = 16  # thumbnails side by side in a file, and as many below each other
IN_A_FILE = ACROSS * ACROSS
QUALITY = 75  # of JPEG


def thumbnails(
  source: DatasetSource, parts: Sequence[tuple[Split, np.ndarray]]
) -> Iterator[np.ndarray]:
  """Yields the central squares of images, uint8 `[64, 64, 3]`.

  Args:
    parts: splits, and int `[n]`, sorted, which of its images.
  """

  def small(record: Record) -> tf.Tensor:
    pixels, _ = source.decode_for(record["image"], lambda size: largest_reduction(size, SIDE))
    shape = tf.shape(pixels)[:2]
    side = tf.reduce_min(shape)
    top = (shape - side) // 2
    square = tf.cast(pixels[top[0] : top[0] + side, top[1] : top[1] + side], tf.float32)
    square = tf.image.resize(square * (255 / pixels.dtype.max), [SIDE, SIDE], "area")
    if source.channels != 3:
      square = tf.repeat(tf.reduce_mean(square, -1, keepdims=True), 3, -1)
    return tf.cast(tf.round(square), tf.uint8)

  small = source.traced_once("thumbnail", small)
  for split, index in parts:
    if len(index):
      images = split.rows.at(index).map(small, tf.data.AUTOTUNE, deterministic=True)
      yield from images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def write_sprites(folder: pathlib.Path, slots: np.ndarray, images: Iterable[np.ndarray]) -> None:
  """Writes thumbnails into `00000.jpg` and so on, 256 in each.

  Args:
    folder: is there.
    slots: int `[N]`, the place of each image among all.
    images: uint8 `[64, 64, 3]`, N of them.
  """
  sheets = dict[int, tuple[np.ndarray, list[int]]]()
  for slot, image in zip(slots.tolist(), images, strict=True):
    number, place = divmod(slot, IN_A_FILE)
    side = SIDE * ACROSS
    sheet, left = sheets.setdefault(
      number,
      (np.zeros([side, side, 3], np.uint8), [min(IN_A_FILE, len(slots) - number * IN_A_FILE)]),
    )
    top, start = (SIDE * each for each in divmod(place, ACROSS))
    sheet[top : top + SIDE, start : start + SIDE] = image
    left[0] -= 1
    if not left[0]:
      Image.fromarray(sheet).save(folder / f"{number:05}.jpg", quality=QUALITY)
      del sheets[number]
