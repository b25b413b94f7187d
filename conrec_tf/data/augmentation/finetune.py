"""Augmentation for supervised training (paper, Table 2): geometry only, no colour."""

import tensorflow as tf

from conrec_tf.data.augmentation.resizing import largest_reduction, reduced_box, white
from conrec_tf.data.augmentation.views import crop_and_resize, draw_crop, flip

ZOOM_RANGE = (0.85, 1.15)


def make_cropped(
  image: tf.Tensor,
  seed: tf.Tensor,
  *,
  image_size: int,
  full_size: tf.Tensor | None = None,
  flips: bool = True,
) -> tf.Tensor:
  """Makes a random crop, as in stage 1, and a left-right flip.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    seed: integer `[2]`.
    image_size: pixels.
    full_size: int32 `[2]`, height and width before `image` was reduced; None if it wasn't.
    flips: whether it may be mirrored.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].
  """
  crop_seed, flip_seed = _seeds(seed)
  size = tf.shape(image)[:2]
  full_size = size if full_size is None else full_size
  whole = draw_crop(crop_seed, tf.concat([full_size, [1]], 0))
  view = crop_and_resize(image, *reduced_box(*whole, full_size, size), image_size)
  if flips:
    view = flip(view, tf.random.stateless_uniform([], flip_seed) < 0.5)
  return tf.ensure_shape(
    tf.clip_by_value(view, 0.0, 1.0), [image_size, image_size, image.shape[-1]]
  )


def cropped_reduction(full_size: tf.Tensor, seed: tf.Tensor, image_size: int) -> tf.Tensor:
  """Returns by how much an image can be reduced so that `make_cropped` loses no pixels."""
  _, size = draw_crop(_seeds(seed)[0], tf.concat([full_size, [1]], 0))
  return largest_reduction(size, image_size)


def zoomed_reduction(full_size: tf.Tensor, seed: tf.Tensor, image_size: int) -> tf.Tensor:
  """Returns the same for `make_zoomed`, which takes whole images."""
  return largest_reduction(full_size, image_size)


def _seeds(seed: tf.Tensor) -> list[tf.Tensor]:
  """Returns the seeds of crop and flip."""
  return tf.unstack(tf.random.experimental.stateless_split(seed, 2))


def make_zoomed(
  image: tf.Tensor,
  seed: tf.Tensor,
  *,
  image_size: int,
  full_size: tf.Tensor | None = None,
  flips: bool = True,
) -> tf.Tensor:
  """Resizes, zooms each axis by 0.85 to 1.15 and flips in both directions.

  As the authors for retinas; what a zoom leaves empty repeats the border.

  Args and Returns: see `make_cropped`.
  """
  uniform = tf.random.stateless_uniform([4], seed)
  view = tf.image.resize(image, [image_size, image_size], "bicubic") / white(image)
  low, high = ZOOM_RANGE
  view = zoom(tf.clip_by_value(view, 0.0, 1.0), low + (high - low) * uniform[:2])
  if not flips:
    return view
  view = flip(view, uniform[2] < 0.5)
  return tf.cond(uniform[3] < 0.5, lambda: tf.reverse(view, [0]), lambda: view)


def zoom(view: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
  """Zooms `[H, W, C]` about the centre by factors `[2]`, (y, x); over 1 shows what isn't there."""
  height, width = view.shape[:2]
  y, x = factors[0], factors[1]
  transform = tf.stack(
    [x, 0.0, (1.0 - x) * (width - 1) / 2, 0.0, y, (1.0 - y) * (height - 1) / 2, 0.0, 0.0]
  )
  return tf.ensure_shape(
    tf.raw_ops.ImageProjectiveTransformV3(
      images=view[tf.newaxis],
      transforms=transform[tf.newaxis],
      output_shape=[height, width],
      fill_value=0.0,
      interpolation="BILINEAR",
      fill_mode="NEAREST",
    )[0],
    view.shape,
  )
