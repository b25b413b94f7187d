"""Looks at all images of a split: what they are, and which of them can't be read or decoded."""

import collections
from collections.abc import Iterator
import contextlib
import dataclasses
import logging
import os
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.files.labels import multi_hot
from conrec_tf.data.files.walk import without_ending
from conrec_tf.data.images.inspection import decode_error
from conrec_tf.data.records import Streamed
from conrec_tf.errors import UsageError
from conrec_tf.output import progress_bar

logger = logging.getLogger(__name__)

GONE = "unreadable at first"
# What reading or decoding ends in within a graph; others are of devices and workers.
OF_DATA = (
  *(tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError),
  *(tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.OutOfRangeError),
  *(tf.errors.UnknownError, tf.errors.UnimplementedError),
)
SAMPLE = 256  # images whose values are looked at
PIXELS = 4096  # of each, whose mean, deviation and histogram are taken


@dataclasses.dataclass(frozen=True)
class Values:
  """Values of a sample of images, by channel, as shares of white.

  Attributes:
    count: images in the sample.
    low, high: float `[C]`.
    mean, deviation: float `[C]`, of up to 4,096 random pixels of each image, as the histogram.
    levels: how many different values there are, of all channels together.
    histogram: float `[C, 64]`, shares of pixels by value.
  """

  count: int
  low: np.ndarray
  high: np.ndarray
  mean: np.ndarray
  deviation: np.ndarray
  levels: int
  histogram: np.ndarray


@dataclasses.dataclass(frozen=True)
class SplitSummary:
  """Summary of a split.

  Attributes:
    shapes: int `[N, 4]`, heights, widths, channels, bits a channel; not above 0 for bad images.
    bad: why images can't be decoded, by number.
    labels: int `[N]`, or 0 and 1 of several labels, `[N, L]`, or None.
    formats: how many files there are of each ending, the most frequent first.
  """

  split: Split
  shapes: np.ndarray
  bad: dict[int, str]
  labels: np.ndarray | None
  formats: dict[str, int]

  @property
  def good(self) -> np.ndarray:
    """Shapes of the images that can be decoded."""
    return self.shapes[self.shapes[:, 2] > 0]

  @property
  def good_index(self) -> np.ndarray:
    """Index of the images that can be decoded."""
    return np.flatnonzero(self.shapes[:, 2] > 0)


def summarize(split: Split, source: DatasetSource) -> SplitSummary:
  """Looks at a split; decodes all of it where nobody has yet.

  Raises:
    UsageError: a file of records is damaged.
  """
  shapes, bad = split.shapes, dict[int, str]()
  if shapes is None:
    if fault := split.fault():
      raise UsageError(f"dataset must have its files as they were prepared. Received: {fault}")
    shapes, bad = scan_split(source, split, f"Checking {split.name}")
  labels = None
  if source.class_names:
    if isinstance(split.rows, Streamed):  # `labels` are in the order of the files
      stream = split.records().map(lambda record: record["label"])
      labels = np.array(list(stream.as_numpy_iterator()), np.int64)
    else:
      labels = split.labels() if split.labels else None
  return SplitSummary(split, shapes, bad, labels, _formats(split))


def scan_split(
  source: DatasetSource, split: Split, description: str
) -> tuple[np.ndarray, dict[int, str]]:
  """Decodes every image of a split once, with a progress bar in a terminal.

  Returns:
    int32 `[N, 4]`: heights, widths, channels, bits; -1 where decoding failed. And why, by number.
  """
  images = split.records().map(lambda record: record["image"])

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def look(index: tf.Tensor, image: Any) -> tuple[tf.Tensor, tf.Tensor]:
    pixels = source.decode(image)
    return index, tf.concat([tf.shape(pixels), [8 * pixels.dtype.size]], 0)

  def look_again(number: int) -> tf.Tensor:
    return source.decode(next(iter(images.skip(number))))

  shapes = np.full([int(images.cardinality()), 4], -1, np.int32)
  looked = images.enumerate().map(look, tf.data.AUTOTUNE).ignore_errors(log_warning=False)
  with progress_bar(description, "images", len(shapes)) as bar:
    for index, shape in looked.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
      shapes[index] = shape
      bar.update()
  index = np.flatnonzero(shapes[:, 2] <= 0).tolist()
  return shapes, {number: decode_error(look_again, number) or GONE for number in index}


