import numpy as np
import oracles
import pytest
import tensorflow as tf

from conrec_tf.data.augmentation import corruption


def draws(function, count=3000):
  """What `function(seed)` draws for many seeds, as arrays."""
  seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.constant(7, tf.int64), i]))
  unconverted = tf.autograph.experimental.do_not_convert(function)  # AutoGraph takes seconds
  return next(iter(seeds.map(unconverted).batch(count)))


@pytest.fixture
def view(rng):
  return rng.uniform(size=(40, 32, 3)).astype(np.float32)


def test_in_paint(view):
  boxes = [[3, 4, 9, 10], [5, 6, 12, 8], [0, 0, 0, 0]]
  colours = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]
  expected = view.copy()
  expected[3:9, 4:10] = colours[0]
  expected[5:12, 6:8] = colours[1]
  painted = corruption.in_paint(tf.constant(view), tf.constant(boxes), tf.constant(colours))
  np.testing.assert_array_equal(painted, expected)


def test_out_paint(view):
  boxes = [[3, 4, 20, 20], [10, 10, 30, 25], [0, 0, 0, 0]]
  expected = np.full_like(view, [0.1, 0.5, 0.9])
  for top, left, bottom, right in boxes:
    expected[top:bottom, left:right] = view[top:bottom, left:right]
  painted = corruption.out_paint(
    tf.constant(view), tf.constant(boxes), tf.constant([0.1, 0.5, 0.9])
  )
  np.testing.assert_array_equal(painted, expected)


@pytest.mark.parametrize(
  "boxes",
  [
    [[3, 4, 9, 10]],
    [[3, 4, 9, 10], [5, 6, 12, 8], [4, 4, 8, 12]],  # overlapping: the last one wins
    [[1, 1, 1, 1], [39, 31, 40, 32], [0, 0, 7, 7]],  # empty, one pixel, a corner
    [[1, 1, 1, 1]],
  ],
)
def test_shuffle_blocks(view, rng, boxes):
  size = sum((bottom - top) * (right - left) for top, left, bottom, right in boxes)
  keys = rng.uniform(size=size).astype(np.float32)
  shuffled = corruption.shuffle_blocks(tf.constant(view), tf.constant(boxes), tf.constant(keys))
  np.testing.assert_array_equal(shuffled, oracles.shuffle_blocks(view, boxes, keys))


@pytest.mark.parametrize("falls", [False, True])
def test_intensity_map(rng, falls):
  image = rng.uniform(size=(16, 16, 1)).astype(np.float32)
  image[0, :2, 0] = [0.0, 1.0]
  image[1, :, 0] = np.linspace(0.0, 1e-4, 16)
  control_points = rng.uniform(size=(5, 2, 2)).astype(np.float32)
  control_points[0, 0, 0] = 1e-4  # almost vertical at the start
  for points in control_points:
    mapped = corruption.map_intensity(tf.constant(image), tf.constant(points), tf.constant(falls))
    np.testing.assert_allclose(mapped, oracles.bezier_map(image, *points, falls), atol=1e-5)
    np.testing.assert_allclose(mapped[0, :2, 0], [1.0, 0.0] if falls else [0.0, 1.0], atol=1e-6)


def sides_and_counts(boxes):
  """Heights and widths of the boxes that exist, and how many exist per draw."""
  sides = boxes[..., 2:] - boxes[..., :2]
  exists = sides[..., 0] > 0
  return sides[exists], exists.sum(1), boxes[exists]


def test_in_painting_draws_at_128_pixels():
  boxes, colours = draws(lambda s: corruption.draw_in_painting(s, [128, 128, 3]))
  sides, counts, boxes = sides_and_counts(boxes.numpy())
  assert sides.min() == 17 and sides.max() == 24
  assert boxes.min() == 3 and boxes.max() == 125
  assert (counts == 0).mean() == pytest.approx(0.05, abs=0.015)
  assert (counts == 5).mean() == pytest.approx(0.95**5, abs=0.03)
  assert colours.shape[1:] == (5, 3) and 0 <= tf.reduce_min(colours) and tf.reduce_max(colours) < 1


def test_out_painting_draws_at_128_pixels():
  boxes, colour = draws(lambda s: corruption.draw_out_painting(s, [128, 128, 1]))
  sides, counts, boxes = sides_and_counts(boxes.numpy())
  assert sides.min() == 75 and sides.max() == 92
  assert boxes.min() == 3 and boxes.max() == 125
  assert counts.min() == 1 and (counts == 1).mean() == pytest.approx(0.05, abs=0.015)
  assert (counts == 5).mean() == pytest.approx(0.95**4, abs=0.03)
  assert colour.shape[1:] == (1,)


@pytest.mark.parametrize("goes_on, untouched", [(0.99, 0.01), (1.0, 0.0)])
def test_block_draws_at_128_pixels(goes_on, untouched):
  boxes = draws(lambda s: corruption.draw_blocks(s, [128, 128], goes_on)[0])
  sides, counts, boxes = sides_and_counts(boxes.numpy())
  assert sides.min() == 1 and sides.max() == 24
  assert boxes.min() == 0 and boxes.max() == 128
  assert (counts == 0).mean() == pytest.approx(untouched, abs=0.006)
  assert (counts == 15).mean() == pytest.approx(goes_on**15, abs=0.03)


@pytest.mark.parametrize("channels, kinds", [(3, 3), (1, 4)])
def test_kinds_are_equally_likely(monkeypatch, channels, kinds):
  names = ["shuffle_blocks", "in_paint", "out_paint", "map_intensity"]
  for mark, name in enumerate(names):  # each kind leaves its number instead
    monkeypatch.setattr(corruption, name, lambda view, *_, mark=mark: tf.zeros_like(view) + mark)
  view = tf.zeros([32, 32, channels])
  marks = draws(lambda seed: corruption.corrupt(view, seed)[0, 0, 0]).numpy()
  shares = [(marks == mark).mean() for mark in range(4)]
  np.testing.assert_allclose(shares, [1 / kinds] * kinds + [0] * (4 - kinds), atol=0.03)


@pytest.mark.parametrize("size, channels", [(21, 1), (24, 3), (64, 3)])
def test_corrupt_is_a_function_of_view_and_seed(rng, size, channels):
  view = tf.constant(rng.uniform(size=(size, size, channels)).astype(np.float32))
  in_graph = tf.function(corruption.corrupt, autograph=False)
  kinds = list(corruption.kinds_of_corruption(channels, channels == 1).values())
  seen = set()
  for index in range(16):
    seed = tf.constant([3, index], tf.int64)
    corrupted = in_graph(view, seed)
    assert corrupted.shape == view.shape
    assert tf.reduce_min(corrupted) >= 0 and tf.reduce_max(corrupted) <= 1
    np.testing.assert_array_equal(corrupted, in_graph(view, seed))
    kind_seed, own_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    kind = tf.random.stateless_uniform([], kind_seed, maxval=len(kinds), dtype=tf.int32)
    np.testing.assert_allclose(corrupted, kinds[int(kind)](view, own_seed), atol=1e-6)
    seen.add(int(kind))
  assert len(seen) == len(kinds)
  np.testing.assert_allclose(corruption.corrupt(view, seed), corrupted, atol=1e-6)  # eagerly
