"""`--mode=check_data`: what a dataset holds, as text and as a page."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import logging
import pathlib

import numpy as np

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config, Experiment, SegmentationExperiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.duplicates import Duplicate, find_duplicates, hashes_of, with_copies
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
  if config.is_segmenting:
    logger.info("evaluation   whole images at their own sizes")
  elif not source.center_crop:
    logger.info(
      "evaluation   whole images at %d pixels, as all have one size", config.evaluation_size
    )
  else:
    logger.info(
      "evaluation   the central 87.5%% at %d pixels, as sizes differ", config.evaluation_size
    )
  if source.bad:
    logger.info(
      "bad images   %d; the next good one stands in for each\n  %s",
      len(source.bad),
      "\n  ".join(map(str, source.bad)),
    )
  if config.report:
    with failing_images_named(source):
      _draw(config, pathlib.Path(config.run_directory), source, summaries, notices)


def _load(options: SegmentationExperiment) -> DatasetSource:
  """Loads a dataset; of one with masks, which tell their classes when they are read, the images."""
  source = load_dataset(options)
  if options.is_segmenting:
    once = np.arange(source.train.num_examples // options.crops_per_image)
    source = dataclasses.replace(source, train=source.train.part(once), class_names=())
  check_splits(options, source.without_stand_ins, bool(options.cv_fold or options.cv_folds))
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

  found = DataFindings(options, source, summaries, _duplicates(source, summaries), notices)
  found.duplicates = with_copies(found.duplicates, found.decoded)
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


def _duplicates(source: DatasetSource, summaries: Sequence[SplitSummary]) -> list[Duplicate]:
  """Returns duplicates within and across splits; places count through all of them."""
  hashes, places, start = [], [], 0
  for summary in summaries:
    split = summary.split
    own = np.intersect1d(split.own_index, summary.good_index)
    hashes.append(hashes_of(source, split, own))
    places.append(start + own)
    start += split.num_examples
  through = np.concatenate(places)
  return [
    Duplicate(int(through[found.image]), int(through[found.of]), found.distance)
    for found in find_duplicates(np.concatenate(hashes))
  ]


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
