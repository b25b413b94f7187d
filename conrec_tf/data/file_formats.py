"""Image files that TensorFlow can't decode: TIFF, WebP, BMP, JPEG 2000, AVIF by libraries that are
always there; DICOM, JPEG XL, HEIC and compressed TIFF by those of the extra `formats`."""

from collections.abc import Sequence
import contextlib
import io
from typing import Any
import warnings

import numpy as np
from PIL import Image, ImageOps

from conrec_tf.data.bad_image import as_bad_image

EXTRA = "pip install 'conrec-tf[formats]'"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
GREY_WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)  # TensorFlow's, of ITU-R BT.601
TIFF_ORIENTATION = 274
ANIMATED = ("WEBP", "AVIF")  # formats in which more frames are a film, not further images
ALPHA = (1, 2)  # of TIFF's ExtraSamples
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
  """Decodes a file that isn't JPEG, PNG or a GIF that fills its canvas, turned upright.

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
    if data.startswith(TIFF):
      image = _tiff(data, max_pixels)
    elif data.startswith(JPEG_XL):
      image = _of_1_to_4_channels(_library("imagecodecs", "JPEG XL").jpegxl_decode(data))
      _check_size(image.shape[0], image.shape[1], max_pixels)
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


def filled_range(image: np.ndarray, largest: float) -> np.ndarray:
  """Stretches values from 0 to `largest` over the range of uint16; what is more is white."""
  share = np.clip(np.asarray(image, np.float64) / largest, 0.0, 1.0)
  return np.round(share * np.iinfo(np.uint16).max).astype(np.uint16)


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


def _check_size(height: int, width: int, max_pixels: int) -> None:
  if height * width > max_pixels:
    raise ValueError(f"more than {max_pixels} pixels (--max_pixels)")


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
  _check_size(file.height, file.width, max_pixels)
  frames = getattr(file, "n_frames", 1)
  if frames > 1 and file.format in ANIMATED:
    raise ValueError(f"{frames} frames; save one image a file")
  if file.format == "GIF":
    return _on_canvas(file)
  image: Image.Image = ImageOps.exif_transpose(file)
  if image.mode.startswith("I;16"):
    return np.asarray(image).astype(np.uint16)[..., np.newaxis]
  if image.mode in ("I", "F"):
    raise ValueError(f"{image.mode} pixels have no known range; save 8 or 16 bits a channel")
  is_grey = image.mode in ("1", "L", "LA", "La")
  return np.asarray(image.convert("L" if is_grey else "RGB")).reshape(
    image.height, image.width, 1 if is_grey else 3
  )


def _on_canvas(file: Image.Image) -> np.ndarray:
  """Returns the first frame of a GIF where it lies on its canvas, black where nothing is.

  So does TensorFlow, of transparent pixels too, where a frame fills the canvas.
  """
  frame = np.asarray(file.convert("RGBA"))
  left, top, right, bottom = file.dispose_extent  # type: ignore[attr-defined]
  image = np.zeros([*frame.shape[:2], 3], np.uint8)
  image[top:bottom, left:right] = frame[top:bottom, left:right, :3]
  return image * (frame[..., 3:] > 0)


def _tiff(data: bytes, max_pixels: int) -> np.ndarray:
  """Returns the first image; Pillow knows more kinds of colour, tifffile more bits and channels."""
  import tifffile

  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page, series = file.pages.first, file.series[0]
    _check_size(page.imagelength, page.imagewidth, max_pixels)
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
  return upright(image, int(orientation.value) if orientation else 1)


def upright(image: np.ndarray, number: int) -> np.ndarray:
  """Does what `image_header.upright` does, of `[h, w]` too."""
  if number in (5, 6, 7, 8):
    image = image.swapaxes(0, 1)
  if number in (3, 4, 7, 8):
    image = image[::-1]
  return image[:, ::-1] if number in (2, 3, 6, 7) else image


def _dicom(data: bytes, max_pixels: int, window: str) -> np.ndarray:
  """Returns what a viewer shows: rescaled, windowed, the lowest value black or, inverted, white.

  Without a window, in the file or given, the range is all that the stored bits can hold, so that
  it is the same for all files of a scanner.
  """
  pydicom = _library("pydicom", "DICOM")
  from pydicom import pixels

  dataset = _without_empty_elements(pydicom.dcmread(io.BytesIO(data)))
  _check_size(dataset.Rows, dataset.Columns, max_pixels)
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
