"""Windows of large images: places, sizes, and the views that are taken from them."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.augmentation.views import random_window
from conrec_tf.data.pipeline import pretraining_batches


def numbered(height, width):
  """An image that holds the place of each pixel."""
  y, x = np.mgrid[:height, :width]
  return np.stack([y, x], axis=-1).astype(np.uint16)


@pytest.mark.parametrize("size, expected", [(5, (5, 5)), (8, (8, 8)), (10, (8, 10)), (99, (8, 12))])
def test_a_window_is_a_part_of_the_image(size, expected):
  image = numbered(8, 12)
  window = random_window(tf.constant(image), size, [0, 1]).numpy()
  assert window.shape == (*expected, 2) and window.dtype == np.uint16
  top, left = window[0, 0]
  np.testing.assert_array_equal(window, image[top : top + expected[0], left : left + expected[1]])


def test_every_place_is_as_likely():
  image = tf.constant(numbered(6, 4))
  place_of = tf.function(lambda seed: random_window(image, 4, [0, seed])[0, 0], autograph=False)
  places = np.stack([place_of(tf.constant(seed)) for seed in range(600)])
  assert set(places[:, 1]) == {0}
  counts = np.bincount(places[:, 0], minlength=3)
  assert len(counts) == 3 and counts.min() > 150


def test_both_views_are_of_one_window(tmp_path):
  """Of an image whose left half is black and whose right half is white."""
  image = np.zeros([64, 64], np.uint8)
  image[:, 32:] = 255
  np.savez(tmp_path / "images.npz", x_train=np.stack([image] * 16), x_test=image[np.newaxis])
  config = Config(
    dataset="npz",
    data_dir=str(tmp_path / "images.npz"),
    label_mode="none",
    image_size=16,
    unet_depth=2,
    corruption="none",
    window_size=16,
    color_jitter_strength=0.0,
    use_blur=False,
  )
  views = np.concatenate([batch["target"] for batch in pretraining_batches(config).take(4)])
  means = views.mean(axis=(2, 3, 4))
  one_colour = np.abs(means - means.round()).max(axis=1) < 1e-6
  assert 0.5 < one_colour.mean() < 1.0
  np.testing.assert_array_equal(means[one_colour, 0].round(), means[one_colour, 1].round())
  assert {0.0, 1.0} == set(means[one_colour, 0].round())
