"""Draws `data/` of a model_dir: a page about a dataset, with the network's inputs."""

import collections
from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import functools
import os
import pathlib
import re

import numpy as np
import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.duplicates import BITS, Duplicate
from conrec_tf.data.files.labels import label_words, multi_hot
from conrec_tf.data.pipeline import two_views
from conrec_tf.data.records import Record, evenly_over
from conrec_tf.data.summary import (
  SplitSummary,
  counts_text,
  decoded_images,
  sample,
  sampled_values,
)
from conrec_tf.reporting.figures import data_figures
from conrec_tf.reporting.figures.plot_style import Picture, pixel_step
from conrec_tf.reporting.html_report import PAGE, Section, page_folder, write_page
from conrec_tf.reporting.tables import Table

FOLDER = "data"
IMAGES_SHOWN, VIEWS_SHOWN, PAIRS_SHOWN = 24, 8, 12
LINES_SHOWN = 200
EXAMPLES = 3


@dataclasses.dataclass
class DataFindings:
  """The findings about a dataset; each section of the page is a method.

  Attributes:
    options: say how views are made.
    source: the dataset.
    summaries: of its splits.
    duplicates: indexed through all splits.
    notices: warnings that opening the data gave.
  """

  options: Experiment
  source: DatasetSource
  summaries: Sequence[SplitSummary]
  duplicates: Sequence[Duplicate]
  notices: Sequence[str]

  @functools.cached_property
  def _owners(self) -> list[tuple[SplitSummary, int]]:
    """The split and the index within it, by index through all splits."""
    return [
      (summary, index) for summary in self.summaries for index in range(summary.split.num_examples)
    ]

  def crossing(self) -> list[Duplicate]:
    """Returns the duplicates whose other image lies in another split."""
    return [found for found in self.duplicates if self._crosses(found)]

  def _crosses(self, found: Duplicate) -> bool:
    return self._owners[found.image][0] is not self._owners[found.of][0]

  def leakage(self) -> str | None:
    """Returns a warning of images that splits have in common, or None."""
    crossing = self.crossing()
    if not crossing:
      return None
    learnt, measured = (summary.split.name for summary in self.summaries)
    copies = sum(found.is_copy for found in crossing)
    nearest = sorted(crossing, key=lambda found: found.distance)[:EXAMPLES]
    is_other = self.options.eval_dataset  # whose splits these aren't
    what = "Reconstruction and contrast are measured" if is_other else "The network is evaluated"
    examples = (f"{self._name(found.image)} like {self._name(found.of)}" for found in nearest)
    return (
      f"Images of {measured} that look like one of {learnt}: {len(crossing):,}, and the same pixel "
      f"by pixel: {copies:,}. {what} on images that were learnt from, and numbers come "
      f"out too high. E.g. {'; '.join(examples)}"
    )

  def highlights(self) -> list[tuple[str, str]]:
    """Returns the numbers at the top of the page: `[(words, number)]`."""
    bad = len(self.source.bad) + sum(len(summary.bad) for summary in self.summaries)
    return [
      *((f"images in {s.split.name}", f"{s.split.num_examples:,}") for s in self.summaries),
      ("labels", str(len(self.source.class_names) or "none")),
      ("channels of the network", str(self.source.channels)),
      ("bad images", str(bad)),
      ("images that look like an earlier one", str(len(self.duplicates))),
      ("of them across splits", str(len(self.crossing()))),
    ]

  def problems(self) -> Section:
    """Lists bad images, images that splits share, and warnings."""
    reasons: dict[str, list[str]] = collections.defaultdict(list)
    bad: list[tuple[str, str]] = [*self.source.bad]
    for summary in self.summaries:
      bad += [(f"{summary.split.name}, number {at}", why) for at, why in summary.bad.items()]
    for name, why in bad:
      reasons[re.sub(r"\d+", "N", why)].append(name)
    section = Section("Problems", notes=[*filter(None, [self.leakage()]), *self.notices])
    if reasons:
      section.table = Table(
        ("bad images, by reason", "images", "e.g."),
        [
          (why, str(len(names)), ", ".join(names[:3]))
          for why, names in sorted(reasons.items(), key=lambda pair: -len(pair[1]))
        ],
      )
    elif not section.notes:
      section.notes.append("None: every image can be decoded, and nothing was noticed.")
    return section

  def counts(self) -> Section:
    """Counts images by label and split."""
    section = Section("Labels and splits")
    if self.source.class_names:
      counts = {
        summary.split.name: multi_hot(summary.labels, len(self.source.class_names)).sum(axis=0)
        for summary in self.summaries
        if summary.labels is not None
      }
      section.table = Table(
        ("label", *counts),
        [
          (name, *(str(count[index]) for count in counts.values()))
          for index, name in enumerate(self.source.class_names[:LINES_SHOWN])
        ],
      )
      section.pictures.append(data_figures.label_counts(self.source.class_names, counts))
      section.notes += _cut("labels", len(self.source.class_names))
    else:
      measured = "Dice is" if self.options.is_segmenting else "the losses are"
      section.notes.append(f"There are no labels: {measured} measured on the held-out split.")
    return section

  def pixels(self) -> Section:
    """Summarises sizes, formats and values."""
    summaries = [summary for summary in self.summaries if len(summary.good)]
    if not summaries:
      return Section("Pixels")
    rows: list[tuple[str, ...]] = []
    samples = [sampled_values(summary, self.source) for summary in summaries]
    for summary, found in zip(summaries, samples, strict=True):
      height, width = (np.percentile(summary.good[:, axis], (0, 50, 100)) for axis in (0, 1))
      rows.append(
        (
          summary.split.name,
          " / ".join(f"{side:.0f}" for side in height),
          " / ".join(f"{side:.0f}" for side in width),
          counts_text(summary.good[:, 2]),
          counts_text(summary.good[:, 3]),
          ", ".join(f"{ending} {count}" for ending, count in summary.formats.items())
          or "not files",
          f"{found.low.min():.3f} to {found.high.max():.3f}",
          _numbers(found.mean),
          _numbers(found.deviation),
          f"{found.levels} in {found.count} images",
        )
      )
    header = (
      *("split", "height, least / median / most", "width", "channels", "bits", "files"),
      *("values, of white", "mean by channel", "deviation", "different values"),
    )
    sizes = {summary.split.name: summary.good[:, :2] for summary in summaries}
    weights = [found.count for found in samples]
    histogram = np.average([found.histogram for found in samples], axis=0, weights=weights)
    return Section(
      "Pixels",
      [
        data_figures.image_sizes(sizes, self.options.image_size),
        data_figures.values(histogram),
      ],
      table=Table(header, rows, texts=len(header)),
    )

  def images(self) -> Section:
    """Draws some images, and the network's inputs that are made of them."""
    summary = self.summaries[0]
    if not len(summary.good):
      return Section("Images")
    images = {index: _small(image) for index, image in sample(summary, self.source, IMAGES_SHOWN)}
    titles = [self._label(summary, index) for index in images]
    shown = list(images.values())
    pictures = [data_figures.some_images(shown, titles)]
    if self.options.is_pretraining:
      pictures.append(self._views(summary))
    return Section("Images", pictures)

  def _views(self, summary: SplitSummary) -> Picture:
    options = self.options
    augment = two_views(self.source, options, options.image_size, options.seed)

    @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
    def made(position: tf.Tensor, record: Record) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
      views = augment(position, record)
      return self.source.decode(record["image"]), views["target"], views["corrupted"]

    good = summary.good_index
    places = good[evenly_over(len(good), VIEWS_SHOWN)]
    records = summary.split.rows.at(places).take(len(places)).enumerate()  # the rest isn't read
    rows = [
      (_small(image), targets, inputs)
      for image, targets, inputs in records.map(made).as_numpy_iterator()
    ]
    return data_figures.views(rows, self.options.corruption != "none")

  def look_alikes(self) -> Section:
    """Draws images that are there twice, by their perceptual hashes."""
    section = Section("Images that look alike")
    if not self.duplicates:
      return section
    shown = sorted(self.duplicates, key=lambda found: (not self._crosses(found), found.distance))
    section.table = Table(
      ("image", "looks like", "bits that differ", "same pixels", "across splits"),
      [
        (
          self._name(found.image),
          self._name(found.of),
          f"{found.distance} of {BITS}",
          "yes" if found.is_copy else "",
          "yes" if self._crosses(found) else "",
        )
        for found in shown[:LINES_SHOWN]
      ],
      texts=2,
    )
    pairs = shown[:PAIRS_SHOWN]
    indices = {index for found in pairs for index in (found.image, found.of)}
    images = {index: _small(image) for index, image in self.decoded(indices)}
    drawn = [
      (images[found.of], images[found.image], self._name(found.image), self._crosses(found))
      for found in pairs
    ]
    section.pictures.append(data_figures.look_alikes(drawn))
    section.notes += _cut("pairs", len(shown))
    section.notes.append(
      "Check them before leaving them out (--drop_duplicates, for folders): images with similar "
      "hashes may be different photographs."
    )
    return section

  def decoded(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields indices through all splits and their images, one at a time; see `decoded_images`."""
    for summary in self.summaries:
      own = {self._owners[at][1]: at for at in indices if self._owners[at][0] is summary}
      for at, image in decoded_images(summary.split, self.source, np.array(list(own), int)):
        yield own[at], image

  def _name(self, index: int) -> str:
    summary, own = self._owners[index]
    names = summary.split.names
    return str(names[own]) if names is not None else f"{summary.split.name}, number {own}"

  def _label(self, summary: SplitSummary, index: int) -> str:
    if summary.labels is None:
      return "" if summary.split.names is None else os.path.basename(summary.split.names[index])
    return label_words(summary.labels[index], self.source.class_names)


def write_data_report(found: DataFindings, parent: pathlib.Path) -> pathlib.Path:
  """Writes the page and its figures; returns its `index.html`.

  Raises:
    UsageError: the folder can't be written.
  """
  folder = parent / FOLDER
  draw = (found.problems, found.counts, found.pixels, found.images, found.look_alikes)
  with page_folder(folder) as temporary:
    sections = (section() for section in draw)
    write_page(
      temporary,
      "data.html.jinja",
      (part for part in sections if part.pictures or part.table or part.notes),
      title=found.source.name,
      highlights=found.highlights(),
      command=f"python run.py --mode=check_data --dataset={found.options.dataset}",
    )
  return folder / PAGE


def _cut(rows: str, count: int) -> list[str]:
  """Returns a note where a table doesn't hold all that it is about."""
  if count <= LINES_SHOWN:
    return []
  return [f"The table has the first {LINES_SHOWN} of {count:,} {rows}."]


def _small(image: np.ndarray) -> np.ndarray:
  """Returns an image as floats in [0, 1], with no more pixels than a picture shows."""
  step = pixel_step(image)
  return image[::step, ::step] / np.iinfo(image.dtype).max


def _numbers(values: np.ndarray) -> str:
  return ", ".join(f"{value:.3f}" for value in values)
