"""Random parameters of the corruptions, as functions of a seed and the shape of a view.

Ranges and probabilities follow the authors' settings. Below 21 pixels some ranges are empty.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

MAX_RECTANGLES = 5
MAX_BLOCKS = 15
BORDER = 3
RECTANGLE_GOES_ON = 0.95
BLOCK_GOES_ON = 0.99


def draw_in_painting(seed: tf.Tensor, shape: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws up to 5 rectangles of 14 % to 20 % of a side, each of one random colour.

  Returns:
    boxes int32 `[5, 4]` (top, left, bottom, right), empty where there is none,
    and colours float32 `[5, C]`.
  """
  height, width, channels = shape
  uniform = tf.random.stateless_uniform([MAX_RECTANGLES, 5 + channels], seed)
  exists = _going_on(uniform[:, 0], RECTANGLE_GOES_ON)
  boxes = _boxes(
    uniform[:, 1:5],
    exists,
    (height, width),
    BORDER,
    *[(int(0.14 * side), int(0.2 * side)) for side in (height, width)],
  )
  return boxes, uniform[:, 5:]


def draw_out_painting(seed: tf.Tensor, shape: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws 1 to 5 kept rectangles of 4/7 to 5/7 of a side, and the colour of the rest.

  Returns:
    boxes int32 `[5, 4]`, empty where there is none, and colour float32 `[C]`.
  """
  height, width, channels = shape
  uniform = tf.random.stateless_uniform([MAX_RECTANGLES * 5 + channels], seed)
  colour, uniform = uniform[:channels], tf.reshape(uniform[channels:], [MAX_RECTANGLES, 5])
  exists = tf.concat([[True], _going_on(uniform[1:, 0], RECTANGLE_GOES_ON)], 0)
  boxes = _boxes(
    uniform[:, 1:],
    exists,
    (height, width),
    BORDER,
    *[(side - 3 * side // 7 + 1, side - 2 * side // 7 + 1) for side in (height, width)],
  )
  return boxes, colour


def draw_blocks(
  seed: tf.Tensor, shape: Sequence[int], goes_on: float
) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws up to 15 blocks of 1 pixel to 20 % of a side, and the keys that order their pixels.

  Returns:
    boxes int32 `[15, 4]`, empty where there is none, and keys float32
    `[sum of areas]` in [0, 1).
  """
  box_seed, key_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
  uniform = tf.random.stateless_uniform([MAX_BLOCKS, 5], box_seed)
  boxes = _boxes(
    uniform[:, 1:],
    _going_on(uniform[:, 0], goes_on),
    shape,
    0,
    *[(1, int(0.2 * side)) for side in shape],
  )
  areas = tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1)
  return boxes, tf.random.stateless_uniform([tf.reduce_sum(areas)], key_seed)


def draw_intensity_map(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws two control points of a Bezier curve, and whether it falls; `[2, 2]` (x, y) and bool."""
  uniform = tf.random.stateless_uniform([5], seed)
  return tf.reshape(uniform[:4], [2, 2]), uniform[4] < 0.5


def _going_on(uniform: tf.Tensor, probability: float) -> tf.Tensor:
  """Returns bool `[n]`: whether all draws up to this one stay under `probability`."""
  return tf.cast(tf.math.cumprod(tf.cast(uniform < probability, tf.int32)), tf.bool)


def _boxes(
  uniform: tf.Tensor,
  exists: tf.Tensor,
  shape: Sequence[int],
  border: int,
  height_limits: tuple[int, int],
  width_limits: tuple[int, int],
) -> tf.Tensor:
  """Returns boxes int32 `[n, 4]` from uniform numbers `[n, 4]`.

  Sides lie in [low, high), at least `border` pixels from the edge of the image;
  a box that doesn't exist has sides of 0.
  """

  def between(share: tf.Tensor, low: Any, high: Any) -> tf.Tensor:
    low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
    return tf.cast(tf.minimum(tf.floor(low + share * (high - low)), high - 1.0), tf.int32)

  sides = tf.stack(
    [between(uniform[:, 0], *height_limits), between(uniform[:, 1], *width_limits)], axis=1
  )
  starts = between(uniform[:, 2:], border, tf.constant(shape) - sides - border + 1)
  return tf.concat([starts, starts + tf.where(exists[:, tf.newaxis], sides, 0)], axis=1)
