"""How pictures look: colours that colour-blind people and grey print tell apart; figures, files."""

import contextlib
import dataclasses
import pathlib
import textwrap

import matplotlib
from matplotlib.figure import Figure
import numpy as np

# Okabe and Ito's palette, without its yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))
WRONG, RIGHT, GREY = PALETTE[1], PALETTE[2], "#777777"
HEAT = "cividis"  # its lightness grows evenly, so that it survives grey print
CHART = (4.8, 3.3)  # inches; still readable on a phone's width
PIXELS_PER_INCH = 144
STYLE = {
  "font.family": "DejaVu Sans",  # comes with matplotlib
  "font.size": 10,
  "axes.titlesize": 10,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "grid.color": "#dddddd",
  "grid.linewidth": 0.6,
  "axes.axisbelow": True,
  "lines.linewidth": 1.8,
  "lines.markersize": 5,
  "legend.frameon": False,
  "legend.fontsize": 9,
  "figure.constrained_layout.use": True,
  "savefig.dpi": PIXELS_PER_INCH,
  "svg.hashsalt": "conrec_tf",  # the same picture gives the same file
  "image.interpolation": "nearest",
}


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of the report, in two files.

  Attributes:
    name: of the files, without suffix.
    title: what it is called on the page.
    text: what it shows, in a sentence or two.
    png, svg: paths.
    drawing: whether it consists of lines, which print best from the SVG.
  """

  name: str
  title: str
  text: str
  png: pathlib.Path
  svg: pathlib.Path
  drawing: bool


@contextlib.contextmanager
def rc_style():
  """Figures made and saved inside look alike; matplotlib's own settings stay as they are."""
  with matplotlib.rc_context(STYLE):
    yield


def figure(size=CHART):
  """A figure of its own, outside of any global list, of (width, height) in inches."""
  return Figure(figsize=size)


def series_style(index):
  """Colour, marker and dashes of the index-th run."""
  return dict(
    color=PALETTE[index % len(PALETTE)],
    marker=MARKERS[index % len(MARKERS)],
    linestyle=DASHES[index % len(DASHES)],
  )


def hide_axes(axes, image=None):
  """Axes without ticks; with an image in a thin frame if there is one."""
  axes.set(xticks=[], yticks=[])
  axes.grid(False)
  for spine in axes.spines.values():
    spine.set_visible(False)
  if image is not None:
    axes.imshow(image, vmin=0.0, vmax=1.0)
    draw_frame(axes, "#bbbbbb", 0.6)


def draw_frame(axes, colour, width=2.5):
  """Draws a frame around an image."""
  for spine in axes.spines.values():
    spine.set(visible=True, color=colour, linewidth=width)


def to_rgb(image):
  """`[H, W, C]` in [0, 1] as RGB; of channels that are neither grey nor RGB, their mean."""
  if image.shape[-1] == 3:
    return image
  return np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)


def overlay_heatmap(image, weights, most):
  """An image, greyed, with weights as colours over it: darkest at 0, brightest at `most`.

  Args:
    image: float `[H, W, C]` in [0, 1].
    weights: float `[H, W]`.
    most: the weight of the brightest colour.

  Returns:
    float `[H, W, 3]` in [0, 1].
  """
  grey = to_rgb(image).mean(axis=-1, keepdims=True)
  colours = matplotlib.colormaps[HEAT](np.clip(weights / most, 0.0, 1.0))[..., :3]
  return np.clip(0.4 * grey + 0.6 * colours, 0.0, 1.0)


def wrap_label(name, width=20, lines=2):
  """A class name, broken into lines of at most so many characters; what is too long is cut."""
  words = name.replace("_", " ")
  return "\n".join(textwrap.wrap(words, width, max_lines=lines, placeholder="…")) or name[:width]


def save(drawn, folder, name, title, text, drawing=False):
  """Writes a figure as PNG and SVG; returns the `Picture`."""
  png, svg = (folder / f"{name}.{kind}" for kind in ("png", "svg"))
  drawn.savefig(png)
  drawn.set_layout_engine("none")  # it stays as it was laid out
  drawn.savefig(svg, metadata={"Date": None})
  return Picture(name, title, text, png, svg, drawing)
