"""PNG and JPEG files of every kind: read as they are stored, or refused by name."""

import functools
import io
import itertools
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf.data.images.decoding import decode_image
from conrec_tf.data.images.inspection import decode_error, describe_image

# Adam7, ISO/IEC 15948 section 8.2: first row and column of each pass, and the steps.
PASSES = (
  *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
  *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
DEPTHS = (1, 2, 4, 8, 16)
# Colour type in the header, samples, depths.
PNG_KINDS = {
  "grey": (0, 1, DEPTHS),
  "grey and alpha": (4, 2, (8, 16)),
  "RGB": (2, 3, (8, 16)),
  "RGB and alpha": (6, 4, (8, 16)),
  "palette": (3, 1, (1, 2, 4, 8)),
}


def chunk(kind, content):
  checksum = struct.pack(">I", zlib.crc32(kind + content))
  return struct.pack(">I", len(content)) + kind + content + checksum


def png(samples, depth, color_type, palette=None, interlaced=False):
  """A file of samples `[h, w, C]`."""

  def packed(row):
    bits = row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1) & 1
    return b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()

  steps = PASSES if interlaced else [(0, 0, 1, 1)]
  parts = [samples[row::down, column::right] for row, column, down, right in steps]
  content = b"".join(packed(row) for part in parts if part.size for row in part)
  height, width = samples.shape[:2]
  header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
  colors = chunk(b"PLTE", palette.tobytes()) if palette is not None else b""
  body = chunk(b"IHDR", header) + colors + chunk(b"IDAT", zlib.compress(content))
  return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def decoded(data):
  """Pixels as a folder's images are, or why they are none."""
  why = decode_error(describe_image, tf.constant(data))
  if why:
    return why
  channels, bits = describe_image(tf.constant(data)).numpy()[2:]
  options = dict(as_uint16=bool(bits > 8), libraries=True)
  return decode_image(tf.constant(data), int(channels), **options).numpy()


@functools.cache
def png_verdict(kind, depth):
  """What docs say; where a file is read, its pixels have been compared."""
  color_type, count, depths = PNG_KINDS[kind]
  if depth not in depths:
    return "has none"
  rng = np.random.default_rng(0)
  samples = rng.integers(0, 2**depth, [9, 11, count])
  palette = rng.integers(0, 256, [2**depth, 3], np.uint8) if kind == "palette" else None
  if palette is not None:
    expected = palette[samples[..., 0]]
  else:
    largest = 65535 if depth == 16 else 255
    expected = samples[..., : count - (count % 2 == 0)] * (largest // (2**depth - 1))
  for interlaced in (False, True):
    found = decoded(png(samples, depth, color_type, palette, interlaced))
    assert found.dtype == (np.uint16 if depth == 16 else np.uint8)
    np.testing.assert_array_equal(found, expected)
  return "read"


@pytest.mark.parametrize("kind, depth", itertools.product(PNG_KINDS, DEPTHS))
def test_png_is_read_as_it_is_stored(kind, depth):
  png_verdict(kind, depth)


def jpeg(mode, progressive):
  buffer = io.BytesIO()
  colors = {"L": 100, "RGB": (200, 100, 50), "CMYK": (10, 100, 200, 30)}[mode]
  Image.new(mode, (24, 16), colors).save(buffer, "JPEG", quality=100, progressive=progressive)
  return buffer.getvalue()


def by_imagecodecs(name, bits, **options):
  imagecodecs = pytest.importorskip("imagecodecs")
  samples = np.full([16, 24, options.pop("samples", 3)], 100 << bits - 8)
  samples = np.squeeze(samples.astype(np.uint8 if bits == 8 else np.uint16))
  if name != "jpegls":
    options["bitspersample"] = bits
  return getattr(imagecodecs, f"{name}_encode")(samples, **options)


# A file by whether it is progressive, and what a pixel is or how the reason begins.
JPEG_KINDS = {
  "grey": (lambda progressive: jpeg("L", progressive), [100]),
  "RGB (YCbCr)": (lambda progressive: jpeg("RGB", progressive), [200, 100, 50]),
  "RGB as it is": (
    lambda _: by_imagecodecs("jpeg8", 8, colorspace="RGB", outcolorspace="RGB"),
    [100, 100, 100],
  ),
  "CMYK": (lambda progressive: jpeg("CMYK", progressive), [216, 137, 49]),
  "YCCK": (
    lambda _: by_imagecodecs("jpeg8", 8, samples=4, colorspace="CMYK", outcolorspace="YCCK"),
    [39, 39, 39],
  ),
  "12 bits of grey": (lambda _: by_imagecodecs("jpeg8", 12, samples=1), "JPEG of 12 bits"),
  "12 bits of RGB": (lambda _: by_imagecodecs("jpeg8", 12), "JPEG of 12 bits"),
  "lossless": (lambda _: by_imagecodecs("ljpeg", 8, samples=1), "lossless JPEG"),
  "lossless, 16 bits": (lambda _: by_imagecodecs("ljpeg", 16, samples=1), "lossless JPEG"),
  "JPEG-LS": (lambda _: by_imagecodecs("jpegls", 8, samples=1), "JPEG-LS"),
}


@functools.cache
def jpeg_verdict(kind):
  file, expected = JPEG_KINDS[kind]
  for progressive in (False, True):
    found = decoded(file(progressive))
    if isinstance(expected, str):
      assert isinstance(found, str) and found.startswith(expected)
    else:
      assert found.shape == (16, 24, len(expected))
      assert np.abs(found.astype(int) - expected).max() <= 2
  return "refused" if isinstance(expected, str) else "read"


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_jpeg_is_read_as_it_is_stored_or_refused_by_name(kind):
  jpeg_verdict(kind)


def test_the_documentation_says_what_is_read():
  pytest.importorskip("imagecodecs")
  page = (pathlib.Path(__file__).parents[3] / "docs" / "data.md").read_text()
  for kind in PNG_KINDS:
    cells = [png_verdict(kind, depth) for depth in DEPTHS]
    assert f"| {kind} | {' | '.join(cells)} |" in page
  for kind in JPEG_KINDS:
    assert f"| {kind} | {jpeg_verdict(kind)} |" in page