def summary_lines(summary: SplitSummary, source: DatasetSource) -> Iterator[str]:
  """Yields what there is to say of a split, line by line."""
  yield f"{summary.split.name}: {summary.split.num_examples} images"
  for number, why in summary.bad.items():
    yield f"  bad        number {number}: {why}"
  good = summary.good
  if not len(good):
    return
  for name, column in (("height", 0), ("width", 1)):
    low, middle, high = np.percentile(good[:, column], (0, 50, 100))
    yield f"  {name:10} {low:.0f} to {high:.0f} pixels, median {middle:.0f}"
  yield f"  channels   {counts_text(good[:, 2])}"
  yield f"  bits       {counts_text(good[:, 3])}"
  if summary.formats:
    yield "  files      " + ", ".join(f"{count} {name}" for name, count in summary.formats.items())
  if summary.labels is None:
    yield "  classes    none"
    return
  counts = multi_hot(summary.labels, len(source.class_names)).sum(axis=0)
  few, many = np.argmin(counts), np.argmax(counts)
  what, names = "labels " if source.multi_label else "classes", source.class_names
  spread = f"from {counts[few]} images ({names[few]}) to {counts[many]} ({names[many]})"
  if counts[few] == counts[many]:
    spread = f"each of {counts[few]} images"
  yield f"  {what}    {len(counts)}, {spread}"


def counts_text(values: np.ndarray) -> str:
  """Returns e.g. `1 in 20, 3 in 400` for what images have."""
  return ", ".join(
    f"{value} in {count}" for value, count in sorted(collections.Counter(values.tolist()).items())
  )


def sampled_values(summary: SplitSummary, source: DatasetSource) -> Values:
  """Looks at the values of some images, evenly from the whole split, as the network gets them."""
  kept, ends, levels = [], [], set()
  rng = np.random.default_rng(0)  # at even steps they might all lie in a few columns
  for _, image in sample(summary, source, SAMPLE):
    white, pixels = np.iinfo(image.dtype).max, image.reshape(-1, image.shape[-1])
    levels.update(np.unique(pixels).tolist())
    ends.append(np.stack([pixels.min(axis=0), pixels.max(axis=0)]) / white)
    some = pixels if len(pixels) <= PIXELS else pixels[rng.integers(len(pixels), size=PIXELS)]
    kept.append(some / white)
  values, (low, high) = np.concatenate(kept), np.stack(ends, axis=1)
  histogram = np.stack(
    [np.histogram(values[:, channel], 64, (0.0, 1.0))[0] for channel in range(values.shape[1])]
  )
  return Values(
    len(kept),
    low.min(axis=0),
    high.max(axis=0),
    values.mean(axis=0),
    values.std(axis=0),
    len(levels),
    histogram / len(values),
  )


def sample(
  summary: SplitSummary, source: DatasetSource, count: int
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields some images and their numbers, evenly from the whole split; see `decoded_images`."""
  good = summary.good_index
  return decoded_images(
    summary.split, source, good[np.unique(np.linspace(0, len(good) - 1, count).astype(int))]
  )


def decoded_images(
  split: Split, source: DatasetSource, index: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields numbers and images, uint8 or uint16 `[h, w, C]`, of an index, in order."""

  if not len(index):
    return iter(())
  decode = source.traced_once("decoded", lambda record: source.decode(record["image"]))
  images = split.rows.at(index).map(decode, tf.data.AUTOTUNE, deterministic=True)
  return zip(np.unique(index).tolist(), images.as_numpy_iterator(), strict=True)


def _ending(name: str) -> str:
  """Returns the ending of a file's name, or of the file that an image was unpacked from."""
  file, number = os.path.split(name)
  if number.isdecimal() and without_ending(file) != file:
    name = file
  if (stem := without_ending(name)) != name:
    return name[len(stem) :].lower()
  return os.path.splitext(name)[1].lower()


def _formats(split: Split) -> dict[str, int]:
  if split.names is None:
    return {}
  endings = (_ending(str(name)) for name in split.names)
  counts = collections.Counter(
    ending if ending and not ending[1:].isdecimal() else "without ending" for ending in endings
  )
  return dict(counts.most_common())


@contextlib.contextmanager
def failing_images_named(*sources: DatasetSource) -> Iterator[None]:
  """Names the image, or the file of records, that an error within comes from.

  It looks through the datasets only when there is an error. One that comes from elsewhere passes.

  Raises:
    UsageError: an image can't be read or decoded any more, or records are missing or damaged.
  """
  try:
    yield
  except OF_DATA as error:
    for source in sources:
      for split in source.splits.values():
        if fault := _fault(source, split):
          raise UsageError(
            f"dataset must stay as it was when it was opened. Received: {fault} of {source.name}"
          ) from error
    raise


def warn_of_changed_images(source: DatasetSource) -> None:
  """Says which images aren't what they were when a dataset was opened, where that can be told."""
  if source.changed and (names := source.changed()):
    logger.warning(
      "Of the images of %s %d have changed since it was opened, e.g. %s: they may have been read "
      "as they were and as they are",
      source.name,
      len(names),
      names[0],
    )


def _fault(source: DatasetSource, split: Split) -> str:
  """Returns which file of records is damaged, or which image can't be decoded; or nothing."""
  if fault := split.fault():
    return fault
  _, bad = scan_split(source, split, f"Looking for what failed in {split.name}")
  for number, why in sorted(bad.items()):
    return f"{f'number {number}' if split.names is None else split.names[number]} ({why})"
  return ""
