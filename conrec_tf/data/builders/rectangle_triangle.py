"""Rectangle-Triangle (paper, section 3.1): two fine details, four classes."""

import math

import numpy as np
from PIL import Image, ImageDraw

from conrec_tf.data.builders.drawn import SIZE, DrawnPictures

SIDE_RANGE = (64, 88)
MARGIN = 20
CORNER_RADIUS = 20
TRIANGLE_MARGIN = 4
SMALLEST_TRIANGLE = 16


class RectangleTriangle(DrawnPictures):
  """A white rectangle with right or round corners, a black triangle inside it.

  Drawn locally from a fixed seed, 1000 train and 500 test images, classes
  equally frequent. The paper's own files aren't public; these follow its
  description and the geometry of the authors' generator.
  """

  RELEASE_NOTES = {"1.0.0": "1000 train and 500 test images."}
  COUNTS = {"train": 1000, "test": 500}
  CLASSES = (
    *("right_corners_right_triangle", "right_corners_equilateral_triangle"),
    *("round_corners_right_triangle", "round_corners_equilateral_triangle"),
  )

  def picture(self, rng: np.random.Generator, label: int) -> np.ndarray:
    return draw(rng, round_corners=label >= 2, equilateral=label % 2 == 1)


def draw(rng: np.random.Generator, round_corners: bool, equilateral: bool) -> np.ndarray:
  """Draws one picture.

  Args:
    round_corners: whether the rectangle's corners are round (radius 20 pixels).
    equilateral: whether the triangle is equilateral; else right-angled with legs
      of independent lengths.

  Returns:
    uint8 `[128, 128, 1]`, 0 or 255.
  """

  def between(low: int, high: int) -> int:
    return int(rng.integers(low, high, endpoint=True))

  width, height = between(*SIDE_RANGE), between(*SIDE_RANGE)
  left, top = (between(MARGIN, SIZE - MARGIN - side) for side in (width, height))
  picture = Image.new("L", (SIZE, SIZE), 0)
  pen = ImageDraw.Draw(picture)
  pen.rounded_rectangle(
    [left, top, left + width - 1, top + height - 1],
    radius=CORNER_RADIUS if round_corners else 0,
    fill=255,
  )

  room = [side - 2 * TRIANGLE_MARGIN - 1 for side in (width, height)]
  if equilateral:
    base = between(SMALLEST_TRIANGLE, min(room))
    rise = round(base * math.sqrt(3) / 2)
    apex = base / 2
  else:
    base, rise = (between(SMALLEST_TRIANGLE, length) for length in room)
    apex = 0
  x = left + TRIANGLE_MARGIN + between(0, room[0] - base)
  y = top + TRIANGLE_MARGIN + between(0, room[1] - rise)
  pen.polygon([(x + apex, y), (x, y + rise), (x + base, y + rise)], fill=0)

  return np.asarray(picture.rotate(between(-90, 90)))[..., np.newaxis]
