"""Crops of an image and its classes for segmentation: geometry for both, colour for one."""

import math

import tensorflow as tf

from conrec_tf.data.augmentation.color import apply_color
from conrec_tf.segmentation.masks import IGNORED

ELASTIC_POINTS = 4  # a side, of the displacements that are interpolated


def make_masked_crop(
  image: tf.Tensor,
  classes: tf.Tensor,
  seed: tf.Tensor,
  *,
  size: int,
  scale_jitter: float,
  random_flip: str,
  random_rotation: float,
  elastic: float,
  color: dict[str, tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Cuts a random crop, scaled, turned, mirrored and perhaps bent.

  Pixels of the image are interpolated bilinearly and reflected at its border; classes are those of
  the nearest pixel, and don't count beyond the border.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    classes: uint8 `[h, w]`.
    seed: integer `[2]`.
    size: side of the crop, pixels.
    scale_jitter: the crop shows (1 - it) to (1 + it) times as much of a side.
    random_flip: none, horizontal or horizontal_and_vertical.
    random_rotation: largest angle, degrees.
    elastic: standard deviation of displacements, pixels; 0 bends nothing.
    color: see `draw_color`; None leaves colours as they are.

  Returns:
    float32 `[size, size, C]` in [0, 1] and int32 `[size, size]`.
  """
  draws, bends = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
  uniform = tf.random.stateless_uniform([6], draws)
  height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(classes)))
  scale = 1.0 + scale_jitter * (2.0 * uniform[0] - 1.0)
  angle = math.radians(random_rotation) * (2.0 * uniform[1] - 1.0)
  # Offsets of the crop's pixels from its centre, in pixels of the image.
  steps = tf.range(size, dtype=tf.float32) - (size - 1) / 2.0
  y, x = tf.meshgrid(steps * scale, steps * scale, indexing="ij")
  if random_flip != "none":
    x = tf.where(uniform[2] < 0.5, -x, x)
  if random_flip == "horizontal_and_vertical":
    y = tf.where(uniform[3] < 0.5, -y, y)
  y, x = tf.cos(angle) * y - tf.sin(angle) * x, tf.sin(angle) * y + tf.cos(angle) * x
  if elastic:
    points = tf.random.stateless_normal([ELASTIC_POINTS, ELASTIC_POINTS, 2], bends) * elastic
    bent = tf.image.resize(points, [size, size], "bicubic")
    y, x = y + bent[..., 0], x + bent[..., 1]
  y += _centre(uniform[4], height, size * scale)
  x += _centre(uniform[5], width, size * scale)
  view = sample_bilinear(image, y, x)
  if color is not None:
    view = apply_color(view, color)
  view = tf.ensure_shape(tf.clip_by_value(view, 0.0, 1.0), [size, size, image.shape[-1]])
  return view, tf.ensure_shape(sample_nearest(classes, y, x), [size, size])


def sample_bilinear(image: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
  """Interpolates an image at places, reflected at its border.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    y: float32 `[H, W]`, 0 is the centre of the first pixel.
    x: likewise.

  Returns:
    float32 `[H, W, C]` in [0, 1].
  """
  height, width = tf.unstack(tf.shape(image)[:2])
  top, left = tf.floor(y), tf.floor(x)
  total = tf.zeros([], tf.float32)
  for down in (0, 1):
    for right in (0, 1):
      weight = tf.abs(1.0 - down - (y - top)) * tf.abs(1.0 - right - (x - left))
      rows = reflected(tf.cast(top, tf.int32) + down, height)
      columns = reflected(tf.cast(left, tf.int32) + right, width)
      pixels = tf.cast(tf.gather_nd(image, tf.stack([rows, columns], -1)), tf.float32)
      total += weight[..., tf.newaxis] * pixels
  return total / image.dtype.max


def sample_nearest(classes: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
  """Takes classes uint8 `[h, w]` at places, int32; `IGNORED` beyond the border."""
  height, width = tf.unstack(tf.shape(classes))
  rows, columns = (tf.cast(tf.round(places), tf.int32) for places in (y, x))
  inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
  places = [tf.clip_by_value(rows, 0, height - 1), tf.clip_by_value(columns, 0, width - 1)]
  found = tf.cast(tf.gather_nd(classes, tf.stack(places, -1)), tf.int32)
  return tf.where(inside, found, IGNORED)


def reflected(places: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
  """Returns places int32 within [0, side), mirrored at the border as often as needed."""
  period = tf.maximum(2 * (side - 1), 1)
  within = tf.math.floormod(places, period)
  return tf.minimum(within, period - within) % tf.maximum(side, 1)


def _centre(uniform: tf.Tensor, side: tf.Tensor, shown: tf.Tensor) -> tf.Tensor:
  """Returns where the middle of a crop lies: within the image, if that is larger, else amid it."""
  room = tf.maximum(side - shown, 0.0)
  return (side - 1.0) / 2.0 + (uniform - 0.5) * room
