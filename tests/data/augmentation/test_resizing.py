"""Views of a reduced image against those of the whole one."""

import functools
import io

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf.data.augmentation import finetune, resizing, views
from conrec_tf.data.augmentation.resizing import largest_reduction, reduced_box
from conrec_tf.data.images.decoding import decode_image, decode_reduced, decode_stored


@pytest.fixture(scope="module")
def photograph():
  """A smooth JPEG of 600x800 pixels."""
  rows, columns = np.mgrid[0:600, 0:800]
  phases = np.array([0.0, 1.0, 2.0])[:, np.newaxis, np.newaxis]
  waves = 0.5 + 0.45 * np.sin(rows / 70 + phases) * np.cos(columns / 90 - phases)
  image = Image.fromarray(np.round(255 * np.moveaxis(waves, 0, -1)).astype(np.uint8))
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=95, subsampling=0)
  return tf.constant(buffer.getvalue())


@pytest.mark.parametrize(
  "sides, size, expected",
  [
    ([64], 64, 1),
    ([127], 64, 1),
    ([128], 64, 2),
    ([4000, 255], 64, 2),
    ([256], 64, 4),
    ([9999], 64, 8),
  ],
)
def test_reduction_leaves_enough_pixels(sides, size, expected):
  assert largest_reduction(tf.constant(sides), size) == expected
  assert largest_reduction(tf.constant([3]), size) == 1


def test_boxes_of_the_whole_within_the_reduced():
  offset, size = reduced_box(*map(tf.constant, ([100, 41], [500, 201], [600, 800], [150, 200])))
  assert offset.numpy().tolist() == [25, 10] and size.numpy().tolist() == [125, 50]
  offset, size = reduced_box(*map(tf.constant, ([599, 0], [1, 1], [600, 800], [75, 100])))
  assert offset.numpy().tolist() == [74, 0] and size.numpy().tolist() == [1, 1]
  for box in ([7, 9], [31, 52]), ([0, 0], [600, 800]):
    same = reduced_box(*map(tf.constant, (*box, [600, 800], [600, 800])))
    assert [part.numpy().tolist() for part in same] == list(box)


@pytest.mark.parametrize("size", [24, 64, 400])
def test_views_of_reduced_images_are_those_of_whole_ones(photograph, size):
  stored = functools.partial(decode_stored, channels=3)
  image, seed = stored(photograph), tf.constant([3, 4], tf.int64)

  def reduced(fitting):
    return decode_reduced(photograph, fitting, stored, 3)

  pairs = []
  pixels, full_size = reduced(lambda full: views.view_reduction(full, [seed], size, 0.3))
  make = functools.partial(views.make_view, seed=seed, image_size=size, crop_min_area=0.3)
  pairs.append((make(pixels, full_size=full_size), make(image)))
  pixels, _ = reduced(lambda full: resizing.evaluation_reduction(full, size, True))
  pairs.append([resizing.evaluation_image(part, size, True) for part in (pixels, image)])
  for make, fitting in (
    (finetune.make_cropped, finetune.cropped_reduction),
    (finetune.make_zoomed, finetune.zoomed_reduction),
  ):
    pixels, full_size = reduced(lambda full, fitting=fitting: fitting(full, seed, size))
    made = make(pixels, seed, image_size=size, full_size=full_size)
    pairs.append((made, make(image, seed, image_size=size)))
  for found, expected in pairs:
    if size == 400:
      np.testing.assert_array_equal(found, expected)
    else:
      assert 0 < np.abs(found - expected).mean() < 0.02


def test_the_graph_does_the_same(photograph):
  stored = functools.partial(decode_stored, channels=1, as_uint16=True)

  def reduced(encoded):
    return decode_reduced(encoded, lambda full: full[0] // 150, stored, 1, as_uint16=True)

  image, size = reduced(photograph)
  assert image.dtype == tf.uint16 and image.shape == [150, 200, 1]
  found, same = tf.function(reduced, autograph=False)(photograph)
  np.testing.assert_array_equal(found, image)
  assert same.numpy().tolist() == size.numpy().tolist() == [600, 800]


def test_other_files_are_decoded_whole(photograph):
  image = decode_image(photograph, 3)
  png = tf.io.encode_png(image)
  found, size = decode_reduced(
    png, lambda _: tf.constant(8), functools.partial(decode_stored, channels=3), 3
  )
  np.testing.assert_array_equal(found, image)
  assert size.numpy().tolist() == [600, 800]


@pytest.mark.parametrize("number", [1, 6])
def test_reduced_images_are_upright(photograph, number):
  exif = Image.Exif()
  exif[0x0112] = number
  buffer = io.BytesIO()
  Image.open(io.BytesIO(photograph.numpy())).save(buffer, "JPEG", quality=95, exif=exif.tobytes())
  image, size = decode_reduced(
    tf.constant(buffer.getvalue()),
    lambda full: tf.where(full[0] == 600, 4, 8),
    functools.partial(decode_stored, channels=1),
    1,
  )
  expected = ([150, 200, 1], [600, 800]) if number == 1 else ([100, 75, 1], [800, 600])
  assert (image.shape.as_list(), size.numpy().tolist()) == expected


def cubic(distance):
  """Keys' kernel with a = -1/2."""
  x = abs(distance)
  if x < 1:
    return 1.5 * x**3 - 2.5 * x**2 + 1
  return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resized(values, size):
  """Interpolates the first axis to a size, a slow version; pixels beyond the border don't count."""
  rows = []
  for place in range(size):
    at = (place + 0.5) * len(values) / size - 0.5
    weights = np.array([cubic(at - index) for index in range(len(values))])
    rows.append(np.tensordot(weights / weights.sum(), values, 1))
  return np.stack(rows)


def test_ten_crops_are_an_image_its_corners_and_their_mirror_images(rng):
  images = rng.random((2, 16, 24, 3)).astype(np.float32)
  crops = [images]
  for rows in (slice(0, 14), slice(2, 16)):
    for columns in (slice(0, 21), slice(3, 24)):
      corner = resized(np.moveaxis(images[:, rows, columns], 1, 0), 16)  # [16, 2, 21, 3]
      corner = resized(np.moveaxis(corner, 2, 0), 24)  # [24, 16, 2, 3]
      crops.append(corner.transpose(2, 1, 0, 3).clip(0, 1))
  crops += [crop[:, :, ::-1] for crop in crops]
  found = resizing.evaluation_crops(tf.constant(images), 10)
  assert len(found) == 10
  for crop, expected in zip(found, crops, strict=True):
    np.testing.assert_allclose(crop, expected, atol=1e-4)
  for number in (1, 2):
    few = resizing.evaluation_crops(tf.constant(images), number)
    for crop, expected in zip(few, [images, images[:, :, ::-1]][:number], strict=True):
      np.testing.assert_array_equal(crop, expected)
