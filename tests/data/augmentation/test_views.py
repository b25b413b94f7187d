import numpy as np
import oracles
import pytest
import tensorflow as tf

from conrec_tf.data.augmentation import color, views


def planes(image):
  return tf.transpose(tf.constant(image, tf.float32), [2, 0, 1])


def image_of(planes):
  return tf.transpose(planes, [1, 2, 0]).numpy()


def draws(function, count=4000):
  """What `function(seed)` draws for many seeds, as arrays."""
  seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.constant(7, tf.int64), i]))
  unconverted = tf.autograph.experimental.do_not_convert(function)  # AutoGraph takes seconds
  return next(iter(seeds.map(unconverted).batch(count)))


@pytest.fixture
def picture(rng):
  """Small RGB image with greys, blacks, whites and ties between channels in it."""
  image = rng.uniform(size=(12, 10, 3)).astype(np.float32)
  image[0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [0.7, 0.7, 0.2]]
  image[1, :2] = [[1, 0, 0], [0.2, 0.7, 0.7]]
  return image


@pytest.mark.parametrize("factor", [0.2, 1.0, 1.8])
def test_saturation_is_hsv(picture, factor):
  expected = oracles.change_hsv(picture, lambda h, s, v: (h, min(1.0, s * factor), v))
  np.testing.assert_allclose(
    image_of(color.saturation(planes(picture), factor)), expected, atol=1e-5
  )


@pytest.mark.parametrize("delta", [-0.2, 0.0, 0.13, 0.2])
def test_hue_is_hsv(picture, delta):
  expected = oracles.change_hsv(picture, lambda h, s, v: ((h + delta) % 1.0, s, v))
  np.testing.assert_allclose(image_of(color.hue(planes(picture), delta)), expected, atol=1e-5)


def test_color_functions_equal_tf_image(picture):
  x = planes(picture)
  np.testing.assert_allclose(
    image_of(color.contrast(x, 1.4)), tf.image.adjust_contrast(picture, 1.4), atol=1e-6
  )
  np.testing.assert_allclose(
    image_of(color.saturation(x, 1.4)), tf.image.adjust_saturation(picture, 1.4), atol=1e-5
  )
  np.testing.assert_allclose(
    image_of(color.hue(x, 0.1)), tf.image.adjust_hue(picture, 0.1), atol=1e-5
  )
  np.testing.assert_allclose(
    image_of(color.grey(x))[..., :1], tf.image.rgb_to_grayscale(picture), atol=1e-4
  )
  np.testing.assert_allclose(image_of(color.brightness(x, 1.4)), picture * 1.4, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.6, 1.3, 2.0])
def test_blur_equals_the_full_window(rng, sigma):
  image = rng.uniform(size=(60, 44, 3)).astype(np.float32)
  np.testing.assert_allclose(
    views.blur(tf.constant(image), sigma), oracles.blur(image, sigma), atol=2e-3
  )


def test_crop_and_resize(rng):
  image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
  crop = views.crop_and_resize(tf.constant(image), [3, 5], [20, 16], 12)
  expected = tf.image.resize(image[3:23, 5:21].astype(np.float32) / 255, [12, 12], "bicubic")
  np.testing.assert_allclose(crop, expected, atol=1e-5)
  whole = views.crop_and_resize(tf.constant(image), [0, 10], [30, 30], 30)
  np.testing.assert_allclose(whole, image[:, 10:] / 255, atol=1e-6)


def test_crops_are_8_to_100_percent_with_aspect_ratio_3_4_to_4_3():
  offset, size = (x.numpy() for x in draws(lambda seed: views.draw_crop(seed, [375, 500, 3])))
  area, aspect = size.prod(1) / (375 * 500), size[:, 1] / size[:, 0]
  assert 0.079 < area.min() < 0.1 and 0.9 < area.max() <= 1.0
  assert 0.74 < aspect.min() < 0.77 and 1.31 < aspect.max() < 1.35
  assert (offset >= 0).all() and (offset + size <= [375, 500]).all()


def test_color_draws():
  drawn = {
    name: value.numpy() for name, value in draws(lambda seed: views.draw_color(seed)).items()
  }
  for name, probability in dict(flip=0.5, jitter=0.8, grey=0.2, blur=0.5).items():
    assert drawn[name].mean() == pytest.approx(probability, abs=0.03), name
  for name, (low, high) in dict(
    brightness=(0.2, 1.8),
    contrast=(0.2, 1.8),
    saturation=(0.2, 1.8),
    hue=(-0.2, 0.2),
    sigma=(0.1, 2.0),
  ).items():
    span = high - low
    assert low <= drawn[name].min() < low + 0.01 * span, name
    assert high - 0.01 * span < drawn[name].max() <= high, name
    assert drawn[name].mean() == pytest.approx((low + high) / 2, abs=0.03 * span), name
  orders, counts = np.unique(drawn["order"], axis=0, return_counts=True)
  assert len(orders) == 24 and counts.min() > 4000 / 24 * 0.6


def test_color_strength_scales_the_ranges():
  drawn = draws(lambda seed: views.draw_color(seed, ranges=(0.4, 0.4, 0.4, 0.1)), 500)
  assert tf.reduce_max(drawn["brightness"]) <= 1.4 and tf.reduce_max(drawn["hue"]) <= 0.1


