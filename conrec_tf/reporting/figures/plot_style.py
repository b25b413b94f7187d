"""The style of figures, with colours that survive colour blindness and grey print; their files."""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
import functools
import pathlib
import textwrap
from typing import Any
import warnings

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
import numpy as np

# Okabe and Ito's palette, without its yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))
WRONG, RIGHT, GREY = PALETTE[1], PALETTE[2], "#777777"
HEAT = "cividis"  # its lightness grows evenly, so that it survives grey print
OTHER_SCRIPTS = (  # families that people have, in the order of trying
  *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "WenQuanYi Zen Hei"),
  *("Droid Sans Fallback", "Noto Sans Devanagari", "Noto Sans Thai"),
)
Sheet = tuple[str, list[list[np.ndarray]]]  # a title, and rows of pictures float [H, W, 3]
CHART = (4.8, 3.3)  # inches; still readable on a phone's width
CELL = 1.15  # inches, of an image in a grid of them
PIXELS_PER_INCH = 144
LONGEST_SIDE = 320  # pixels of an image that is drawn
STYLE: Any = {  # matplotlib's type for it names every setting
  "text.parse_math": False,  # a label may be $
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
  """A figure of the report.

  Attributes:
    drawn: the figure.
    name: of its files, without suffix.
    title: what it is called on the page.
    text: what it shows, in a sentence or two.
    drawing: whether it consists of lines, which print best from the SVG.
  """

  drawn: Figure
  name: str
  title: str
  text: str
  drawing: bool = False

  def save(self, folder: pathlib.Path) -> None:
    """Writes it as PNG and SVG."""
    self.drawn.savefig(folder / f"{self.name}.png")
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
      self.drawn.set_layout_engine(None)  # it stays as it was laid out, and is drawn once
    self.drawn.savefig(folder / f"{self.name}.svg", metadata={"Date": None})


@contextlib.contextmanager
def rc_style() -> Iterator[None]:
  """Applies the style to figures made and saved inside."""
  with matplotlib.rc_context(STYLE | {"font.family": fonts()}), warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Glyph .* missing from")  # said once, by the report
    yield


@functools.cache
def fonts() -> list[str]:
  """Returns the families of the figures' text: matplotlib's own, and those for other scripts."""
  installed = {font.name for font in font_manager.fontManager.ttflist}
  return ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in installed)]


def undrawable(texts: Iterable[str]) -> str:
  """Returns the characters that none of the fonts has, each once."""
  found = [font_manager.get_font(font_manager.findfont(name)) for name in fonts()]
  characters = sorted({character for text in texts for character in text})
  return "".join(
    character
    for character in characters
    if not any(font.get_char_index(ord(character)) for font in found)
  )


def chart(size: tuple[float, float] = CHART) -> tuple[Figure, Axes]:
  """Returns a figure of (width, height) in inches, that pyplot doesn't keep, and its axes."""
  drawn = Figure(figsize=size)
  return drawn, drawn.subplots()


def series_style(index: int) -> dict[str, Any]:
  """Returns colour, marker and dashes of the index-th run: others than those of any before it."""
  shape = index + index // len(PALETTE)  # where colours come again, markers and dashes are others
  return dict(
    color=PALETTE[index % len(PALETTE)],
    marker=MARKERS[shape % len(MARKERS)],
    linestyle=DASHES[shape % len(DASHES)],
  )


def image_grid(
  rows: int, columns: int, size: tuple[float, float], titles: Sequence[str] = (), **options: Any
) -> tuple[Figure, np.ndarray]:
  """Returns a figure of (width, height) in inches, and its axes `[rows, columns]` for images.

  Args:
    titles: of the first columns.
    options: of `Figure.subplots`.
  """
  drawn = Figure(figsize=size)
  grid = drawn.subplots(rows, columns, squeeze=False, **options)
  for axes in grid.ravel():
    hide_axes(axes)
  for axes, title in zip(grid[0], titles, strict=False):
    axes.set_title(title, fontsize=9, pad=3)
  return drawn, grid


def colour_bar(drawn: Figure, grid: np.ndarray, most: float, label: str, fraction: float) -> None:
  """Draws below all axes, in a share of their height, the colours of `HEAT` from 0 to `most`."""
  drawn.colorbar(
    ScalarMappable(Normalize(0, most), HEAT),
    ax=grid.ravel().tolist(),
    location="bottom",
    aspect=40,
    shrink=0.85,
    fraction=fraction,
    pad=0.015,
    label=label,
  )


def caption(axes: Axes, text: str, **options: Any) -> None:
  """Writes a text below an image."""
  axes.set_xlabel(text, fontsize=7.5, labelpad=2, **options)


def hide_axes(axes: Axes, image: np.ndarray | None = None) -> None:
  """Hides ticks and spines; shows an image `[H, W, C]` in a thin frame if there is one."""
  axes.set(xticks=[], yticks=[])
  axes.grid(False)
  for spine in axes.spines.values():
    spine.set_visible(False)
  if image is not None:
    axes.imshow(to_rgb(image), vmin=0.0, vmax=1.0)
    draw_frame(axes, "#bbbbbb", 0.6)


def draw_frame(axes: Axes, colour: str, width: float = 2.5) -> None:
  """Draws a frame around an image."""
  for spine in axes.spines.values():
    spine.set(visible=True, color=colour, linewidth=width)


def pixel_step(image: np.ndarray) -> int:
  """Returns the step between pixels of `[h, w, ...]` that are drawn, `LONGEST_SIDE` at most."""
  return -(-max(image.shape[:2]) // LONGEST_SIDE)


def to_rgb(image: np.ndarray) -> np.ndarray:
  """Returns `[H, W, C]` in [0, 1] as RGB; other than 3 channels give their mean in grey."""
  if image.shape[-1] == 3:
    return image
  return np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)


def overlay_heatmap(image: np.ndarray, weights: np.ndarray, most: float) -> np.ndarray:
  """Lays weights as colours over a greyed image: darkest at 0, brightest at `most`.

  Args:
    image: float `[H, W, C]` in [0, 1].
    weights: float `[H, W]`.

  Returns:
    float `[H, W, 3]` in [0, 1].
  """
  grey = to_rgb(image).mean(axis=-1, keepdims=True)
  colours = matplotlib.colormaps[HEAT](np.clip(weights / most, 0.0, 1.0))[..., :3]
  return np.clip(0.4 * grey + 0.6 * colours, 0.0, 1.0)


def wrap_label(name: str, width: int = 20, lines: int = 2) -> str:
  """Breaks a class name into lines of at most `width` characters; what is too long is cut."""
  words = name.replace("_", " ")
  return "\n".join(textwrap.wrap(words, width, max_lines=lines, placeholder="…")) or name[:width]
