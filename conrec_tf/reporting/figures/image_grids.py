"""Figures made of images: reconstructions, attention, extremes, neighbours."""

from collections.abc import Sequence

from matplotlib.figure import Figure
import numpy as np

from conrec_tf.reporting.figures.plot_style import (
  CELL,
  HEAT,
  RIGHT,
  WRONG,
  Picture,
  caption,
  colour_bar,
  draw_frame,
  hide_axes,
  image_grid,
  overlay_heatmap,
  to_rgb,
  wrap_label,
)

LEAST_COLOR_MAX = 2.0  # so that even weights don't seem to differ

# Image, attention weights or None, probability of the true class, predicted class or None.
Extreme = tuple[np.ndarray, np.ndarray | None, float, str | None]
Neighbour = tuple[np.ndarray, float, str | None]  # image, similarity, label or None


def reconstructions(
  targets: np.ndarray, rows: Sequence[tuple[str, np.ndarray, np.ndarray]]
) -> Picture:
  """Draws target, corrupted, reconstruction and error by kind of corruption (paper, Figure 3).

  Args:
    targets: float `[n, H, W, C]`.
    rows: `[(kind, corrupted, reconstruction)]`, float `[n, H, W, C]` each.
  """
  count = len(targets)
  size = (4 * CELL + 0.55, (CELL + 0.13) * count * len(rows) + 0.75)
  titles = ("target", "corrupted", "reconstruction")
  drawn, grid = image_grid(count * len(rows), 4, size, titles)
  errors = [np.abs(made - targets).mean(axis=-1) for _, _, made in rows]
  most = max(0.1, float(np.percentile(errors, 99.5)))
  for number, ((kind, corrupted, made), error) in enumerate(zip(rows, errors, strict=True)):
    for index in range(count):
      axes = grid[number * count + index]
      for cell, image in zip(axes, (targets[index], corrupted[index], made[index]), strict=False):
        hide_axes(cell, image)
      axes[3].imshow(error[index], cmap=HEAT, vmin=0, vmax=most)
      axes[3].set_title(
        f"MSE {np.square(made[index] - targets[index]).mean():.4f}", fontsize=8, pad=2
      )
      axes[0].set_ylabel(kind, fontsize=9)
  grid[0][3].set_title(f"error\n{grid[0][3].get_title()}", fontsize=8, pad=2)
  colour_bar(drawn, grid, most, "mean absolute error of a pixel, of 0 to 1", 0.02)
  return Picture(
    drawn,
    "reconstructions",
    "Reconstructions",
    "The decoder sees the corrupted image only. After Figure 3 of the paper.",
  )


