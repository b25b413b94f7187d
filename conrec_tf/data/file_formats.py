"""Image files that TensorFlow can't decode: TIFF, WebP, BMP, JPEG 2000, AVIF by libraries that are
always there; DICOM, JPEG XL, HEIC and compressed TIFF by those of the extra `formats`."""

from collections.abc import Sequence
import contextlib
import io
from typing import Any
import warnings

import numpy as np

from conrec_tf.data.bad_image import as_bad_image
from conrec_tf.data.by_pillow import (
  check_size,
  filled_range,
  fills_16_bits,
  library,
  no_range,
  read_by_pillow,
)
from conrec_tf.data.tiff import SIGNATURES, read_tiff

JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
GREY_WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)  # TensorFlow's, of ITU-R BT.601
# What a DICOM file may have without a value, which is as if it hadn't.
MAY_BE_EMPTY = (
  *("NumberOfFrames", "PhotometricInterpretation", "PixelRepresentation", "PlanarConfiguration"),
  *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
  *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
)
# Of the kinds of DICOM (SOP classes) that hold pixels, those without "Image" in their names.
KINDS_WITH_PIXELS = ("Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")


@as_bad_image()
def read_image(data: bytes, bits: int, max_pixels: int, window: str = "") -> np.ndarray:
  """Decodes a file that isn't JPEG, PNG or GIF, turned upright.

  Args:
    data: the file.
    bits: how many of their bits files of 16 use, which then fill 16; 0 for all.
    max_pixels: larger images fail before they are decoded.
    window: of DICOM, `centre,width`; empty for the file's own.

  Returns:
    uint8 or uint16 `[h, w, C]`: C is 1, 3, or what a TIFF of several channels holds. Alpha is
    dropped; palettes are looked up; CMYK becomes RGB.

  Raises:
    BadImage: it is too large, damaged, of a kind that needs the extra `formats`, of several
      pages that aren't channels, or its values have no range that is known.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the limit of pixels is ours; what is damaged raises
    if is_dicom(data):
      return _dicom(data, max_pixels, window)
    if data.startswith(SIGNATURES):
      return read_tiff(data, bits, max_pixels)
    if data.startswith(JPEG_XL):
      image = _of_1_to_4_channels(library("imagecodecs", "JPEG XL").jpegxl_decode(data))
      check_size(image.shape[0], image.shape[1], max_pixels)
    else:
      image = read_by_pillow(data, max_pixels)
  if image.dtype not in (np.uint8, np.uint16):
    raise ValueError(no_range(image.dtype))
  if bits and image.dtype == np.uint16 and not fills_16_bits(data):
    return filled_range(image, 2**bits - 1)
  return image


def is_dicom(data: bytes) -> bool:
  """Returns whether a file says that it is DICOM."""
  return data[128:132] == b"DICM"


def holds_no_image(data: bytes) -> bool:
  """Returns whether a file is DICOM of a kind without pixels: an index, a report, a plan.

  Where pydicom is missing, doesn't know the kind or can't read the file, it may be an image.
  """
  if not is_dicom(data):
    return False
  with contextlib.suppress(Exception), warnings.catch_warnings():  # pydicom raises of many kinds
    warnings.simplefilter("ignore")
    dataset = library("pydicom", "DICOM").dcmread(io.BytesIO(data), stop_before_pixels=True)
    kind = dataset.file_meta.MediaStorageSOPClassUID
    is_image = "Image" in kind.name or kind.name in KINDS_WITH_PIXELS
    return kind.name != str(kind) and not is_image and "Rows" not in dataset
  return False


def converted(image: np.ndarray, channels: int, as_uint16: bool) -> np.ndarray:
  """Returns an image of `read_image` with as many channels and bits as asked.

  Args:
    image: uint8 or uint16 `[h, w, C]`.
    channels: 1, 3, what the image has, or 0 for that.
    as_uint16: whether it shall be uint16; 8 bits then fill 16, else the high 8 of 16 are kept.

  Raises:
    ValueError: the image has neither that many channels nor 1 or 3.
  """
  stored = image.shape[-1]
  if channels in (1, 3) and stored in (1, 3) and channels != stored:
    if channels == 3:
      image = np.repeat(image, 3, axis=-1)
    else:
      grey = image.astype(np.float32) @ GREY_WEIGHTS
      image = np.round(grey)[..., np.newaxis].astype(image.dtype)
  elif channels not in (0, stored):
    raise ValueError(f"{stored} channels, where other images have {channels}")
  if as_uint16 and image.dtype == np.uint8:
    return image.astype(np.uint16) * 257
  return image if as_uint16 or image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def _of_1_to_4_channels(image: np.ndarray) -> np.ndarray:
  """Drops alpha, the last of 2 or 4 channels."""
  if image.ndim == 2:
    image = image[..., np.newaxis]
  return image[..., : image.shape[-1] - (image.shape[-1] in (2, 4))]


def _dicom(data: bytes, max_pixels: int, window: str) -> np.ndarray:
  """Returns what a viewer shows: rescaled, windowed, the lowest value black or, inverted, white.

  Without a window, in the file or given, the range is all that the stored bits can hold, so that
  it is the same for all files of a scanner.
  """
  pydicom = library("pydicom", "DICOM")
  from pydicom import pixels

  dataset = _without_empty_elements(pydicom.dcmread(io.BytesIO(data)))
  check_size(dataset.Rows, dataset.Columns, max_pixels)
  frames = int(dataset.get("NumberOfFrames", 1) or 1)
  if frames > 1:
    raise ValueError(f"{frames} frames; save one image a file")
  stored = dataset.pixel_array
  if dataset.PhotometricInterpretation == "PALETTE COLOR":
    return pixels.apply_color_lut(stored, dataset)
  if dataset.SamplesPerPixel > 1:
    return stored
  values, low, high = _shown(pixels, dataset, stored, window)
  if dataset.PhotometricInterpretation == "MONOCHROME1":
    values = low + high - values
  image = filled_range((values - low)[..., np.newaxis], high - low)
  return image if dataset.BitsStored > 8 else converted(image, 1, as_uint16=False)


def _without_empty_elements(dataset: Any) -> Any:
  """Removes elements without a value, and completes or removes what is left of a pair."""
  for name in MAY_BE_EMPTY:
    if name in dataset and _first(dataset[name].value) in (None, ""):
      del dataset[name]
  if ("WindowCenter" in dataset) != ("WindowWidth" in dataset):
    del dataset["WindowCenter" if "WindowCenter" in dataset else "WindowWidth"]
  if ("RescaleSlope" in dataset) != ("RescaleIntercept" in dataset):
    dataset.RescaleSlope = dataset.get("RescaleSlope", 1)
    dataset.RescaleIntercept = dataset.get("RescaleIntercept", 0)
  return dataset


def _first(value: Any) -> Any:
  """Returns a value, or the first of several; None of an empty list."""
  if isinstance(value, str | bytes) or not isinstance(value, Sequence):
    return value
  return value[0] if len(value) else None


def _shown(
  pixels: Any, dataset: Any, stored: np.ndarray, window: str
) -> tuple[np.ndarray, float, float]:
  """Returns values to show, and what is black and what is white among them."""
  rescaled = pixels.apply_modality_lut(stored, dataset).astype(np.float64)
  bits = int(dataset.BitsStored)
  lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
  limits = np.array([lowest, lowest + 2**bits - 1], np.float64)
  if "ModalityLUTSequence" in dataset:
    limits = np.array([0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1])
  else:
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    limits = np.sort(limits * float(slope) + float(intercept))
  if window:
    centre, width = (float(number) for number in window.split(","))
    return rescaled, centre - width / 2, centre + width / 2
  if "VOILUTSequence" in dataset:
    largest = 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    return pixels.apply_voi(rescaled.astype(np.int64), dataset).astype(np.float64), 0.0, largest
  if "WindowWidth" in dataset:
    return pixels.apply_windowing(rescaled, dataset), *limits
  return rescaled, *limits
