"""Image files that TensorFlow can't decode: TIFF, WebP, BMP, JPEG 2000, AVIF by libraries that are
always there; DICOM, NIfTI, JPEG XL, HEIC and compressed TIFF by those of the extra `formats`."""

import contextlib
import io
import warnings

import numpy as np

from conrec_tf.data.images import jpeg_xl, tiff
from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.images.by_pillow import fills_16_bits, library, read_by_pillow
from conrec_tf.data.images.frames import GZIP, NIFTI, Frames, only_frame
from conrec_tf.data.images.pixel_values import filled_range

# How a file begins that stands for images that couldn't be unpacked; the reason follows.
NOT_UNPACKED = b"conrec_tf: not unpacked\n"
# Of the kinds of DICOM (SOP classes) that hold pixels, those without "Image" in their names.
KINDS_WITH_PIXELS = ("Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")


@as_bad_image()
def read_image(
  data: bytes, bits: int, max_pixels: int, window: str = "", frames: str = ""
) -> np.ndarray:
  """Decodes a file that isn't JPEG, PNG or a GIF that fills its canvas, turned upright.

  Args:
    bits: how many of their bits files of 16 use, which then fill 16; 0 for all.
    max_pixels: larger images fail before they are decoded.
    window: of DICOM and NIfTI, `centre,width`; empty for the file's own.
    frames: `middle` takes that of several frames of DICOM or slices of NIfTI; any other refuses.

  Returns:
    uint8 or uint16 `[h, w, C]`: C is 1, 3, or what a TIFF of several channels holds. Alpha is
    dropped; palettes are looked up; CMYK becomes RGB.

  Raises:
    BadImage: it is too large, damaged, of a kind that needs the extra `formats`, of several
      pages that aren't channels, or its values have no range that is known.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the limit of pixels is ours; what is damaged raises
    if data.startswith(NOT_UNPACKED):
      raise BadImage(data.removeprefix(NOT_UNPACKED).decode(errors="replace"))
    if is_dicom(data) or is_nifti(data):
      return only_frame(open_frames(data, max_pixels, window), frames)
    if data.startswith(tiff.SIGNATURES):
      return tiff.read_tiff(data, bits, max_pixels)
    if data.startswith(jpeg_xl.SIGNATURES):
      return jpeg_xl.read_jpeg_xl(data, bits, max_pixels)
    image = read_by_pillow(data, max_pixels)
  if bits and image.dtype == np.uint16 and not fills_16_bits(data):
    return filled_range(image, 2**bits - 1)
  return image


def open_frames(data: bytes, max_pixels: int, window: str) -> Frames:
  """Opens a DICOM or NIfTI file; see `dicom.open_frames` and `nifti.open_slices`.

  Raises:
    Exception: of many kinds, where it is damaged or what reads it isn't installed.
  """
  if is_dicom(data):
    library("pydicom", "DICOM")
    from conrec_tf.data.images import dicom  # which needs it from its first line

    return dicom.open_frames(data, max_pixels, window)
  library("nibabel", "NIfTI")
  from conrec_tf.data.images import nifti  # likewise

  return nifti.open_slices(data, max_pixels, window)


def is_nifti(data: bytes) -> bool:
  """Returns whether a file says that it is NIfTI, or is compressed as a whole."""
  said = any(data[offset : offset + len(text)] == text for offset, text in NIFTI.items())
  return said or data.startswith(GZIP)


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
