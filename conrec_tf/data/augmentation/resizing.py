"""Resizes images: all of one as for evaluation, and JPEG files while they are decoded."""

import tensorflow as tf

REDUCTIONS = (1, 2, 4, 8)  # what libjpeg decodes to without computing all pixels
CENTRE_CROP = 0.875
LARGEST_UNCROPPED = 32


def largest_reduction(side: tf.Tensor, image_size: int) -> tf.Tensor:
  """Returns the largest of `REDUCTIONS` that leaves sides, int32 of any shape, so many pixels."""
  fits = tf.reduce_min(side) >= tf.constant(REDUCTIONS) * image_size
  return tf.reduce_max(tf.where(fits, REDUCTIONS, 1))


def reduced_box(
  offset: tf.Tensor, size: tf.Tensor, full_size: tf.Tensor, reduced_size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns a box of an image as a box of the same image reduced, to the nearest pixel.

  Args:
    offset: int32 `[2]`, (y, x).
    size: int32 `[2]`, (height, width).
    full_size: of the image, likewise.
    reduced_size: of the reduced one.
  """
  scale = tf.cast(reduced_size, tf.float32) / tf.cast(full_size, tf.float32)
  begin, end = (
    tf.cast(tf.round(tf.cast(corner, tf.float32) * scale), tf.int32)
    for corner in (offset, offset + size)
  )
  begin = tf.minimum(begin, reduced_size - 1)
  return begin, tf.maximum(end - begin, 1)


def white(image: tf.Tensor) -> int:
  """Returns the value of white in an image uint8 or uint16.

  Raises:
    ValueError: it is of other numbers, which would all be black beside their largest.
  """
  if image.dtype not in (tf.uint8, tf.uint16):
    raise ValueError(f"image must be uint8 or uint16. Received: {image.dtype.name}")
  return image.dtype.max


def crops_centre(image_size: int, center_crop: bool) -> bool:
  """Returns whether evaluation at a size crops, where `center_crop` asks for it: above 32 pixels.

  As the authors (and SimCLR): no crop at 32 pixels or less.
  """
  return center_crop and image_size > LARGEST_UNCROPPED


def evaluation_image(image: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Resizes an image bicubically, all of it or the central 87.5 %.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    image_size: pixels.
    center_crop: whether to take the central 87.5 % of the shorter side, squared; see
      `crops_centre`.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].
  """
  if crops_centre(image_size, center_crop):
    shape = tf.shape(image)[:2]
    side = _side(shape, image_size, center_crop)
    offset = (shape - side) // 2
    image = image[offset[0] : offset[0] + side, offset[1] : offset[1] + side]
  image = tf.image.resize(image, [image_size, image_size], "bicubic") / white(image)
  return tf.clip_by_value(image, 0.0, 1.0)


def evaluation_crops(images: tf.Tensor, number: int) -> list[tf.Tensor]:
  """Returns so many crops of what `evaluation_image` prepared; an embedding may be their mean.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1], as each of the crops.
    number: 1, the images alone; 2, beside them mirrored left and right; 10, those and the four
      corners, 87.5 % of height and width, resized bicubically to H and W, and those mirrored.
  """
  crops = [images]
  if number == 10:
    size = images.shape[1:3]
    height, width = (round(CENTRE_CROP * side) for side in size)
    for rows in (slice(height), slice(-height, None)):
      for columns in (slice(width), slice(-width, None)):
        corner = tf.image.resize(images[:, rows, columns], size, "bicubic")
        crops.append(tf.clip_by_value(corner, 0.0, 1.0))
  return crops if number == 1 else [*crops, *(tf.reverse(crop, [2]) for crop in crops)]


def evaluation_reduction(full_size: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Returns by how much an image can be reduced so that `evaluation_image` loses no pixels."""
  return largest_reduction(_side(full_size, image_size, center_crop), image_size)


def _side(size: tf.Tensor, image_size: int, center_crop: bool) -> tf.Tensor:
  """Returns the shorter side of what evaluation takes of an image, pixels."""
  shorter = tf.reduce_min(size)
  if crops_centre(image_size, center_crop):
    return tf.cast(tf.round(CENTRE_CROP * tf.cast(shorter, tf.float32)), tf.int32)
  return shorter
