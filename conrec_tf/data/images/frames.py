"""Files of several images, DICOM's frames and NIfTI's slices, read one image at a time."""

from collections.abc import Callable
import dataclasses

import numpy as np

MIDDLE, ALL = "middle", "all"  # of `--dicom_frames`
GZIP = b"\x1f\x8b"  # of images that are read, NIfTI alone may be compressed as a whole
NIFTI = {344: b"n+1\0", 4: b"n+2\0"}  # where its two versions say what they are


@dataclasses.dataclass(frozen=True)
class Frames:
  """The images that a file holds.

  Attributes:
    read: from the number of one, from 0, to uint8 or uint16 `[h, w, C]`, C 1 or 3, whose
      values fill their bits.
    what: they are called, `frames` or `slices`.
  """

  count: int
  read: Callable[[int], np.ndarray]
  what: str = "frames"

  @property
  def middle(self) -> int:
    """The number of the middle one, the later of two."""
    return self.count // 2


def only_frame(frames: Frames, choice: str) -> np.ndarray:
  """Returns the image of a file that is one image; of several, the one that `middle` chooses.

  Raises:
    ValueError: there are several, for any other choice.
  """
  if frames.count > 1 and choice != MIDDLE:
    raise ValueError(
      f"{frames.count} {frames.what}; save one image a file, or take the middle one "
      f"(--dicom_frames={MIDDLE}) or, of image_folder, each (--dicom_frames={ALL})"
    )
  return frames.read(frames.middle)
