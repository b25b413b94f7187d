"""Stage 1: the views of SimCLR (paper, section 2.2): crop, flip, colour, blur.

`make_view` is a pure function of (image, seed). Drawing the random parameters
and applying them are separate functions. Ranges, order and clipping follow the
authors' settings, which are SimCLR's and the defaults here.
"""

from collections.abc import Callable, Sequence
import functools
import math

import numpy as np
import tensorflow as tf

from conrec_tf.data.augmentation.color import apply_color, transpose
from conrec_tf.data.augmentation.control_flow import maybe_apply
from conrec_tf.data.augmentation.resizing import largest_reduction, reduced_box, white

MIN_AREA = 0.08
ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
BLUR_SIGMA_RANGE = (0.1, 2.0)


def make_view(
  image: tf.Tensor,
  seed: tf.Tensor,
  *,
  image_size: int,
  full_size: tf.Tensor | None = None,
  crop_min_area: float = MIN_AREA,
  crop_max_area: float = 1.0,
  random_flip: str = "horizontal",
  random_rotation: float = 0.0,
  color_jitter_strength: float = 1.0,
  color_jitter_probability: float = 0.8,
  brightness_jitter: float = 0.8,
  contrast_jitter: float = 0.8,
  saturation_jitter: float = 0.8,
  hue_jitter: float = 0.2,
  grey_probability: float = 0.2,
  use_blur: bool = True,
  blur_probability: float = 0.5,
) -> tf.Tensor:
  """Makes one random view of an image.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    seed: integer `[2]`; the same seed gives the same view.
    image_size: height and width of the view, pixels.
    full_size: int32 `[2]`, height and width before `image` was reduced; None if it wasn't.
    crop_max_area: the largest share of the image's area that it shows.

  The others are the options of these names; of one channel, brightness and contrast alone change.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].

  Raises:
    ValueError: the image is neither uint8 nor uint16.
  """
  color_seed, _ = _seeds(seed)
  drawn = draw_color(
    color_seed,
    probabilities=(color_jitter_probability, grey_probability, blur_probability),
    ranges=[
      color_jitter_strength * largest
      for largest in (brightness_jitter, contrast_jitter, saturation_jitter, hue_jitter)
    ],
    largest_angle=random_rotation,
  )
  size = tf.shape(image)[:2]
  full_size = size if full_size is None else full_size
  box = reduced_box(*view_crop(seed, full_size, crop_min_area, crop_max_area), full_size, size)
  view = crop_and_resize(image, *box, image_size)
  if random_rotation:
    view = rotate(view, drawn["angle"])
  if random_flip != "none":
    view = flip(view, drawn["flip"])
  if random_flip == "horizontal_and_vertical":
    view = flip(view, drawn["flip_vertically"], axis=0)
  view = apply_color(view, drawn)
  if use_blur and image.shape[-1] == 3:  # as the authors: one channel is never blurred
    view = maybe_apply(drawn["blur"], _blur, view, drawn["sigma"])
  view = tf.clip_by_value(view, 0.0, 1.0)
  return tf.ensure_shape(view, [image_size, image_size, image.shape[-1]])


def view_reduction(
  full_size: tf.Tensor,
  seeds: Sequence[tf.Tensor],
  image_size: int,
  crop_min_area: float,
  crop_max_area: float = 1.0,
) -> tf.Tensor:
  """Returns by how much an image can be reduced so that the views of some seeds lose no pixels."""
  sizes = [view_crop(seed, full_size, crop_min_area, crop_max_area)[1] for seed in seeds]
  return largest_reduction(tf.stack(sizes), image_size)


