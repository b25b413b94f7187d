"""The page about embedded images, which opens from disk without a network, and its tables."""

import base64
from collections.abc import Callable, Iterable, Sequence
import dataclasses
import json
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup
import numpy as np

from conrec_tf.explore.findings import Findings
from conrec_tf.explore.outliers import most_isolated
from conrec_tf.explore.thumbnails import ACROSS, SIDE, write_sprites
from conrec_tf.files import csv_text, io_as_usage_error, make_output_folder, replacing, write_text
from conrec_tf.reporting.figures.plot_style import PALETTE

PAGE, DATA, SPRITES = "index.html", "data.js", "sprites"
MOST_SHOWN = 100_000  # images on the page; the tables hold all
MOST_LISTED = 1_000  # of each list
OUTLIERS = 0.01  # share of images that are listed
LEAST_OUTLIERS = 20
NEAREST_SHOWN = 12
TEMPLATES = jinja2.Environment(
  loader=jinja2.ChoiceLoader(
    [jinja2.PackageLoader(f"conrec_tf.{name}", "") for name in ("explore", "reporting")]
  ),
  autoescape=True,
  trim_blocks=True,
  lstrip_blocks=True,
  undefined=jinja2.StrictUndefined,
)


@dataclasses.dataclass(frozen=True)
class Images:
  """What is known of N images beside their vectors.

  Attributes:
    names: of their files, or their numbers in the split.
    splits: name of the split of each.
    words: the label of each in words, empty without one.
    class_names: the classes in their order, which `words` are of where each image has one label.
  """

  names: Sequence[str]
  splits: Sequence[str]
  words: Sequence[str]
  class_names: Sequence[str]

  def row(self, image: int) -> tuple[str, str, str]:
    """Returns name, split and label of an image."""
    return self.names[image], self.splits[image], self.words[image]


def write_page(
  folder: pathlib.Path,
  title: str,
  images: Images,
  found: Findings,
  thumbnails: Callable[[np.ndarray], Iterable[np.ndarray]],
  notes: Sequence[str],
  seed: int,
) -> pathlib.Path:
  """Writes the page, its thumbnails and tables as CSV; returns its `index.html`.

  Args:
    folder: is replaced.
    title: the dataset.
    thumbnails: from numbers of images, sorted, to their pictures, uint8 `[64, 64, 3]`.
    notes: what must be known.
    seed: fixes which images are shown of more than 100,000.

  Raises:
    UsageError: the folder can't be written.
  """
  make_output_folder(folder.parent)
  listed = lists(found)
  shown, slots = places(len(images.names), _listed(listed), seed)
  data = page_data(images, found, listed, shown, slots)
  with replacing(folder, PAGE) as temporary, io_as_usage_error(folder):
    (temporary / SPRITES).mkdir(parents=True)
    write_sprites(temporary / SPRITES, slots, thumbnails(shown))
    write_text(temporary / DATA, f"window.conrecData = {json.dumps(data)};\n")
    for name, rows in tables(images, found).items():
      write_text(temporary / f"{name}.csv", csv_text(rows))
    text = TEMPLATES.get_template("explore.html.jinja").render(
      title=title,
      images=len(images.names),
      shown=len(shown),
      map=found.map,
      check=found.check,
      notes=notes,
      tables=[f"{name}.csv" for name in tables(images, found)],
      script=_script(),
    )
    write_text(temporary / PAGE, text)
  return folder / PAGE


def _script() -> Markup:
  """Returns the page's JavaScript, which holds no data."""
  return Markup(pathlib.Path(__file__).with_name("explore.js").read_text("utf-8"))


def lists(found: Findings) -> dict[str, list[Any]]:
  """Returns the lists of the page, the first of each, by name: rows that begin with images."""
  made: dict[str, list[Any]] = {
    "clusters": [[int(image)] for image in found.clusters.representative],
    "outliers": [
      [int(image), _number(found.isolated[image])] for image in outliers(found)[:MOST_LISTED]
    ],
    "duplicates": [
      [pair.first, pair.second, _number(pair.distance), int(pair.is_near), pair.bits]
      for pair in found.pairs[:MOST_LISTED]
    ],
    "next": [
      [int(image), int(size)]
      for image, size in zip(*(part[:MOST_LISTED] for part in found.next), strict=True)
    ],
  }
  if found.suspects:
    made["errors"] = [
      [int(image), int(label), _number(score)]
      for image, label, score in zip(*(part[:MOST_LISTED] for part in found.suspects), strict=True)
    ]
  return made


def outliers(found: Findings) -> np.ndarray:
  """Returns the images that are listed as outliers: one in a hundred, and at least twenty."""
  count = max(LEAST_OUTLIERS, round(OUTLIERS * len(found.isolated)))
  return most_isolated(found.isolated, count)


def _listed(rows: dict[str, list[Any]]) -> np.ndarray:
  """Returns the images of all lists, int, each once and in order."""
  of_pairs = [row[1] for row in rows["duplicates"]]
  return np.unique([row[0] for part in rows.values() for row in part] + of_pairs).astype(np.int64)


