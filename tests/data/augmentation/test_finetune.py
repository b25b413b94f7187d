import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.data.augmentation import finetune as supervised
from conrec_tf.data.augmentation.views import crop_and_resize


@pytest.mark.parametrize("make", [supervised.make_cropped, supervised.make_zoomed])
@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_functions_of_image_and_seed(rng, make, channels):
  image = tf.constant(rng.integers(0, 256, (40, 50, channels), dtype=np.uint8))
  in_graph = tf.function(lambda seed: make(image, seed, image_size=24))
  views = [make(image, tf.constant([0, i], tf.int64), image_size=24) for i in range(6)]
  for index, view in enumerate(views):
    assert view.shape == (24, 24, channels) and view.dtype == tf.float32
    assert tf.reduce_min(view) >= 0 and tf.reduce_max(view) <= 1
    np.testing.assert_allclose(in_graph(tf.constant([0, index], tf.int64)), view, atol=1e-5)
    assert all(not np.array_equal(view, other) for other in views[:index])


def test_a_cropped_view_is_a_crop_or_its_mirror(rng, monkeypatch):
  image = tf.constant(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
  monkeypatch.setattr(
    supervised, "draw_crop", lambda *_: (tf.constant([3, 4]), tf.constant([30, 28]))
  )
  crop = np.clip(crop_and_resize(image, [3, 4], [30, 28], 24), 0, 1)
  seen = set()
  for index in range(10):
    view = supervised.make_cropped(image, tf.constant([0, index], tf.int64), image_size=24)
    mirrored = np.allclose(view, crop[:, ::-1], atol=1e-6)
    assert mirrored or np.allclose(view, crop, atol=1e-6)
    seen.add(mirrored)
  assert seen == {True, False}


def test_zoom_about_the_centre():
  ramp = tf.tile(tf.range(9.0)[:, tf.newaxis, tf.newaxis], [1, 9, 1])  # value = row
  zoomed = supervised.zoom(ramp, tf.constant([1.15, 1.0]))[:, 0, 0]
  np.testing.assert_allclose(zoomed, np.clip(4 + 1.15 * (np.arange(9) - 4), 0, 8), atol=1e-5)
  zoomed = supervised.zoom(ramp, tf.constant([0.85, 1.1]))[:, 0, 0]
  np.testing.assert_allclose(zoomed, 4 + 0.85 * (np.arange(9) - 4), atol=1e-5)