def test_jitter_applies_in_order_and_clips_after_each(picture):
  drawn = dict(
    jitter=True,
    grey=False,
    brightness=1.7,
    contrast=0.5,
    saturation=1.5,
    hue=0.1,
    order=tf.constant([1, 3, 0, 2]),
  )
  expected = planes(picture)
  for function, argument in (
    (color.contrast, 0.5),
    (color.hue, 0.1),
    (color.brightness, 1.7),
    (color.saturation, 1.5),
  ):
    expected = tf.clip_by_value(function(expected, argument), 0.0, 1.0)
  drawn = {name: tf.convert_to_tensor(value) for name, value in drawn.items()}
  np.testing.assert_allclose(
    color.apply_color(tf.constant(picture), drawn), image_of(expected), atol=1e-6
  )


@pytest.mark.parametrize("channels", [1, 3])
def test_view_is_a_function_of_image_and_seed(rng, channels):
  image = tf.constant(rng.integers(0, 256, (50, 70, channels), dtype=np.uint8))
  make = lambda seed: views.make_view(image, seed, image_size=32)
  in_graph = tf.function(make, autograph=False)
  seen = []
  for index in range(8):
    seed = tf.constant([3, index], tf.int64)
    view = make(seed)
    assert view.shape == (32, 32, channels) and view.dtype == tf.float32
    assert tf.reduce_min(view) >= 0 and tf.reduce_max(view) <= 1
    np.testing.assert_array_equal(view, make(seed))
    np.testing.assert_allclose(view, in_graph(seed), atol=1e-5)
    seen.append(view.numpy())
  assert all(not np.array_equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_one_channel_changes_contrast_then_brightness(rng):
  image = tf.constant(rng.integers(0, 256, (32, 32, 1), dtype=np.uint8))
  seed = tf.constant([0, 5], tf.int64)
  color_seed, crop_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
  drawn = views.draw_color(color_seed)
  view = views.crop_and_resize(image, *views.draw_crop(crop_seed, [32, 32, 1]), 32)
  if drawn["flip"]:
    view = view[:, ::-1]
  mean = tf.reduce_mean(view)
  expected = ((view - mean) * drawn["contrast"] + mean) * drawn["brightness"]
  np.testing.assert_allclose(
    views.make_view(image, seed, image_size=32), np.clip(expected, 0, 1), atol=1e-5
  )


def test_crops_are_at_least_as_large_as_asked():
  _, size = (x.numpy() for x in draws(lambda seed: views.draw_crop(seed, [300, 400, 3], 0.5)))
  area = size.prod(1) / (300 * 400)
  assert 0.49 < area.min() < 0.52 and 0.95 < area.max() <= 1.0


def test_crops_are_at_most_as_large_as_asked():
  full_size = tf.constant([300, 400])
  crops = draws(lambda seed: views.view_crop(seed, full_size, 0.1, 0.4))
  area = crops[1].numpy().prod(1) / (300 * 400)
  assert 0.09 < area.min() < 0.12 and 0.35 < area.max() < 0.41


def test_probabilities_and_ranges_of_colour():
  drawn = draws(lambda seed: views.draw_color(seed, (0.3, 0.6, 0.1), (0.1, 0.2, 0.3, 0.05)))
  for name, probability in dict(jitter=0.3, grey=0.6, blur=0.1).items():
    assert drawn[name].numpy().mean() == pytest.approx(probability, abs=0.03), name
  for name, spread in dict(brightness=0.1, contrast=0.2, saturation=0.3).items():
    assert np.abs(drawn[name].numpy() - 1).max() == pytest.approx(spread, rel=0.02), name
  assert np.abs(drawn["hue"].numpy()).max() == pytest.approx(0.05, rel=0.02)


def test_angles_are_uniform_up_to_the_largest():
  drawn = draws(lambda seed: views.draw_color(seed, largest_angle=90.0))["angle"].numpy()
  assert drawn.min() == pytest.approx(-np.pi / 2, rel=0.01)
  assert drawn.max() == pytest.approx(np.pi / 2, rel=0.01)
  assert np.abs(np.mean(drawn)) < 0.05


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rotation_by_quarters_is_exact(rng, quarters):
  image = rng.uniform(size=(16, 16, 3)).astype(np.float32)
  rotated = views.rotate(tf.constant(image), tf.constant(quarters * np.pi / 2, tf.float32))
  np.testing.assert_allclose(rotated, np.rot90(image, quarters), atol=1e-4)


def test_rotation_brings_in_no_black():
  white = tf.ones([20, 20, 1])
  np.testing.assert_allclose(views.rotate(white, tf.constant(0.7)), white, atol=1e-6)


@pytest.mark.parametrize(
  "random_flip, orientations",
  [("none", 1), ("horizontal", 2), ("horizontal_and_vertical", 4)],
)
def test_flips(random_flip, orientations):
  image = np.zeros([24, 24, 3], np.uint8)
  image[:12, :12] = 255  # one white corner
  make = tf.function(
    lambda seed: views.make_view(
      tf.constant(image),
      seed,
      image_size=24,
      crop_min_area=1.0,
      random_flip=random_flip,
      color_jitter_strength=0.0,
      grey_probability=0.0,
      use_blur=False,
    ),
    autograph=False,
  )
  corners = set()
  for index in range(40):
    view = make(tf.constant([0, index], tf.int64)).numpy()
    halves = view.reshape(2, 12, 2, 12, 3).mean(axis=(1, 3, 4))
    corners.add(np.unravel_index(halves.argmax(), halves.shape))
  assert len(corners) == orientations


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32])
def test_images_of_other_numbers_than_bytes_or_16_bits_are_refused(dtype):
  """Beside the largest number of such a type all of them would be black."""
  with pytest.raises(ValueError, match="uint8 or uint16. Received: " + dtype.name):
    views.make_view(tf.ones([40, 40, 3], dtype), [0, 1], image_size=32)
