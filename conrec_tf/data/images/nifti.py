"""NIfTI files: volumes as slices. Imported only where nibabel is installed."""

import gzip
import io
import logging
from typing import Any

import nibabel
import numpy as np

from conrec_tf.data.images.frames import GZIP, NIFTI, Frames
from conrec_tf.data.images.pixel_values import check_size, filled_range

HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
AT_A_TIME = 2**20  # bytes
COLOURS = ("R", "G", "B")
# It logs what it remarks on in a header, without the file's name.
nibabel.imageglobals.logger.setLevel(logging.CRITICAL)


def open_slices(data: bytes, max_pixels: int, window: str) -> Frames:
  """Opens a NIfTI file whose images are its slices along the last axis, as they are stored.

  Rows of an image are the first axis of the array, columns the second; nothing is turned. Values
  are rescaled (scl_slope, scl_inter). Black and white are those of the window, `centre,width`, else
  cal_min and cal_max if the latter is larger; else unsigned bytes that aren't rescaled stay as they
  are, and the rest fills the range from the lowest to the largest finite value of the whole volume.

  Raises:
    Exception: of many kinds, where it is damaged, has too many axes or pixels, or values of a kind
      that has no range.
  """
  _slice_shape(_header(_start(data)), max_pixels)
  image = _class(_start(data)).from_bytes(_unzipped(data))
  header, values = image.header, image.dataobj
  shape = header.get_data_shape()
  height, width, count = _slice_shape(header, max_pixels)
  colours = header.get_data_dtype().names
  if colours is None and header.get_data_dtype().kind not in "iuf":
    raise ValueError(f"values of {header.get_data_dtype()} have no known range")

  def stored(number: int) -> np.ndarray:
    at: tuple[Any, ...] = (slice(None), slice(None), number, *[0] * (len(shape) - 3))
    return np.asarray(values[at[: len(shape)]]).reshape(height, width)

  if colours is not None:
    return Frames(
      count, lambda number: np.stack([stored(number)[name] for name in COLOURS], -1), "slices"
    )
  is_byte = header.get_data_dtype().itemsize == 1
  is_rescaled = (values.slope, values.inter) != (1.0, 0.0)  # nibabel resets the header
  limits = _limits(header, window)
  if limits is None and is_byte and header.get_data_dtype().kind == "u" and not is_rescaled:
    return Frames(count, lambda number: stored(number)[..., np.newaxis], "slices")
  low, high = limits or _range(stored(number) for number in range(count))

  def read(number: int) -> np.ndarray:
    shown = np.nan_to_num(stored(number).astype(np.float64) - low, nan=0.0)
    return filled_range(shown[..., np.newaxis], high - low, np.uint8 if is_byte else np.uint16)

  return Frames(count, read, "slices")


def _range(slices: Any) -> tuple[float, float]:
  """Returns the lowest and the largest finite value of slices, two numbers that differ."""
  low, high = np.inf, -np.inf
  for values in slices:
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = float(finite.min(initial=low)), float(finite.max(initial=high))
  if low > high:
    raise ValueError("no finite values")
  return low, high if high > low else low + 1


def _limits(header: Any, window: str) -> tuple[float, float] | None:
  """Returns what is black and what is white, where a window or the file says so."""
  if window:
    centre, width = (float(number) for number in window.split(","))
    return centre - width / 2, centre + width / 2
  low, high = float(header["cal_min"]), float(header["cal_max"])
  return (low, high) if high > low else None


def _slice_shape(header: Any, max_pixels: int) -> tuple[int, int, int]:
  """Returns height, width and number of the slices; refuses too many axes or pixels, or none."""
  shape = list(header.get_data_shape())
  while len(shape) > 3 and shape[-1] == 1:
    shape.pop()
  if len(shape) > 3:
    raise ValueError(f"{len(shape)} axes, {'x'.join(map(str, shape))}; save one volume a file")
  if len(shape) < 2 or min(shape) < 1:
    raise ValueError(f"no slices in it, {'x'.join(map(str, shape)) or 'no axes'}")
  height, width, count = (*shape, 1)[:3]
  check_size(height, width, max_pixels)
  return height, width, count


def _start(data: bytes) -> bytes:
  """Returns where the header lies, without unpacking the rest."""
  if not data.startswith(GZIP):
    return data[:HEADER_BYTES]
  with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
    return file.read(HEADER_BYTES)


def _class(start: bytes) -> Any:
  """Returns nibabel's class of NIfTI-1 or NIfTI-2 files; refuses any other, and one of a pair."""
  for (offset, text), kind in zip(
    NIFTI.items(), (nibabel.Nifti1Image, nibabel.Nifti2Image), strict=True
  ):
    if start[offset : offset + len(text)] == text:
      return kind
  raise ValueError("no NIfTI file, or one of a pair (.hdr, .img)")


def _header(start: bytes) -> Any:
  kind = _class(start).header_class
  return kind(start[: kind.template_dtype.itemsize])


def _unzipped(data: bytes) -> bytes:
  """Returns a file's header and values; what is compressed is read to its checksum, or fails."""
  if not data.startswith(GZIP):
    return data
  header = _header(_start(data))
  values = int(np.prod(header.get_data_shape(), dtype=np.int64)) * header.get_data_dtype().itemsize
  with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
    content = file.read(int(header.get_data_offset()) + values)
    while file.read(AT_A_TIME):
      pass
  return content
