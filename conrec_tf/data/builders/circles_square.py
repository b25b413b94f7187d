"""Circles-Square (paper, section 3.1): what matters is the relation of two objects."""

import numpy as np
from PIL import Image, ImageDraw

from conrec_tf.data.builders.drawn import SIZE, DrawnPictures

ACROSS = (16, 42)
GAP = 10


class CirclesSquare(DrawnPictures):
  """Two circles, a square and a circle, or two squares; white on black.

  Drawn locally from a fixed seed, classes equally frequent: 600 train images and
  399 test images, 133 a class (the paper says 400).
  """

  RELEASE_NOTES = {"1.0.0": "600 train and 399 test images."}
  COUNTS = {"train": 600, "test": 399}
  CLASSES = ("two_circles", "square_and_circle", "two_squares")

  def picture(self, rng: np.random.Generator, label: int) -> np.ndarray:
    return draw(rng, squares=label)


def draw(rng: np.random.Generator, squares: int) -> np.ndarray:
  """Draws one picture.

  Args:
    squares: how many of the two objects are squares, 0 to 2; the others are circles.

  Returns:
    uint8 `[128, 128, 1]`, 0 or 255. Each object is 16 to 42 pixels across; on one axis at
    least their half-sizes plus 10 pixels lie between the centres. The final rotation can
    cut a corner.
  """

  def between(low: int, high: int) -> int:
    return int(rng.integers(low, high, endpoint=True))

  while True:
    sizes = [between(*ACROSS) for _ in range(2)]
    corners = [[between(0, SIZE - size) for _ in range(2)] for size in sizes]
    distance = max(
      abs((a + sizes[0] / 2) - (b + sizes[1] / 2)) for a, b in zip(*corners, strict=True)
    )
    if distance >= sum(sizes) / 2 + GAP:
      break
  picture = Image.new("L", (SIZE, SIZE), 0)
  pen = ImageDraw.Draw(picture)
  for index, (size, (x, y)) in enumerate(zip(sizes, corners, strict=True)):
    shape = pen.rectangle if index < squares else pen.ellipse
    shape([x, y, x + size - 1, y + size - 1], fill=255)
  return np.asarray(picture.rotate(between(-90, 90)))[..., np.newaxis]
