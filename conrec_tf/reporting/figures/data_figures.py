"""Figures of a dataset: labels, sizes, values, images, views, images that look alike."""

from collections.abc import Sequence

import numpy as np

from conrec_tf.reporting.figures.plot_style import (
  CELL,
  GREY,
  PALETTE,
  Picture,
  caption,
  chart,
  draw_frame,
  hide_axes,
  image_grid,
  series_style,
  wrap_label,
)

LABELS_SHOWN = 40
NAME_LENGTH = 36  # characters
CHANNEL_COLORS = {1: (GREY,), 3: (PALETTE[1], PALETTE[2], PALETTE[0])}  # red, green, blue


def label_counts(class_names: Sequence[str], counts: dict[str, np.ndarray]) -> Picture:
  """Draws how many images each label has, by split; of many labels the rarest and most frequent.

  Args:
    counts: int `[K]` by split.
  """
  order = np.argsort(-sum(counts.values()), kind="stable")
  text = "Images of each label."
  if len(order) > LABELS_SHOWN:
    half = LABELS_SHOWN // 2
    text = f"Images of the {half} most frequent and the {half} rarest of {len(order)} labels."
    order = np.concatenate([order[:half], order[-half:]])
  drawn, axes = chart((4.8, 0.5 + 0.22 * len(order)))
  left = np.zeros(len(order))
  for number, (name, count) in enumerate(counts.items()):
    color = PALETTE[number % len(PALETTE)]
    axes.barh(np.arange(len(order)), count[order], left=left, color=color, label=name)
    left += count[order]
  names = [wrap_label(class_names[index], 24, 1) for index in order]
  axes.set_yticks(np.arange(len(order)), names, fontsize=8)
  axes.invert_yaxis()
  axes.grid(axis="y", visible=False)
  axes.set_xlabel("images")
  axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(counts))
  return Picture(drawn, "labels", "Labels", text, drawing=True)


def image_sizes(sizes: dict[str, np.ndarray], image_size: int) -> Picture:
  """Draws heights over widths.

  Args:
    sizes: int `[N, 2]` (height, width) by split.
  """
  drawn, axes = chart()
  for number, (name, pairs) in enumerate(sizes.items()):
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    style = series_style(number)
    area = 8 + 120 * counts / counts.max()
    axes.scatter(
      unique[:, 1],
      unique[:, 0],
      area,
      alpha=0.5,
      color=style["color"],
      marker=style["marker"],
      label=name,
    )
  axes.axvline(image_size, color=GREY, linewidth=1)
  axes.axhline(image_size, color=GREY, linewidth=1)
  axes.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, None), ylim=(0, None))
  axes.legend()
  return Picture(
    drawn,
    "sizes",
    "Sizes",
    f"A mark for each size, larger where more images have it. Grey lines: {image_size} pixels, "
    "the size that the network gets.",
    drawing=True,
  )


def values(histogram: np.ndarray) -> Picture:
  """Draws how often values occur, by channel.

  Args:
    histogram: float `[C, n]`, shares of the pixels by value from 0 to 1.
  """
  drawn, axes = chart()
  channels, bins = histogram.shape
  colors = CHANNEL_COLORS.get(channels, PALETTE)
  for channel in range(channels):
    axes.stairs(
      100 * histogram[channel],
      np.linspace(0, 1, bins + 1),
      color=colors[channel % len(colors)],
      label=f"channel {channel + 1}",
      linewidth=1.4,
    )
  axes.set(xlabel="value, as a share of white", ylabel="pixels, %", xlim=(0, 1))
  if channels > 1:
    axes.legend()
  return Picture(
    drawn,
    "values",
    "Values",
    "Histogram of pixel values as the network gets them. Images whose values fill a small part of "
    "the range are dark or flat to it.",
    drawing=True,
  )


def some_images(images: Sequence[np.ndarray], titles: Sequence[str]) -> Picture:
  """Draws images as they are decoded.

  Args:
    images: float `[h, w, C]` in [0, 1] each.
  """
  columns = 6
  rows = -(-len(images) // columns)
  drawn, grid = image_grid(rows, columns, (columns * CELL, rows * (CELL + 0.32)))
  for axes, image, title in zip(grid.ravel(), images, titles, strict=False):
    hide_axes(axes, image)
    caption(axes, wrap_label(title, 18, 1))
  return Picture(
    drawn, "images", "Images", "Some images, upright, as they are decoded, with labels."
  )


def views(
  rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
  is_corrupted: bool,
) -> Picture:
  """Draws images and the network's inputs that are made of them.

  Args:
    rows: image `[h, w, C]`, its two views and the two inputs `[2, H, W, C]`.
    is_corrupted: whether inputs differ from views.
  """
  titles = ["image", "view 1", "view 2"] + ["input 1", "input 2"] * is_corrupted
  size = (len(titles) * CELL, len(rows) * (CELL + 0.05) + 0.25)
  drawn, grid = image_grid(len(rows), len(titles), size, titles)
  for cells, (image, targets, inputs) in zip(grid, rows, strict=True):
    for axes, shown in zip(cells, [image, *targets, *inputs], strict=False):
      hide_axes(axes, shown)
  text = "Two views of each image, augmented as by the given flags"
  if is_corrupted:
    text += ", and the corrupted views, which the network gets and reconstructs the views from"
  return Picture(drawn, "views", "Views and inputs", f"{text}.")


def look_alikes(pairs: Sequence[tuple[np.ndarray, np.ndarray, str, bool]]) -> Picture:
  """Draws pairs of images that look alike.

  Args:
    pairs: two images `[h, w, C]`, what stands below, whether they lie in different splits.
  """
  columns = 3
  rows = -(-len(pairs) // columns)
  drawn, grid = image_grid(rows, 2 * columns, (2.05 * columns * CELL, rows * (CELL + 0.35)))
  for number, (first, second, text, crosses) in enumerate(pairs):
    cells = grid[number // columns][2 * (number % columns) :][:2]
    for axes, image in zip(cells, (first, second), strict=True):
      hide_axes(axes, image)
      if crosses:
        draw_frame(axes, PALETTE[1], 2.0)
    name = text if len(text) <= NAME_LENGTH else "…" + text[1 - NAME_LENGTH :]
    caption(cells[0], name, loc="left")
  return Picture(
    drawn,
    "look_alikes",
    "Images that look alike",
    "Pairs with nearly equal perceptual hashes. Orange frame: in different splits, so that the "
    "network is evaluated on an image that it has learnt from.",
  )
