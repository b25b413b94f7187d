"""Figures of segmented images."""

from collections.abc import Sequence
import pathlib

import numpy as np

from conrec_tf.reporting.figures.plot_style import Picture, figure, hide_axes, save, wrap_label

WIDTH = 2.2  # inches of an image

# Name, Dice, and the image alone, under its mask and under the prediction.
Row = tuple[str, float, tuple[np.ndarray, np.ndarray, np.ndarray]]


def segmentations(
  rows: Sequence[Row],
  colours: Sequence[tuple[str, np.ndarray]],
  looked_at: int,
  folder: pathlib.Path,
) -> Picture:
  """Draws images beside their masks and what the network says.

  Args:
    rows: in their order.
    colours: `[(class name, colour uint8 [3])]`, for the legend.
    looked_at: how many images these are chosen from.
    folder: where to write.
  """
  heights = [images[0].shape[0] / images[0].shape[1] for _, _, images in rows]
  drawn = figure((3 * WIDTH, WIDTH * sum(heights) + 0.35 * len(rows) + 0.5))
  grid = drawn.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
  for axes, (name, dice, images) in zip(grid, rows, strict=True):
    for place, image in zip(axes, images, strict=True):
      hide_axes(place, image)
    axes[0].set_xlabel(wrap_label(name, 36), fontsize=7.5, labelpad=2)
    axes[2].set_xlabel(f"Dice {100 * dice:.1f} %", fontsize=7.5, labelpad=2)
  for axes, title in zip(grid[0], ("image", "mask", "prediction"), strict=True):
    axes.set_title(title, fontsize=9, pad=3)
  names = ", ".join(f"{name} #{''.join(f'{part:02x}' for part in rgb)}" for name, rgb in colours)
  return save(
    drawn,
    folder,
    "segmentations",
    "Segmentations",
    f"Of {looked_at} images those with the lowest Dice, the lowest first. Colours: {names}; grey "
    "doesn't count.",
  )
