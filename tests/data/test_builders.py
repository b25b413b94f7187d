import collections

import numpy as np
import pytest
from scipy.ndimage import find_objects, label

from conrec_tf.config import Config
from conrec_tf.data.builders import circles_square, rectangle_triangle
from conrec_tf.data.registry import load_dataset


def test_prepared_data_is_balanced_and_binary(data_dir):
  source = load_dataset(Config(data_dir=data_dir))
  seen = set()
  for split, per_class in ((source.train, 250), (source.eval, 125)):
    labels = collections.Counter()
    for record in split.records().as_numpy_iterator():
      labels[record["label"]] += 1
      seen.add(record["image"])
    assert labels == dict.fromkeys(range(4), per_class)
  assert len(seen) == 1500
  image = source.decode(record["image"]).numpy()
  assert image.shape == (128, 128, 1) and set(np.unique(image)) == {0, 255}


def unrotated(monkeypatch, seed, **kind):
  """A picture before its rotation."""
  monkeypatch.setattr("PIL.Image.Image.rotate", lambda picture, angle: picture)
  return rectangle_triangle.draw(np.random.default_rng(seed), **kind)[..., 0] > 0


@pytest.mark.parametrize("equilateral", [False, True])
@pytest.mark.parametrize("round_corners", [False, True])
def test_geometry(monkeypatch, round_corners, equilateral):
  for seed in range(30):
    white = unrotated(monkeypatch, seed, round_corners=round_corners, equilateral=equilateral)
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    assert 64 <= bottom - top + 1 <= 88 and 64 <= right - left + 1 <= 88
    assert min(top, left) >= 20 and max(bottom, right) <= 107
    assert white[top, left] == (not round_corners)
    inside = ~white[top + 4 : bottom - 3, left + 4 : right - 3]
    if not round_corners:
      assert (~white[top : bottom + 1, left : right + 1]).sum() == inside.sum()
      height = np.flatnonzero(inside.any(1))
      width = np.flatnonzero(inside.any(0))
      height, width = height[-1] - height[0], width[-1] - width[0]
      if equilateral:
        assert width >= 16 and height == pytest.approx(width * 3**0.5 / 2, abs=1)
      else:
        assert height >= 16 and width >= 16


def test_one_rng_one_picture():
  pictures = [
    rectangle_triangle.draw(np.random.default_rng(seed), True, True) for seed in (1, 1, 2)
  ]
  assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_circles_square(tmp_path):
  source = load_dataset(Config(dataset="circles_square", data_dir=str(tmp_path)))
  for split, per_class in ((source.train, 200), (source.eval, 133)):
    labels = collections.Counter(int(record["label"]) for record in split.records())
    assert labels == dict.fromkeys(range(3), per_class)
  assert source.class_names == ("two_circles", "square_and_circle", "two_squares")


@pytest.mark.parametrize("squares", [0, 1, 2])
def test_circles_square_geometry(monkeypatch, squares):
  monkeypatch.setattr("PIL.Image.Image.rotate", lambda picture, angle: picture)
  for seed in range(30):
    white = circles_square.draw(np.random.default_rng(seed), squares)[..., 0] > 0
    parts, count = label(white)
    assert count == 2
    boxes = [
      (rows.stop - rows.start, columns.stop - columns.start)
      for rows, columns in find_objects(parts)
    ]
    assert all(16 <= side <= 42 for box in boxes for side in box)
    full = sum(
      np.sum(parts == index + 1) == height * width for index, (height, width) in enumerate(boxes)
    )
    assert full == squares
