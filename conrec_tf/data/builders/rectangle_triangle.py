"""Rectangle-Triangle (paper, section 3.1): two fine details, four classes."""

from collections.abc import Iterator
import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
import tensorflow_datasets as tfds

SIZE = 128
SIDE_RANGE = (64, 88)
MARGIN = 20
CORNER_RADIUS = 20
TRIANGLE_MARGIN = 4
SMALLEST_TRIANGLE = 16

Examples = Iterator[tuple[Any, dict[str, Any]]]  # of key and features


class RectangleTriangle(tfds.core.GeneratorBasedBuilder):
  """A white rectangle with right or round corners, a black triangle inside it.

  Drawn locally from a fixed seed, 1000 train and 500 test images, classes
  equally frequent. The paper's own files aren't public; these follow its
  description and the geometry of the authors' generator.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "1000 train and 500 test images."}
  CORNERS = ("right_corners", "round_corners")
  TRIANGLES = ("right_triangle", "equilateral_triangle")

  def _info(self) -> tfds.core.DatasetInfo:
    names = [f"{corners}_{triangle}" for corners in self.CORNERS for triangle in self.TRIANGLES]
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(SIZE, SIZE, 1), encoding_format="png"),
          "label": tfds.features.ClassLabel(names=names),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="https://arxiv.org/abs/2104.04323",
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    del dl_manager  # nothing to download
    return {"train": self._generate_examples(0, 1000), "test": self._generate_examples(1, 500)}

  def _generate_examples(self, stream: int, count: int) -> Examples:
    for index in range(count):
      label = index % 4
      image = draw(np.random.default_rng([stream, index]), label >= 2, label % 2 == 1)
      yield index, {"image": image, "label": label}


def draw(rng: np.random.Generator, round_corners: bool, equilateral: bool) -> np.ndarray:
  """Draws one picture.

  Args:
    rng: draws all random numbers.
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
