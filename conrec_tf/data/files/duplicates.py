"""`--drop_duplicates`: leaves out of a folder what looks like an earlier image."""

import logging

import numpy as np
import tensorflow as tf

from conrec_tf.data.duplicates import (
  BITS,
  find_duplicates,
  hash_reduction,
  listed_duplicates,
  perceptual_hashes,
)
from conrec_tf.data.files.scan import FileScan, save_scan
from conrec_tf.data.files.store import FileStore
from conrec_tf.data.images.decoding import DecodeReduced

logger = logging.getLogger(__name__)


def drop_duplicates(store: FileStore, scan: FileScan, decode: DecodeReduced) -> None:
  """Leaves images out of a scan, and says which; hashes are kept with it.

  Args:
    store: where the files lie.
    scan: of its images, in their order.
    decode: from a file's content to pixels and the whole image's size; see `decode_reduced`.
  """
  places = np.flatnonzero(scan.is_good)
  unknown = places[~scan.perceptual_hashes[places].any(axis=1)]
  if len(unknown):
    locations = store.locations([scan.names[place] for place in unknown])
    hashes = perceptual_hashes(
      tf.data.Dataset.from_tensor_slices(locations),
      lambda location: decode(store.read(location), hash_reduction)[0],
      "Looking for duplicates",
    )
    scan.perceptual_hashes[unknown] = np.packbits(hashes, axis=1)
    if scan.path:
      save_scan(scan.path, scan)
  found = find_duplicates(
    np.unpackbits(scan.perceptual_hashes[places], axis=1, count=BITS).astype(bool)
  )
  for line in listed_duplicates(found, [scan.names[place] for place in places]):
    logger.info("Left out: %s", line)
  if found:
    logger.warning(
      "Left out %d of %d images, which look like earlier ones", len(found), len(places)
    )
  gone = {int(places[duplicate.place]) for duplicate in found}
  scan.reorder([place for place in range(len(scan.names)) if place not in gone])