def view_crop(
  seed: tf.Tensor, full_size: tf.Tensor, min_area: float, max_area: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws the box that a view of this seed shows of an image; see `draw_crop`."""
  return draw_crop(_seeds(seed)[1], tf.concat([full_size, [1]], 0), min_area, max_area)


def _seeds(seed: tf.Tensor) -> list[tf.Tensor]:
  """Returns the seeds of colour and of the crop."""
  return tf.unstack(tf.random.experimental.stateless_split(seed, 2))


def draw_crop(
  seed: tf.Tensor, image_shape: tf.Tensor, min_area: float = MIN_AREA, max_area: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
  """Draws a box of a share of the area, with aspect ratio 3/4 to 4/3.

  Args:
    seed: integer `[2]`.
    image_shape: int32 `[3]`.
    min_area: the smallest share.
    max_area: the largest.

  Returns:
    offset (y, x) and size (height, width), int32 `[2]` each, pixels.
  """
  begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
    image_shape,
    tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
    seed,
    min_object_covered=0.0,
    aspect_ratio_range=ASPECT_RATIO_RANGE,
    area_range=(min_area, max_area),
    max_attempts=100,
  )
  return begin[:2], size[:2]


def largest_share(sizes: np.ndarray) -> np.ndarray:
  """Returns the largest share of the area that a crop can have, float `[N]`.

  A crop that must be larger is all of the image.

  Args:
    sizes: of images, height and width, int `[N, 2]`.
  """
  return np.minimum(1.0, ASPECT_RATIO_RANGE[1] * sizes.min(axis=1) / sizes.max(axis=1))


def draw_color(
  seed: tf.Tensor,
  probabilities: Sequence[float] = (0.8, 0.2, 0.5),
  ranges: Sequence[float] = (0.8, 0.8, 0.8, 0.2),
  largest_angle: float = 0.0,
) -> dict[str, tf.Tensor]:
  """Draws all other random parameters of a view, a dict of scalars and one `[4]`.

  Args:
    seed: integer `[2]`.
    probabilities: of jitter, of grey, of blur.
    ranges: largest change of brightness, contrast, saturation, hue.
    largest_angle: degrees.
  """
  uniform = tf.random.stateless_uniform([15], seed)
  jitter, grey, blur = probabilities
  brightness, contrast, saturation, hue = ranges
  low, high = BLUR_SIGMA_RANGE
  return {
    "flip": uniform[0] < 0.5,
    "jitter": uniform[1] < jitter,
    "grey": uniform[2] < grey,
    "blur": uniform[3] < blur,
    "sigma": low + (high - low) * uniform[4],
    "brightness": 1.0 + brightness * (2.0 * uniform[5] - 1.0),
    "contrast": 1.0 + contrast * (2.0 * uniform[6] - 1.0),
    "saturation": 1.0 + saturation * (2.0 * uniform[7] - 1.0),
    "hue": hue * (2.0 * uniform[8] - 1.0),
    "flip_vertically": uniform[9] < 0.5,
    "order": tf.argsort(uniform[10:14]),
    "angle": math.radians(largest_angle) * (2.0 * uniform[14] - 1.0),
  }


def random_window(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
  """Cuts a window at a random place of `[h, w, C]`, every place as likely.

  Args:
    image: of any dtype.
    size: the window's side in pixels; a shorter side of the image is taken whole.
    seed: integer `[2]`.
  """
  sides = tf.shape(image)[:2]
  taken = tf.minimum(sides, size)
  uniform = tf.random.stateless_uniform([2], seed)
  offsets = tf.cast(uniform * tf.cast(sides - taken + 1, tf.float32), tf.int32)
  start = tf.concat([tf.minimum(offsets, sides - taken), [0]], axis=0)
  window = tf.slice(image, start, tf.concat([taken, [-1]], axis=0))
  return tf.ensure_shape(window, [None, None, image.shape[-1]])


def crop_and_resize(
  image: tf.Tensor, offset: tf.Tensor, size: tf.Tensor, image_size: int
) -> tf.Tensor:
  """Cuts a box and resizes it bicubically; uint8 or uint16 `[h, w, C]` to float32 around [0, 1].

  The cubic kernel can overshoot; values are clipped later, as in SimCLR.
  """
  crop = tf.slice(image, tf.concat([offset, [0]], 0), tf.concat([size, [image.shape[-1]]], 0))
  return tf.image.resize(crop, [image_size, image_size], "bicubic") / white(image)


def flip(view: tf.Tensor, flipped: tf.Tensor, axis: int = 1) -> tf.Tensor:
  """Mirrors left and right, or along another axis, if `flipped`."""
  return maybe_apply(flipped, _mirrored(axis), view)


@functools.cache
def _mirrored(axis: int) -> Callable[[tf.Tensor], tf.Tensor]:
  return tf.function(lambda view: tf.reverse(view, [axis]), autograph=False)


def rotate(view: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
  """Turns `[H, W, C]` about its centre, bilinearly; what comes in at the border is reflected.

  Args:
    view: float32.
    angle: radians, counterclockwise.
  """
  height, width = (side - 1.0 for side in view.shape[:2])
  cos, sin = tf.cos(angle), tf.sin(angle)
  # From a pixel (x, y) of the result to where it comes from.
  x = (width - (cos * width - sin * height)) / 2.0
  y = (height - (sin * width + cos * height)) / 2.0
  rotated = tf.raw_ops.ImageProjectiveTransformV3(
    images=view[tf.newaxis],
    transforms=tf.stack([cos, -sin, x, sin, cos, y, 0.0, 0.0])[tf.newaxis],
    output_shape=view.shape[:2],
    fill_value=0.0,
    interpolation="BILINEAR",
    fill_mode="REFLECT",
  )
  return tf.ensure_shape(rotated[0], view.shape)


def blur(view: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
  """Blurs by a separable Gaussian with zeros outside the image, as in SimCLR; `[H, W, C]`.

  The window has H // 10 pixels, made odd, but ends where what lies beyond carries less than
  0.09 % of the weight: the largest change that makes is under half a step of 8 bits.
  """
  height = view.shape[0]
  reach = tf.minimum(height // 10 // 2, tf.cast(tf.math.ceil(3.3 * sigma - 0.5), tf.int32))
  distance = tf.cast(tf.range(-reach, reach + 1), tf.float32)
  kernel = tf.nn.softmax(-tf.square(distance / sigma) / 2.0)

  def blur_rows(image: tf.Tensor) -> tf.Tensor:
    """Blurs along the first axis; with all else as channels the convolution is vectorised."""
    rows = tf.reshape(image, [1, image.shape[0], 1, -1])
    filters = tf.tile(kernel[:, tf.newaxis, tf.newaxis, tf.newaxis], [1, 1, rows.shape[-1], 1])
    return tf.reshape(tf.nn.depthwise_conv2d(rows, filters, [1, 1, 1, 1], "SAME"), image.shape)

  return transpose(blur_rows(transpose(blur_rows(view), [1, 0, 2])), [1, 0, 2])


_blur = tf.function(blur, autograph=False)  # traced once for all views
