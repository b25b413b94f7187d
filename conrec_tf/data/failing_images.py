"""Which image an error of TensorFlow comes from: files may go bad after they were looked at."""

from collections.abc import Iterator
import contextlib

import tensorflow as tf

from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.images.inspection import scan_split
from conrec_tf.errors import UsageError

# What reading or decoding ends in within a graph; others are of devices and workers.
OF_DATA = (
  *(tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError),
  *(tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.OutOfRangeError),
  *(tf.errors.UnknownError, tf.errors.UnimplementedError),
)


@contextlib.contextmanager
def failing_images_named(*sources: DatasetSource) -> Iterator[None]:
  """Names the image, or the file of records, that an error within comes from.

  It looks through the datasets only when there is an error. One that comes from elsewhere passes.

  Args:
    *sources: datasets that are read within.

  Raises:
    UsageError: an image can't be read or decoded any more, or records are missing or damaged.
  """
  try:
    yield
  except OF_DATA as error:
    for source in sources:
      for split in {split.name: split for split in (source.train, source.eval)}.values():
        fault = _fault(source, split)
        if fault:
          raise UsageError(
            f"dataset must stay as it was when it was opened. Received: {fault} of {source.name}"
          ) from error
    raise


def _fault(source: DatasetSource, split: Split) -> str:
  """Returns which file of records is damaged, or which image can't be decoded; or nothing."""
  fault = split.fault() if split.fault else ""
  if fault:
    return fault
  _, bad = scan_split(source, split, f"Looking for what failed in {split.name}")
  for place, why in sorted(bad.items()):
    return f"{f'number {place}' if split.names is None else split.names[place]} ({why})"
  return ""
