"""TIFF files as they are: their channels, colours, bits and compressions, or why one isn't read."""

from collections.abc import Sequence
import contextlib
import io
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG

from conrec_tf.data.images.by_pillow import EXTRA, no_range, read_by_pillow
from conrec_tf.data.images.pixel_values import check_size, filled_range, upright

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PHOTOMETRIC_TAG, ORIENTATION, INK_SET = 262, 274, 332
CMYK_INKS = 1
ALPHA = (1, 2, 999)  # of ExtraSamples: associated, unassociated, and Corel Draw's
UNASSOCIATED_ALPHA = (2, 999)
# What Pillow decodes without anything else; the rest of what it knows, its build may lack.
PILLOW_COMPRESSIONS = (
  *(COMPRESSION.NONE, COMPRESSION.CCITTRLE, COMPRESSION.CCITTFAX3, COMPRESSION.CCITTFAX4),
  *(COMPRESSION.LZW, COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ADOBE_DEFLATE),
  *(COMPRESSION.PACKBITS, COMPRESSION.DEFLATE),
)
PERHAPS_OF_PILLOW = (COMPRESSION.ZSTD, COMPRESSION.LZMA)
ONLY_PILLOW = (PHOTOMETRIC.YCBCR, PHOTOMETRIC.CIELAB)
# Of planes Pillow confuses the other kinds of colours.
PILLOW_PLANES = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.SEPARATED)
# How many samples the colour of a pixel has; samples beyond are further channels or alpha.
COLOURS: dict[int, int] = {
  PHOTOMETRIC.MINISWHITE: 1,
  PHOTOMETRIC.MINISBLACK: 1,
  PHOTOMETRIC.RGB: 3,
  PHOTOMETRIC.PALETTE: 1,
  PHOTOMETRIC.SEPARATED: 4,
  PHOTOMETRIC.YCBCR: 3,
  PHOTOMETRIC.CIELAB: 3,
  PHOTOMETRIC.LINEAR_RAW: 1,
}


def read_tiff(data: bytes, bits: int, max_pixels: int) -> np.ndarray:
  """Decodes the first image of a TIFF file, turned upright.

  Pillow reads up to 8 bits of grey, RGB, RGBA, palettes, CMYK, YCbCr and CIELab; tifffile more
  bits and channels. Where imagecodecs is missing, Pillow stands in where it reads the same.

  Returns:
    uint8 or uint16 `[h, w, C]` that fills its range: 9 to 15 bits are stretched over 16, fewer
    than 8 over 8, and of 16 as many as `bits`, if not 0. Samples of alpha are dropped, those of no
    stated meaning are channels, 0 is black whatever is stored, CMYK and palettes are RGB.

  Raises:
    ValueError: it is too large or damaged, holds several pages that aren't channels, or colours or
      values that aren't known.
    ImportError: its compression or its bits need imagecodecs.
  """
  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page, series = file.pages.first, file.series[0]
    assert isinstance(page, tifffile.TiffPage)
    check_size(page.imagelength, page.imagewidth, max_pixels)
    _check_alone(file.series)
    _check_kind(page, series)
    is_plain = _is_plain(page, series)
    is_of_pillow = page.photometric in ONLY_PILLOW and not _is_jpeg_of_rgb(page)
    known = (*PILLOW_COMPRESSIONS, *(PERHAPS_OF_PILLOW if is_of_pillow else ()))
    if is_plain and page.compression in known:
      with contextlib.suppress(UnidentifiedImageError):
        return read_by_pillow(data, max_pixels)
    if is_of_pillow:
      raise ValueError(f"TIFF's {_name(page)} is read of 8 bits in one plane alone; save RGB")
    try:
      orientation = page.tags.valueof(ORIENTATION, 1)
      stored = upright(_samples(series), int(orientation))
    except Exception as error:
      if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
        raise
      stored = _without_imagecodecs(data, page, series, max_pixels)
      if is_plain:
        return stored
    return _without_alpha(_colours(stored, page, bits), page)


