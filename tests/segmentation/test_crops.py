"""Crops of image and classes: both by the same geometry."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.segmentation.crops import (
  make_masked_crop,
  reflected,
  sample_bilinear,
  sample_nearest,
)
from conrec_tf.segmentation.masks import IGNORED

STILL = dict(scale_jitter=0.0, random_flip="none", random_rotation=0.0, elastic=0.0)


def test_without_any_change_it_is_the_image(rng):
  image = rng.integers(0, 256, (16, 16, 3), np.uint8)
  classes = rng.integers(0, 3, (16, 16), np.uint8)
  view, found = make_masked_crop(tf.constant(image), tf.constant(classes), [0, 1], size=16, **STILL)
  np.testing.assert_allclose(view, image / 255, atol=1e-6)
  np.testing.assert_array_equal(found, classes)


@pytest.mark.parametrize(
  "changes",
  [
    dict(scale_jitter=0.5),
    dict(random_flip="horizontal"),
    dict(random_flip="horizontal_and_vertical"),
    dict(random_rotation=180.0),
    dict(elastic=3.0),
    dict(scale_jitter=0.3, random_flip="horizontal", random_rotation=45.0, elastic=2.0),
  ],
)
def test_image_and_classes_stay_together(changes):
  """Smooth shapes whose classes can be told from the pixels."""
  y, x = np.mgrid[:48, :64]
  shape = np.hypot(y - 20.0, x - 30.0) < 12
  shape |= (np.abs(y - 38) < 4) & (x > 10)
  image = np.where(shape, 230, 20).astype(np.uint8)[..., None]
  classes = tf.constant(shape.astype(np.uint8))
  agree = []
  for seed in range(8):
    view, found = make_masked_crop(
      tf.constant(image), classes, [seed, 3], size=32, **{**STILL, **changes}
    )
    told, known = view.numpy()[..., 0] > 0.5, found.numpy() != IGNORED
    agree.append(np.mean(told[known] == (found.numpy()[known] == 1)))
  assert min(agree) > 0.97


def test_flips_and_turns_are_drawn_both_ways():
  image = np.zeros([9, 9, 1], np.uint8)
  image[1, 2] = 255
  classes = tf.constant(np.zeros([9, 9], np.uint8))
  changes = {**STILL, "random_flip": "horizontal_and_vertical"}
  places = {
    tuple(
      np.argwhere(make_masked_crop(tf.constant(image), classes, [seed, 0], size=9, **changes)[0])[
        0
      ][:2]
    )
    for seed in range(24)
  }
  assert places == {(1, 2), (1, 6), (7, 2), (7, 6)}


def test_sampling_against_loops(rng):
  image = rng.integers(0, 256, (5, 7, 2), np.uint8)
  y, x = rng.uniform(0, 4, (2, 3, 3)).astype(np.float32)
  found = sample_bilinear(tf.constant(image), tf.constant(y), tf.constant(x)).numpy()
  for row in range(3):
    for column in range(3):
      top, left = int(y[row, column]), int(x[row, column])
      down, right = y[row, column] - top, x[row, column] - left
      expected = sum(
        image[min(top + dy, 4), left + dx] * abs(1 - dy - down) * abs(1 - dx - right)
        for dy in (0, 1)
        for dx in (0, 1)
      )
      np.testing.assert_allclose(found[row, column], expected / 255, atol=1e-5)


def test_beyond_the_border_nothing_counts_and_images_are_mirrored():
  places = tf.constant([-2, -1, 0, 3, 4, 5, 9])
  np.testing.assert_array_equal(reflected(places, tf.constant(4)), [2, 1, 0, 3, 2, 1, 3])
  np.testing.assert_array_equal(reflected(places, tf.constant(1)), [0] * 7)
  classes = tf.constant([[1, 2], [3, 4]], tf.uint8)
  y, x = tf.constant([[-1.0, 0.0, 1.4]]), tf.constant([[0.0, 1.0, 2.0]])
  np.testing.assert_array_equal(sample_nearest(classes, y, x), [[IGNORED, 2, IGNORED]])
