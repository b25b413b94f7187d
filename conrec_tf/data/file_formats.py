"""Image files that TensorFlow can't decode: TIFF, WebP, BMP, JPEG 2000, AVIF by libraries that are
always there; DICOM, JPEG XL, HEIC and compressed TIFF by those of the extra `formats`."""

import contextlib
import io
from typing import Any
import warnings

import numpy as np
from PIL import Image, ImageOps

from conrec_tf.data.bad_image import as_bad_image
from conrec_tf.data.pixel_values import check_size, filled_range

EXTRA = "pip install 'conrec-tf[formats]'"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
TIFF_ORIENTATION = 274
ALPHA = (1, 2)  # of TIFF's ExtraSamples
# Of the kinds of DICOM (SOP classes) that hold pixels, those without "Image" in their names.
KINDS_WITH_PIXELS = ("Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")


@as_bad_image()
def read_image(
  data: bytes, bits: int, max_pixels: int, window: str = "", frames: str = ""
) -> np.ndarray:
  """Decodes a file that isn't JPEG, PNG or GIF, turned upright.

  Args:
    data: the file.
    bits: how many of their bits files of 16 use, which then fill 16; 0 for all.
    max_pixels: larger images fail before they are decoded.
    window: of DICOM, `centre,width`; empty for the file's own.
    frames: which of several frames of DICOM to take, `middle`; empty for none.

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
      _library("pydicom", "DICOM")
      from conrec_tf.data import dicom  # which needs it from its first line

      return dicom.read(data, max_pixels, window, frames)
    if data.startswith(TIFF):
      image = _tiff(data, max_pixels)
    elif data.startswith(JPEG_XL):
      image = _of_1_to_4_channels(_library("imagecodecs", "JPEG XL").jpegxl_decode(data))
      check_size(image.shape[0], image.shape[1], max_pixels)
    else:
      image = _pillow(data, max_pixels)
  if image.dtype not in (np.uint8, np.uint16):
    raise ValueError(f"{image.dtype} pixels have no known range; save 8 or 16 bits a channel")
  if bits and image.dtype == np.uint16:
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
    dataset = _library("pydicom", "DICOM").dcmread(io.BytesIO(data), stop_before_pixels=True)
    kind = dataset.file_meta.MediaStorageSOPClassUID
    is_image = "Image" in kind.name or kind.name in KINDS_WITH_PIXELS
    return kind.name != str(kind) and not is_image and "Rows" not in dataset
  return False


def _library(name: str, kind: str) -> Any:
  """Imports what only some formats need.

  Raises:
    ImportError: it isn't installed.
  """
  try:
    return __import__(name)
  except ImportError as error:
    raise ImportError(f"{kind} needs {name}: {EXTRA}") from error


def _of_1_to_4_channels(image: np.ndarray) -> np.ndarray:
  """Drops alpha, the last of 2 or 4 channels."""
  if image.ndim == 2:
    image = image[..., np.newaxis]
  return image[..., : image.shape[-1] - (image.shape[-1] in (2, 4))]


def _pillow(data: bytes, max_pixels: int) -> np.ndarray:
  if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
    _library("pillow_heif", "HEIC").register_heif_opener()
  file = Image.open(io.BytesIO(data))
  check_size(file.height, file.width, max_pixels)
  image: Image.Image = ImageOps.exif_transpose(file)
  if image.mode.startswith("I;16"):
    return np.asarray(image).astype(np.uint16)[..., np.newaxis]
  if image.mode in ("I", "F"):
    raise ValueError(f"{image.mode} pixels have no known range; save 8 or 16 bits a channel")
  is_grey = image.mode in ("1", "L", "LA", "La")
  return np.asarray(image.convert("L" if is_grey else "RGB")).reshape(
    image.height, image.width, 1 if is_grey else 3
  )


def _tiff(data: bytes, max_pixels: int) -> np.ndarray:
  """Returns the first image; Pillow knows more kinds of colour, tifffile more bits and channels."""
  import tifffile

  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page, series = file.pages.first, file.series[0]
    check_size(page.imagelength, page.imagewidth, max_pixels)
    sizes = {axis: size for axis, size in zip(series.axes, series.shape) if size > 1}
    others = {axis: size for axis, size in sizes.items() if axis not in "YXSC"}
    if others:
      pages = "x".join(str(size) for size in others.values())
      raise ValueError(f"{pages} pages that aren't channels; save one image a file")
    if page.dtype in (np.uint8, np.bool_) and page.samplesperpixel <= 4 and "C" not in sizes:
      return _pillow(data, max_pixels)
    try:
      values = series.asarray()
    except (ValueError, ImportError) as error:
      if "imagecodecs" not in str(error):
        raise
      if page.samplesperpixel == 1:
        return _pillow(data, max_pixels)
      raise ImportError(f"this compression needs imagecodecs: {EXTRA}") from error
    orientation = page.tags.get(TIFF_ORIENTATION)
    extra = page.extrasamples
  axes = [axis for axis, size in zip(series.axes, series.shape) if size > 1 or axis in "YX"]
  values = values.reshape([series.shape[series.axes.index(axis)] for axis in axes])
  channel_axes = [place for place, axis in enumerate(axes) if axis in "SC"]
  if len(channel_axes) > 1:
    raise ValueError(f"axes {series.axes} hold channels of colours; save one image a file")
  image = np.moveaxis(values, channel_axes[0], -1) if channel_axes else values[..., np.newaxis]
  if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and image.dtype.kind == "u":
    image = np.iinfo(image.dtype).max - image
  if extra and extra[-1] in ALPHA and image.shape[-1] in (2, 4):
    image = image[..., :-1]
  return _upright(image, int(orientation.value) if orientation else 1)


def _upright(image: np.ndarray, number: int) -> np.ndarray:
  """Does what `image_header.upright` does."""
  if number in (5, 6, 7, 8):
    image = image.transpose(1, 0, 2)
  if number in (3, 4, 7, 8):
    image = image[::-1]
  return image[:, ::-1] if number in (2, 3, 6, 7) else image
