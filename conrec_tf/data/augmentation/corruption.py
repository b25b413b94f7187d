"""Stage 2: corruptions that the network must undo (paper, section 2.2, after Models Genesis).

`corrupt` is a pure function of (view, seed): one kind of corruption per view,
each equally likely. Drawing and applying are separate functions. Ranges and
probabilities follow the authors' settings. Below 21 pixels some ranges are empty.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.data.augmentation.control_flow import switch_case

Corruption = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of (view, seed)

MAX_RECTANGLES = 5
MAX_BLOCKS = 15
BORDER = 3
RECTANGLE_GOES_ON = 0.95
BLOCK_GOES_ON = 0.99
CURVE_POINTS = 1000
# Denser at both ends, where the curve may be vertical and evenly spaced points stray from it.
_T = ((1.0 - np.cos(np.pi * np.linspace(0.0, 1.0, CURVE_POINTS))) / 2.0)[:, np.newaxis]
CURVE_BASIS = np.concatenate([3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1).astype(
  np.float32
)


def corrupt(view: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Applies one random corruption to a view, float32 `[H, W, C]` in [0, 1]; the result is the same.

  Args:
    view: at least 21 pixels a side.
    seed: integer `[2]`.
  """
  kind_seed, seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
  # As the authors: with one channel the blocks never stop early.
  kinds = kinds_of_corruption(view.shape[-1], always_shuffle=view.shape[-1] == 1)
  kind = tf.random.stateless_uniform([], kind_seed, maxval=len(kinds), dtype=tf.int32)
  return switch_case(kind, list(kinds.values()), view, seed)


def kinds_of_corruption(channels: int, always_shuffle: bool = True) -> dict[str, Corruption]:
  """Returns the kinds of corruption, each equally likely, as functions of (view, seed).

  Args:
    channels: of the view; one channel may also meet a non-linear intensity map.
    always_shuffle: whether pixel shuffling never stops early, so that no view stays untouched.
  """
  goes_on = 1.0 if always_shuffle else BLOCK_GOES_ON
  kinds: dict[str, Corruption] = {
    "pixel shuffling": lambda view, seed: shuffle_blocks(
      view, *draw_blocks(seed, view.shape.as_list()[:2], goes_on)
    ),
    "in-painting": lambda view, seed: in_paint(view, *draw_in_painting(seed, view.shape.as_list())),
    "out-painting": lambda view, seed: out_paint(
      view, *draw_out_painting(seed, view.shape.as_list())
    ),
  }
  if channels == 1:
    kinds["intensity map"] = lambda view, seed: map_intensity(view, *draw_intensity_map(seed))
  return kinds


def in_paint(view: tf.Tensor, boxes: tf.Tensor, colours: tf.Tensor) -> tf.Tensor:
  """Paints box i in colour i, later ones over earlier ones."""
  for box, colour in zip(tf.unstack(boxes), tf.unstack(colours), strict=True):
    size = tf.concat([box[2:] - box[:2], tf.shape(colour)], 0)
    view = _paste(view, box, tf.broadcast_to(colour, size))
  return view


