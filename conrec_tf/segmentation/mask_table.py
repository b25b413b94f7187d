"""Images and their masks, paired by a CSV file."""

from collections.abc import Sequence
import dataclasses
import logging

from conrec_tf.data.files.csv_table import files_by_name, read_lines
from conrec_tf.data.files.labels import label_text
from conrec_tf.data.files.layout import Layout, unlabelled_layout
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class MaskTable:
  """Which mask, valid mask and split each image has.

  Attributes:
    mask_of: `{image: mask}`.
    valid_mask_of: `{image: valid mask}` of those that have one, where 0 doesn't count.
    split_of: `{image: split}`, empty texts where the table has none.
  """

  mask_of: dict[str, str]
  valid_mask_of: dict[str, str]
  split_of: dict[str, str]

  def layout(self, names: list[str]) -> Layout:
    """Returns the split of each image, and no labels."""
    return unlabelled_layout([self.split_of[name] for name in names])


def read_mask_table(path: str, names: Sequence[str]) -> MaskTable:
  """Reads `image,mask` and perhaps `field` and `split` of files.

  Files are named as in a table of labels; see `read_label_table`. Those that it doesn't name are no
  part of the dataset.

  Args:
    path: of the CSV file, UTF-8.
    names: of the files, below the folder.

  Raises:
    UsageError: the file can't be read or lacks a column, an image or mask is missing or named
      twice, or some images have a split and some don't.
  """
  table, places = MaskTable({}, {}, {}), files_by_name(names)
  named = set[str]()
  for number, given in read_lines("mask_table", path, ("image", "mask"), ("field", "split")):
    where = f"line {number} of {path}"
    image, mask, valid_mask = (
      _file(places, given.get(column, ""), column, where) for column in ("image", "mask", "field")
    )
    if {image, mask} & named or image == mask:
      raise UsageError(
        f"mask_table must pair each image with a mask of its own. Received: {image} with {mask}, "
        f"{where}"
      )
    named |= {image, mask}
    table.mask_of[image], table.split_of[image] = mask, label_text(given.get("split", ""))
    if valid_mask:
      table.valid_mask_of[image] = valid_mask
  if len({bool(split) for split in table.split_of.values()}) != 1:
    raise UsageError(
      "mask_table must give all images a split, or none, and have images. "
      f"Received: {sum(map(bool, table.split_of.values()))} of {len(table.split_of)} in {path}"
    )
  left = sorted(set(names) - named - set(table.valid_mask_of.values()))
  if left:
    logger.warning(
      "Lost: %d of %d files aren't in %s, e.g. %s", len(left), len(names), path, left[0]
    )
  return table


def _file(places: dict[str, str], text: str, column: str, where: str) -> str:
  """Returns the file that a line names; only a field may be missing."""
  if not text and column == "field":
    return ""
  if text not in places:
    raise UsageError(
      "mask_table must name files of data_dir, by their paths below it or by names that one file "
      f"has. Received: {text or 'nothing'} as {column}, {where}"
    )
  return places[text]