def attention_maps(images: np.ndarray, weights: np.ndarray) -> Picture:
  """Draws the weights of attention pooling over images.

  Args:
    images: float `[n, H, W, C]`.
    weights: float `[n, h, w]`, relative to the image's mean.
  """
  columns = 3
  rows = -(-len(images) // columns)
  size = (2 * columns * CELL * 0.85, rows * CELL * 0.9 + 0.75)
  drawn, grid = image_grid(rows, 2 * columns, size)
  most = color_max(weights)
  for index, (image, weight) in enumerate(zip(images, weights, strict=True)):
    left, right = grid[index // columns][2 * (index % columns) :][:2]
    hide_axes(left, image)
    hide_axes(right, overlay_heatmap(image, upsample_nearest(weight, image.shape), most))
  colour_bar(drawn, grid, most, "weight, as a multiple of the image's average", 0.03)
  return Picture(
    drawn,
    "attention",
    "Attention",
    "Weights of the pooling: how much each location counts in the embedding, relative to the mean "
    f"of its image ({weights.min():.2f} to {weights.max():.2f} here). Each image is left of its "
    "weights.",
  )


def extremes(
  rows: Sequence[tuple[str, float, list[Extreme]]],
  classes: int,
  has_attention: bool,
) -> Picture:
  """Draws the images that are strongest and weakest for their class.

  Args:
    rows: `[(class name, accuracy, images)]`, with as many weak images at the end as strong
      ones at the beginning.
  """
  columns = max(len(images) for _, _, images in rows)
  weights = [image[1] for _, _, images in rows for image in images if image[1] is not None]
  most = color_max(np.stack(weights)) if weights else LEAST_COLOR_MAX
  height = CELL * (1.6 if has_attention else 1.0) + 0.65
  drawn = Figure((columns * CELL * 1.05, len(rows) * height))
  parts = drawn.subfigures(len(rows), 1, squeeze=False).ravel()
  for part, (name, accuracy, images) in zip(parts, rows, strict=True):
    part.suptitle(
      f"{name.replace('_', ' ')}, {100 * accuracy:.0f} % right", fontsize=9, x=0.02, ha="left"
    )
    cells = part.subplots(1, columns, squeeze=False)[0]
    for cell in cells:
      hide_axes(cell)
    for cell, (image, weight, probability, predicted) in zip(cells, images, strict=False):
      hide_axes(cell, image if weight is None else _one_over_other(image, weight, most))
      draw_frame(cell, WRONG if predicted else RIGHT, 2.0)
      instead = f"\n{wrap_label(predicted, 17)}" if predicted else ""
      caption(cell, f"{'✗' if predicted else '✓'} {100 * probability:.0f} %{instead}")
  text = (
    "Images with the highest probability of their own class on the left, those with the lowest on "
    "the right; ✗ names the predicted class."
  )
  if classes > len(rows):
    text = (
      f"Of {classes} classes the {len(rows) // 2} most and the {len(rows) // 2} least "
      f"accurate. {text}"
    )
  return Picture(
    drawn,
    "strongest_weakest",
    "Strongest and weakest images",
    text + (" Below each image are its attention weights." if has_attention else ""),
  )


def neighbours(
  rows: Sequence[tuple[np.ndarray, str | None, list[Neighbour]]],
  labelled: bool,
) -> Picture:
  """Draws queries and their nearest neighbours.

  Args:
    rows: `[(query image, label or None, neighbours)]`.
  """
  columns = 1 + len(rows[0][2])
  drawn, grid = image_grid(len(rows), columns, (columns * CELL, len(rows) * (CELL + 0.45) + 0.3))
  for axes, (query, name, nearest) in zip(grid, rows, strict=True):
    hide_axes(axes[0], query)
    draw_frame(axes[0], "black")
    caption(axes[0], wrap_label(name or "", 17) if labelled else "")
    for cell, (image, similarity, other) in zip(axes[1:], nearest, strict=True):
      hide_axes(cell, image)
      text = f"{similarity:.2f}"
      if labelled:
        right = other == name
        draw_frame(cell, RIGHT if right else WRONG, 2.5)
        text = f"✓ {text}" if right else f"✗ {text}\n{wrap_label(other or '', 17)}"
      caption(cell, text)
  grid[0][0].set_title("query", fontsize=9)
  grid[0][1].set_title("nearest …", fontsize=9, loc="left")
  marks = " ✗ and an orange frame mark other classes than the query's." if labelled else ""
  return Picture(
    drawn,
    "neighbours",
    "Nearest neighbours",
    "Random images of the evaluation split and the training images nearest to them, with the "
    f"cosine similarity of their embeddings, the nearest first.{marks}",
  )


def color_max(weights: np.ndarray) -> float:
  """Returns the weight of the brightest colour for several maps."""
  return max(LEAST_COLOR_MAX, float(np.percentile(weights, 99.5)))


def upsample_nearest(weights: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """Returns weights `[h, w]` at the height and width of an image, each location a rectangle."""
  rows, columns = (
    np.arange(side) * least // side for side, least in zip(shape, weights.shape, strict=False)
  )
  return weights[rows][:, columns]


def _one_over_other(image: np.ndarray, weights: np.ndarray, most: float) -> np.ndarray:
  """Returns the image over its attention."""
  heat = overlay_heatmap(image, upsample_nearest(weights, image.shape), most)
  return np.concatenate([to_rgb(image), heat], axis=0)