def out_paint(view: tf.Tensor, boxes: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
  """Keeps the boxes and paints everything else in one colour."""
  height, width, channels = view.shape
  # On rows of width * channels numbers, comparing and choosing are several times faster.
  rows = _covers(boxes[:, 0::2], np.arange(height))
  columns = _covers(boxes[:, 1::2], np.arange(width).repeat(channels))
  kept = tf.matmul(rows, columns, transpose_a=True) > 0.0
  flat = tf.reshape(view, [height, width * channels])
  return tf.reshape(tf.where(kept, flat, tf.tile(colour, [width])), view.shape)


def shuffle_blocks(view: tf.Tensor, boxes: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  """Shuffles the pixels of each box; the channels of a pixel stay together.

  Boxes read from the original view; where they overlap, the later box wins.

  Args:
    view: float32 `[H, W, C]`.
    boxes: int32 `[n, 4]`.
    keys: float32 `[sum of areas]` in [0, 1); the order of a box's keys is its permutation.
  """
  height, width, channels = view.shape
  sides = boxes[:, 2:] - boxes[:, :2]
  end = tf.cumsum(sides[:, 0] * sides[:, 1])
  # One entry for each pixel of each box, box after box.
  entries = tf.range(tf.size(keys))
  box = tf.searchsorted(end, entries, side="right")
  end, top, left, box_height, box_width = tf.unstack(
    tf.gather(tf.concat([end[:, tf.newaxis], boxes[:, :2], sides], 1), box), axis=1
  )
  pixel = entries - end + box_height * box_width
  row = pixel // box_width
  target = (top + row) * width + left + pixel - row * box_width
  # Sorting by (box, key) permutes within boxes only.
  order = tf.argsort(tf.cast(box, tf.float64) + tf.cast(keys, tf.float64))
  # All entries at a pixel take what the largest one, of the last box, takes: a scatter with
  # repeated indices has no documented order.
  entry = tf.tensor_scatter_nd_max(
    tf.zeros([height * width], tf.int32), target[:, tf.newaxis], entries
  )
  source = tf.gather(target, tf.gather(order, tf.gather(entry, target)))
  pixels = tf.reshape(view, [height * width, channels])
  return tf.reshape(
    tf.tensor_scatter_nd_update(pixels, target[:, tf.newaxis], tf.gather(pixels, source)),
    view.shape,
  )


def map_intensity(view: tf.Tensor, control_points: tf.Tensor, falls: tf.Tensor) -> tf.Tensor:
  """Maps intensities through a cubic Bezier curve from (0, 0) to (1, 1).

  Args:
    view: float32 `[H, W, C]` in [0, 1].
    control_points: float32 `[2, 2]`, (x, y) each in [0, 1].
    falls: whether the curve runs from 1 to 0 instead, which inverts.
  """
  curve = tf.matmul(CURVE_BASIS, tf.concat([control_points, [[1.0, 1.0]]], 0))
  x, y = curve[:, 0], curve[:, 1]
  y = tf.where(falls, tf.reverse(y, [0]), y)
  slope = tf.math.divide_no_nan(y[1:] - y[:-1], x[1:] - x[:-1])
  flat = tf.reshape(view, [-1])
  segment = tf.searchsorted(x[1:-1], flat, side="right")
  return tf.reshape(
    tf.gather(y, segment) + tf.gather(slope, segment) * (flat - tf.gather(x, segment)), view.shape
  )


def _covers(limits: tf.Tensor, positions: np.ndarray) -> tf.Tensor:
  """Returns float32 `[n, positions]`: 1 where one lies in [low, high) of limits `[n, 2]`."""
  return tf.cast((positions >= limits[:, :1]) & (positions < limits[:, 1:]), tf.float32)


def _paste(view: tf.Tensor, box: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
  """Returns `view` with `content` in `box`; far cheaper than a mask or a scatter."""
  channels = content.shape[-1]
  return tf.raw_ops.TensorStridedSliceUpdate(
    input=view,
    begin=tf.concat([box[:2], [0]], 0),
    end=tf.concat([box[2:], [channels]], 0),
    strides=[1, 1, 1],
    value=content,
  )


def draw_in_painting(seed: tf.Tensor, shape: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws up to 5 rectangles of 14 % to 20 % of a side, each of one random colour `[5, C]`.

  Boxes are int32 `[5, 4]` (top, left, bottom, right), empty where there is none.
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
  """Draws 1 to 5 kept rectangles of 4/7 to 5/7 of a side, and the colour `[C]` of the rest.

  Boxes are int32 `[5, 4]`, empty where there is none.
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

  Boxes are int32 `[15, 4]`, empty where there is none; keys float32 `[sum of areas]` in [0, 1).
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
