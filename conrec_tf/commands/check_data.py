"""`--mode=check_data`: what a dataset holds, as text and as a page."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import dataclasses
import logging
import pathlib

import numpy as np

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config, Experiment, SegmentationExperiment
from conrec_tf.config.options.data import OWN_DATASETS
from conrec_tf.data.augmentation.resizing import crops_centre
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.duplicates import (
  Duplicate,
  find_duplicates,
  hashes_of,
  of_one_hash,
  with_copies,
)
from conrec_tf.data.pipeline import warn_of_long_images
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.splits import check_splits
from conrec_tf.data.summary import SplitSummary, failing_images_named, summarize, summary_lines

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Decodes everything once; logs what there is and what is wrong with it, and draws a page.

  With `report=False` there is no page, and nobody looks for images that are there twice.
  """
  with _collected_warnings() as notices:
    source = _load(config)
  logger.info("%s", source.name)
  summaries = []
  for split in source.splits.values():
    summaries.append(summarize(split, source))
    for line in summary_lines(summaries[-1], source):
      logger.info("%s", line)
  logger.info(
    "channels     %d for the network%s",
    source.channels,
    "" if source.channels in (1, 3) else "; augmentation changes brightness and contrast alone",
  )
  logger.info("evaluation   %s", _evaluated(config, source))
  if config.eval_dataset:
    logger.info(
      "eval_dataset %s: its splits alone are compared; as --dataset it is looked at",
      config.eval_dataset,
    )
  if source.bad:
    logger.info(
      "bad images   %d; in training the next good one stands in for each\n  %s",
      len(source.bad),
      "\n  ".join(map(str, source.bad)),
    )
  if config.report:
    with failing_images_named(source):
      _draw(config, pathlib.Path(config.run_directory), source, summaries, notices)


def _evaluated(options: Experiment, source: DatasetSource) -> str:
  """Returns what evaluation takes of images, and why, in words."""
  if options.is_segmenting:
    return "whole images at their own sizes"
  size, crop = options.evaluation_size, source.center_crop
  if crop and not crops_centre(size, crop):
    return f"whole images at {size} pixels, where nothing is cropped"
  why = "as all have one size" if source.one_size else "as sizes differ"
  if not source.one_size and options.dataset not in OWN_DATASETS:
    why = "as TFDS states no one size"
  if options.eval_crop != "auto":
    why = f"by --eval_crop={options.eval_crop}"
  part = "the centre, 87.5 % of the shorter side," if crop else "whole images"
  return f"{part} at {size} pixels, {why}"


def _load(options: SegmentationExperiment) -> DatasetSource:
  """Loads a dataset, each image once; of one with masks, which are read for classes, the images.

  What is wrong with the splits that a network is evaluated on is said; see `check_splits`.
  """
  source = load_dataset(options)
  if options.is_segmenting:
    once = np.arange(source.train.num_examples // options.crops_per_image)
    source = dataclasses.replace(source, train=source.train.part(once), class_names=())
  source = source.without_stand_ins
  measured = load_eval_dataset(options, source) if options.eval_dataset else source
  check_splits(options, measured, bool(options.cv_fold or options.cv_folds))
  if options.is_pretraining:
    warn_of_long_images(source, options)
  return source


def _draw(
  options: Experiment,
  folder: pathlib.Path,
  source: DatasetSource,
  summaries: Sequence[SplitSummary],
  notices: Sequence[str],
) -> None:
  # Imported where there is something to draw: matplotlib takes its time.
  from conrec_tf.reporting.data_report import DataFindings, write_data_report

  found = DataFindings(options, source, summaries, [], notices)
  found.duplicates = _duplicates(source, summaries, found.decoded)
  if found.duplicates:
    logger.info(
      "look alike   %d images look like an earlier one, %d of them like one of another split",
      len(found.duplicates),
      len(found.crossing()),
    )
  leakage = found.leakage()
  if leakage:
    logger.warning("leakage      %s", leakage)
  logger.info("Page in %s", write_data_report(found, folder))


def _duplicates(
  source: DatasetSource,
  summaries: Sequence[SplitSummary],
  decoded: Callable[[Iterable[int]], Iterable[tuple[int, np.ndarray]]],
) -> list[Duplicate]:
  """Returns duplicates within and across splits; places count through all of them.

  Args:
    decoded: see `with_copies`.
  """
  hashes, places, starts = [], [], [0]
  for summary in summaries:
    hashes.append(hashes_of(source, summary.split, summary.good_index))
    places.append(starts[-1] + summary.good_index)
    starts.append(starts[-1] + summary.split.num_examples)
  through, every = np.concatenate(places), np.concatenate(hashes)
  duplicates = [
    Duplicate(int(through[found.image]), int(through[found.of]), found.distance)
    for found in find_duplicates(every)
  ]
  alike = [through[images].tolist() for images in of_one_hash(every)]
  return with_copies(duplicates, alike, decoded, starts)


@contextlib.contextmanager
def _collected_warnings() -> Iterator[list[str]]:
  """Collects what the package warns of meanwhile."""
  messages: list[str] = []
  handler = logging.Handler(logging.WARNING)
  handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
  package = logging.getLogger("conrec_tf")
  package.addHandler(handler)
  try:
    yield messages
  finally:
    package.removeHandler(handler)
