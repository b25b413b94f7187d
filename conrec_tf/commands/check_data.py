"""`--mode=check_data`: what a dataset holds."""

import collections
from collections.abc import Iterator
import logging

import numpy as np

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.decoding import decode_error, scan_images
from conrec_tf.data.registry import load_dataset

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Decodes everything once and logs counts, sizes, channels, classes and bad images."""
  source = load_dataset(config)
  logger.info("%s", source.name)
  splits = [source.train] + [source.eval] * (source.eval.name != source.train.name)
  for split in splits:
    for line in _lines(split, source):
      logger.info("%s", line)
  logger.info(
    "channels     %d for the network%s",
    source.channels,
    "" if source.channels in (1, 3) else "; augmentation changes brightness and contrast alone",
  )
  if not source.center_crop:
    logger.info("evaluation   whole images at %d pixels, as all have one size", config.image_size)
  else:
    logger.info("evaluation   the central 87.5%% at %d pixels, as sizes differ", config.image_size)
  if source.bad:
    logger.info(
      "bad images   %d; the next good one stands in for each\n  %s",
      len(source.bad),
      "\n  ".join(source.bad),
    )


def _lines(split: Split, source: DatasetSource) -> Iterator[str]:
  """Yields what there is to say of a split, line by line."""
  images = split.records().map(lambda record: record["image"])
  shapes = split.shapes
  if shapes is None:
    shapes = scan_images(images, source.decode, f"Checking {split.name}")
  good = shapes[shapes[:, 2] > 0]
  yield f"{split.name}: {split.num_examples} images"
  for index in np.flatnonzero(shapes[:, 2] <= 0):
    image = next(iter(images.skip(index)))
    yield f"  bad        number {index}: {decode_error(source.decode, image)}"
  if not len(good):
    return
  for name, column in (("height", 0), ("width", 1)):
    low, middle, high = np.percentile(good[:, column], (0, 50, 100))
    yield f"  {name:10} {low:.0f} to {high:.0f} pixels, median {middle:.0f}"
  stored = collections.Counter(good[:, 2].tolist())
  yield "  channels   " + ", ".join(f"{n} in {count}" for n, count in sorted(stored.items()))
  if source.class_names:
    labels = [int(label) for label in split.records().map(lambda record: record["label"])]
    counts = np.bincount(labels, minlength=len(source.class_names))
    few, many = np.argmin(counts), np.argmax(counts)
    yield (
      f"  classes    {len(counts)}, from {counts[few]} images ({source.class_names[few]}) to "
      f"{counts[many]} ({source.class_names[many]})"
    )
  else:
    yield "  classes    none"