def _check_alone(series: Sequence[tifffile.TiffPageSeries]) -> None:
  """Raises ValueError where more images than the first are there, of other sizes or kinds.

  Smaller copies of an image and masks of its transparency are none.
  """
  kept = [each for each in series[1:] if not (each.keyframe.is_reduced or each.keyframe.is_mask)]
  if kept:
    raise ValueError(f"{1 + len(kept)} images of other sizes or kinds; save one image a file")


def _check_kind(page: tifffile.TiffPage, series: tifffile.TiffPageSeries) -> None:
  """Raises ValueError for what isn't read, by its name."""
  others = [size for axis, size in _sizes(series).items() if axis not in "YXSC"]
  if others:
    pages = "x".join(map(str, others))
    raise ValueError(f"{pages} pages that aren't channels; save one image a file")
  if {"S", "C"} <= _sizes(series).keys():
    raise ValueError(f"axes {series.axes} hold channels of colours; save one image a file")
  if isinstance(page.bitspersample, tuple):
    raise ValueError(f"samples of {page.bitspersample} bits; save 8 or 16 bits a channel")
  if page.dtype is None or page.dtype.kind not in "ub" or page.bitspersample > 16:
    raise ValueError(no_range(page.dtype or f"{page.bitspersample}-bit"))
  if PHOTOMETRIC_TAG not in page.tags:  # some readers take 0 for white then, some for black
    raise ValueError("no PhotometricInterpretation: is 0 black or white? save grey or RGB with it")
  name = _name(page)
  if page.photometric not in COLOURS or page.tags.valueof(INK_SET, CMYK_INKS) != CMYK_INKS:
    raise ValueError(f"TIFF's {name} colours aren't read; save grey or RGB")
  if page.compression == COMPRESSION.APERIO_JP2000_YCBC:
    raise ValueError("JPEG 2000 of YCbCr within TIFF isn't read; save RGB")
  if _has_pages_as_channels(page, series) and COLOURS[page.photometric] > 1:
    raise ValueError(f"several pages of {name}; save one image a file")


def _name(page: tifffile.TiffPage) -> str:
  """Returns the name of a page's kind of colours, or its number."""
  return getattr(page.photometric, "name", str(page.photometric))


def _sizes(series: tifffile.TiffPageSeries) -> dict[str, int]:
  """Returns the axes longer than 1."""
  return {axis: size for axis, size in zip(series.axes, series.shape, strict=True) if size > 1}


def _has_pages_as_channels(page: tifffile.TiffPage, series: tifffile.TiffPageSeries) -> bool:
  """Returns whether each channel is a page of its own, as ImageJ and OME-TIFF have it."""
  return "C" in _sizes(series) and page.samplesperpixel == 1


def _is_plain(page: tifffile.TiffPage, series: tifffile.TiffPageSeries) -> bool:
  """Returns whether Pillow reads all samples: colours of up to 8 bits, at most alpha besides."""
  if page.bitspersample > 8 or _has_pages_as_channels(page, series):
    return False
  if page.photometric == PHOTOMETRIC.YCBCR and page.is_subsampled and page.compression == 1:
    return False  # Pillow takes it for whole
  if page.planarconfig != PLANARCONFIG.CONTIG and (
    page.bitspersample < 8 or page.samplesperpixel == 2 or page.photometric not in PILLOW_PLANES
  ):
    return False
  has_alpha = len(page.extrasamples) == 1 and page.extrasamples[0] in UNASSOCIATED_ALPHA
  colours = page.samplesperpixel - len(page.extrasamples)
  is_luma = page.photometric == PHOTOMETRIC.YCBCR and colours == 1
  return (has_alpha or not page.extrasamples) and (is_luma or colours == COLOURS[page.photometric])


def _is_jpeg_of_rgb(page: tifffile.TiffPage) -> bool:
  """Returns whether tifffile decodes YCbCr to RGB, as it does JPEG within TIFF, of 12 bits too."""
  is_jpeg = page.compression == COMPRESSION.JPEG and page.photometric == PHOTOMETRIC.YCBCR
  return is_jpeg and page.planarconfig == PLANARCONFIG.CONTIG and not page.extrasamples


