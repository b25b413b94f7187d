"""The page about embedded images, which opens from disk without a network, and its tables."""

import base64
from collections.abc import Callable, Iterable, Sequence
import json
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup
import numpy as np

from conrec_tf.data.files.labels import label_numbers
from conrec_tf.explore.findings import Findings
from conrec_tf.explore.tables import Images, outliers, rounded, tables
from conrec_tf.explore.thumbnails import ACROSS, SIDE, write_sprites
from conrec_tf.files import csv_text, io_as_usage_error, make_output_folder, replacing, write_text
from conrec_tf.reporting.figures.plot_style import PALETTE
from conrec_tf.reporting.html_report import ENVIRONMENT, PAGE

DATA, SPRITES = "data.js", "sprites"
MOST_SHOWN = 100_000  # images on the page; the tables hold all
MOST_LISTED = 1_000  # of each list
NEAREST_SHOWN = 12
TEMPLATES = ENVIRONMENT.overlay(
  loader=jinja2.ChoiceLoader(
    [jinja2.PackageLoader(f"conrec_tf.{name}", "") for name in ("explore", "reporting")]
  )
)


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
  data, made = page_data(images, found, listed, shown, slots), tables(images, found)
  with replacing(folder, PAGE) as temporary, io_as_usage_error(folder):
    (temporary / SPRITES).mkdir(parents=True)
    write_sprites(temporary / SPRITES, slots, thumbnails(shown))
    write_text(temporary / DATA, f"window.conrecData = {json.dumps(data)};\n")
    for name, rows in made.items():
      write_text(temporary / f"{name}.csv", csv_text(rows))
    text = TEMPLATES.get_template("explore.html.jinja").render(
      title=title,
      images=len(images.names),
      shown=len(shown),
      map=found.map,
      check=found.check,
      notes=notes,
      tables=[f"{name}.csv" for name in made],
      script=Markup(pathlib.Path(__file__).with_name("explore.js").read_text("utf-8")),
    )
    write_text(temporary / PAGE, text)
  return folder / PAGE


def lists(found: Findings) -> dict[str, list[Any]]:
  """Returns the lists of the page, the first of each, by name: rows that begin with images."""
  made: dict[str, list[Any]] = {
    "clusters": [
      [int(image), int(size)]
      for image, size in zip(
        found.clusters.representative, np.bincount(found.clusters.label), strict=True
      )
    ],
    "outliers": [
      [int(image), rounded(found.isolated[image])] for image in outliers(found)[:MOST_LISTED]
    ],
    "duplicates": [
      [pair.first, pair.second, rounded(pair.distance), int(pair.is_near), pair.bits]
      for pair in found.pairs[:MOST_LISTED]
    ],
    "next": [
      [int(image), int(size)]
      for image, size in zip(*(part[:MOST_LISTED] for part in found.next), strict=True)
    ],
  }
  if found.suspects:
    made["errors"] = [
      [int(image), int(label), rounded(score)]
      for image, label, score in zip(*(part[:MOST_LISTED] for part in found.suspects), strict=True)
    ]
  return made


def lengths(found: Findings) -> dict[str, int]:
  """Returns how many rows each list has in its table, by the names of `lists`."""
  counts = {
    "clusters": len(found.clusters.representative),
    "outliers": len(outliers(found)),
    "duplicates": len(found.pairs),
    "next": len(found.next.image),
  }
  return counts | ({"errors": len(found.suspects.image)} if found.suspects else {})


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
  words, of_splits = ([part[image] for image in shown] for part in (images.words, images.splits))
  classes, splits = _in_order(words, images.class_names), _in_order(of_splits, ())
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
    "label": _encoded(label_numbers(words, classes), "<i4"),
    "split": _encoded(label_numbers(of_splits, splits), "<i4"),
    "cluster": _encoded(found.clusters.label[shown], "<i4"),
    "isolated": _encoded(found.isolated[shown], "<f4"),
    "slot": _encoded(slots, "<i4"),
    "nearest": near.shape[1],
    "neighbours": _encoded(near, "<i4"),
    "distances": _encoded(found.neighbours.distance[shown, :NEAREST_SHOWN], "<f4"),
    "lists": renumbered,
    "lengths": lengths(found),
  }


def _in_order(words: Sequence[str], first: Sequence[str]) -> list[str]:
  """Returns the different words that aren't empty: those of `first` in its order, then others."""
  present = set(words) - {""}
  return [word for word in first if word in present] + sorted(present - set(first))


def _encoded(values: np.ndarray, dtype: str) -> str:
  return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()