def places(count: int, listed: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns which images a page shows, int `[S]`, sorted, and the slot of each one's thumbnail.

  Those of the lists come first, so that these need few files.

  Args:
    count: of all images.
    listed: int `[L]`, images that must be shown.
    seed: fixes which others are, of more than 100,000.
  """
  shown = np.arange(count)
  if count > MOST_SHOWN:
    others = np.random.default_rng(seed).permutation(np.setdiff1d(shown, listed))
    shown = np.sort(np.concatenate([listed, others[: max(0, MOST_SHOWN - len(listed))]]))
  is_listed = np.isin(shown, listed)
  slots = np.empty(len(shown), np.int64)
  slots[np.argsort(~is_listed, kind="stable")] = np.arange(len(shown))
  return shown, slots


def page_data(
  images: Images,
  found: Findings,
  listed: dict[str, list[Any]],
  shown: np.ndarray,
  slots: np.ndarray,
) -> dict[str, Any]:
  """Returns what the page's script reads: arrays in base64, little-endian, of the shown images.

  Numbers in it count the shown images; -1 is none. See `lists` and `places` for what it takes.
  """
  number = np.full(len(images.names), -1, np.int64)
  number[shown] = np.arange(len(shown))
  words = [images.words[image] for image in shown]
  classes = _in_order(words, images.class_names)
  splits = _in_order([images.splits[image] for image in shown], ())
  near = number[found.neighbours.others[shown, :NEAREST_SHOWN]]
  renumbered = {
    name: [
      [int(number[row[0]])] + ([int(number[row[1]])] if name == "duplicates" else []) + row[of:]
      for row in rows
    ]
    for name, rows in listed.items()
    for of in [2 if name == "duplicates" else 1]
  }
  return {
    "names": [images.names[image] for image in shown],
    "classes": classes,
    "splits": splits,
    "classNames": list(images.class_names),
    "palette": list(PALETTE),
    "side": SIDE,
    "across": ACROSS,
    "places": _encoded(found.map.places[shown], "<f4"),
    "label": _encoded(_numbered(words, classes), "<i4"),
    "split": _encoded(_numbered([images.splits[image] for image in shown], splits), "<i4"),
    "cluster": _encoded(found.clusters.label[shown], "<i4"),
    "isolated": _encoded(found.isolated[shown], "<f4"),
    "slot": _encoded(slots, "<i4"),
    "nearest": near.shape[1],
    "neighbours": _encoded(near, "<i4"),
    "distances": _encoded(found.neighbours.distance[shown, :NEAREST_SHOWN], "<f4"),
    "lists": renumbered,
  }


def _in_order(words: Sequence[str], first: Sequence[str]) -> list[str]:
  """Returns the different words that aren't empty: those of `first` in its order, then others."""
  present = set(words) - {""}
  return [word for word in first if word in present] + sorted(present - set(first))


def _numbered(words: Sequence[str], order: Sequence[str]) -> np.ndarray:
  """Returns the number of each word in an order, int `[N]`; -1 of an empty one."""
  numbers = {"": -1} | {word: number for number, word in enumerate(order)}
  return np.array([numbers[word] for word in words], np.int64)


def _encoded(values: np.ndarray, dtype: str) -> str:
  return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def _number(value: float) -> float | None:
  """Returns a number of four digits, as JSON and CSV have it; None for NaN."""
  return None if np.isnan(value) else float(f"{value:.4g}")


def tables(images: Images, found: Findings) -> dict[str, list[tuple[Any, ...]]]:
  """Returns the rows of the CSV files, with their heads, by name."""
  image = ("image", "split", "label")
  made: dict[str, list[tuple[Any, ...]]] = {
    "images": [
      (*image, "x", "y", "cluster", "isolation"),
      *(
        (*images.row(at), *map(_number, place), int(group), _number(far))
        for at, (place, group, far) in enumerate(
          zip(found.map.places, found.clusters.label, found.isolated, strict=True)
        )
      ),
    ],
    "outliers": [
      (*image, "isolation"),
      *((*images.row(at), _number(found.isolated[at])) for at in outliers(found)),
    ],
    "duplicates": [
      ("image", "split", "other_image", "other_split", "distance", "by_embedding", "bits"),
      *(
        (
          *images.row(pair.first)[:2],
          *images.row(pair.second)[:2],
          _number(pair.distance),
          int(pair.is_near),
          "" if pair.bits < 0 else pair.bits,
        )
        for pair in found.pairs
      ),
    ],
    "label_next": [
      (*image, "stands_for"),
      *((*images.row(at), int(size) or "") for at, size in zip(*found.next, strict=True)),
    ],
  }
  if found.suspects:
    made["label_errors"] = [
      (*image, "suggested", "score"),
      *(
        (*images.row(at), images.class_names[label], _number(score))
        for at, label, score in zip(*found.suspects, strict=True)
      ),
    ]
  return made