def _samples(series: tifffile.TiffPageSeries) -> np.ndarray:
  """Returns the samples as they are stored, `[h, w, C]`."""
  kept = [
    index
    for index, (axis, size) in enumerate(zip(series.axes, series.shape, strict=True))
    if size > 1 or axis in "YX"
  ]
  values = series.asarray().reshape([series.shape[index] for index in kept])
  channels = [index for index, axis in enumerate(kept) if series.axes[axis] in "SC"]
  return np.moveaxis(values, channels[0], -1) if channels else values[..., np.newaxis]


def _without_imagecodecs(
  data: bytes, page: tifffile.TiffPage, series: tifffile.TiffPageSeries, max_pixels: int
) -> np.ndarray:
  """Returns what Pillow reads, upright; where that may be something else, says what is missing."""
  is_grey = page.photometric in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
  is_whole = page.samplesperpixel == 1 and not _has_pages_as_channels(page, series)
  needed = ImportError(f"this compression needs imagecodecs: {EXTRA}")
  if not (_is_plain(page, series) or page.bitspersample > 8 and is_grey and is_whole):
    raise needed
  try:
    return read_by_pillow(data, max_pixels)
  except OSError as error:
    if isinstance(error, UnidentifiedImageError) or page.compression not in PILLOW_COMPRESSIONS:
      raise needed from error
    raise


def _colours(stored: np.ndarray, page: tifffile.TiffPage, bits: int) -> np.ndarray:
  """Returns black as 0, CMYK and palettes as RGB, further samples behind; a filled range."""
  count = COLOURS[page.photometric]
  if stored.shape[-1] < count:
    raise ValueError(f"{stored.shape[-1]} samples of {_name(page)}, which has {count}")
  if page.photometric == PHOTOMETRIC.PALETTE:
    return _looked_up(stored, page)
  used = bits if bits and page.bitspersample == 16 else page.bitspersample
  dtype = np.uint8 if page.bitspersample <= 8 else np.uint16
  if used in (8, 16) and 8 * stored.dtype.itemsize == used:
    image = stored
  else:
    image = filled_range(stored, 2**used - 1, dtype)
  if page.photometric == PHOTOMETRIC.MINISWHITE:
    return np.iinfo(dtype).max - image
  if page.photometric == PHOTOMETRIC.SEPARATED:
    return np.concatenate([_rgb_of_cmyk(image[..., :4]), image[..., 4:]], axis=-1)
  return image


def _looked_up(stored: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
  """Returns the colours of indices `[h, w, C]`, 16 bits of more than 8, and alpha behind."""
  if page.colormap is None:
    raise ValueError("a palette image without a palette (ColorMap)")
  kept = stored.shape[-1] - sum(sample in ALPHA for sample in page.extrasamples)
  if kept != 1:
    raise ValueError(f"{kept} channels with a palette; save RGB or the channels")
  colours = np.moveaxis(page.colormap[:, stored[..., 0].astype(np.int64)], 0, -1)
  is_8_bits = page.bitspersample <= 8
  colours = (colours >> 8).astype(np.uint8) if is_8_bits else colours.astype(np.uint16)
  return np.concatenate([colours, stored[..., 1:].astype(colours.dtype)], axis=-1)


def _rgb_of_cmyk(image: np.ndarray) -> np.ndarray:
  """Returns `[h, w, 3]` of CMYK `[h, w, 4]` as Pillow does for 8 bits, without a colour profile."""
  white = np.iinfo(image.dtype).max
  inks, light = image[..., :3].astype(np.int64), white - image[..., 3:].astype(np.int64)
  return (light - (2 * inks * light + white) // (2 * white)).astype(image.dtype)


def _without_alpha(image: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
  """Drops the samples, of the last, that ExtraSamples says are alpha."""
  extra: tuple[Any, ...] = page.extrasamples if page.samplesperpixel > 1 else ()
  first = image.shape[-1] - len(extra)
  kept = [
    index for index in range(image.shape[-1]) if index < first or extra[index - first] not in ALPHA
  ]
  return image if len(kept) == image.shape[-1] else image[..., kept]
