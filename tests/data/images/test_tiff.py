"""TIFF files of every depth, number of samples, colour and compression, against what was stored.

Files are written by the specification, by Pillow, or by tifffile without its own metadata.
"""

import functools
import importlib
import io
import itertools
import pathlib

import numpy as np
from PIL import Image, ImageCms
import pytest
from tiff_writer import (
  BLACK_IS_ZERO,
  CFA,
  CIELAB,
  CMYK,
  MASK,
  PALETTE,
  RGB,
  SHORT,
  WHITE_IS_ZERO,
  YCBCR,
  plain_tiff,
  with_colormap,
)
import tifffile

from conrec_tf.config import Config
from conrec_tf.data.images.formats import read_image

PIXELS = Config.max_pixels
DEPTHS = (8, 12, 16)
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
INKS = 332


def random_samples(bits, count, seed=0):
  return np.random.default_rng(seed).integers(0, 2**bits, (6, 9, count))


def filled(samples, bits):
  """Samples stretched over 8 or 16 bits, whichever holds them."""
  largest, dtype = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
  return np.round(samples * (largest / (2**bits - 1))).astype(dtype)


def table_of(bits):
  return np.random.default_rng(1).integers(0, 65536, (3, 2**bits))


def looked_up(samples, bits):
  colours = np.moveaxis(table_of(bits)[:, samples[..., 0]], 0, -1)
  return (colours >> 8).astype(np.uint8) if bits <= 8 else colours.astype(np.uint16)


def rgb_of_cmyk(samples, bits):
  """Light that no ink takes, ideal inks without a profile."""
  shares = filled(samples, bits) / (255 if bits <= 8 else 65535)
  return (1 - shares[..., :3]) * (1 - shares[..., 3:4])


def by_pillow(mode):
  """What Pillow makes of 8 bits of its own kinds of colours."""
  return lambda samples, bits: np.asarray(
    Image.frombytes(mode, samples.shape[1::-1], samples.astype(np.uint8).tobytes()).convert("RGB")
  )


def rgb_of_lab(samples, bits):
  """As `by_pillow`; a* and b* are signed within TIFF, Pillow keeps them from 128."""
  stored = (samples ^ [0, 128, 128]).astype(np.uint8)
  lab = Image.merge("LAB", [Image.fromarray(plane) for plane in np.moveaxis(stored, -1, 0)])
  return np.asarray(ImageCms.applyTransform(lab, _lab_to_srgb()))


def _lab_to_srgb():
  profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
  return ImageCms.buildTransform(*profiles, "LAB", "RGB")


def kept(count):
  return lambda samples, bits: filled(samples, bits)[..., :count]


# Of the documentation's table: photometric, samples, ExtraSamples, and what is read.
KINDS = {
  "grey, BlackIsZero": (BLACK_IS_ZERO, 1, (), kept(1)),
  "grey, WhiteIsZero": (WHITE_IS_ZERO, 1, (), lambda s, b: ~filled(s, b)),
  "grey and alpha": (BLACK_IS_ZERO, 2, (UNASSOCIATED,), kept(1)),
  "2 channels": (BLACK_IS_ZERO, 2, (UNSPECIFIED,), kept(2)),
  "2 channels, WhiteIsZero": (WHITE_IS_ZERO, 2, (UNSPECIFIED,), lambda s, b: ~filled(s, b)),
  "3 channels that aren't RGB": (BLACK_IS_ZERO, 3, (UNSPECIFIED,) * 2, kept(3)),
  "4 channels": (BLACK_IS_ZERO, 4, (UNSPECIFIED,) * 3, kept(4)),
  "4 channels and alpha": (BLACK_IS_ZERO, 5, (*(UNSPECIFIED,) * 3, ASSOCIATED), kept(4)),
  "5 channels": (BLACK_IS_ZERO, 5, (UNSPECIFIED,) * 4, kept(5)),
  "RGB": (RGB, 3, (), kept(3)),
  "RGB and alpha": (RGB, 4, (UNASSOCIATED,), kept(3)),
  "RGB and associated alpha": (RGB, 4, (ASSOCIATED,), kept(3)),
  "RGB and near infrared": (RGB, 4, (UNSPECIFIED,), kept(4)),
  "RGB and a sample without ExtraSamples": (RGB, 4, (), kept(4)),
  "RGB, near infrared and alpha": (RGB, 5, (UNSPECIFIED, UNASSOCIATED), kept(4)),
  "palette": (PALETTE, 1, (), looked_up),
  "palette and alpha": (PALETTE, 2, (UNASSOCIATED,), looked_up),
  "CMYK": (CMYK, 4, (), rgb_of_cmyk),
  "CMYK and alpha": (CMYK, 5, (UNASSOCIATED,), rgb_of_cmyk),
  "YCbCr": (YCBCR, 3, (), by_pillow("YCbCr")),
  "CIELab": (CIELAB, 3, (), rgb_of_lab),
  "mosaic of a camera (CFA)": (CFA, 1, (), None),
  "mask of transparency": (MASK, 1, (), None),
}


def is_as(found, expected):
  """Whether an image is as expected; shares of white may be two levels off, by rounding."""
  if expected.dtype.kind == "f":
    return found.shape == expected.shape and bool(
      np.all(np.abs(found - expected * np.iinfo(found.dtype).max) <= 2)
    )
  return found.dtype == expected.dtype and np.array_equal(found, expected)


def turned(image, number):
  """What orientations mean: where the first row and column of what is stored lie."""
  image = np.swapaxes(image, 0, 1) if number >= 5 else image
  rows = slice(None, None, -1 if number in (3, 4, 7, 8) else 1)
  columns = slice(None, None, -1 if number in (2, 3, 6, 7) else 1)
  return image[rows, columns]


@functools.cache
def verdict(kind, bits, planar):
  """'read', after a check of all orientations and orders of bytes, or 'refused'."""
  photometric, count, extra, expect = KINDS[kind]
  tags = {PALETTE: with_colormap(table_of(bits)), YCBCR: {530: (SHORT, [1, 1])}}.get(photometric)
  samples, said = random_samples(bits, count), set()
  for orientation, big_endian in itertools.product(range(1, 9), (False, True)):
    data = plain_tiff(samples, bits, photometric, extra, planar, orientation, big_endian, tags)
    try:
      found = read_image(data, 0, PIXELS)
    except ValueError as error:
      assert "RGB" in str(error), error
      said.add("refused")
      continue
    assert is_as(found, turned(expect(samples, bits), orientation)), (orientation, big_endian)
    said.add("read")
  assert len(said) == 1
  return said.pop()


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_tiff_is_read_as_it_is_stored_or_refused_by_name(kind, bits):
  if bits == 12:
    pytest.importorskip("imagecodecs")
  for planar in (False, True):
    verdict(kind, bits, planar)


def written(array, **options):
  """A file of tifffile's without its own metadata."""
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, array, metadata=None, **options)
  return buffer.getvalue()


def saved(array, mode=None, **options):
  """A file of Pillow's."""
  buffer = io.BytesIO()
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(buffer, "TIFF", **options)
  return buffer.getvalue()


@pytest.fixture
def no_imagecodecs(monkeypatch):
  """As where tifffile is installed alone."""
  monkeypatch.setattr(
    tifffile.tifffile, "imagecodecs", importlib.import_module("tifffile._imagecodecs")
  )
  codecs, filters = tifffile.tifffile.CompressionCodec, tifffile.tifffile.PredictorCodec
  monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", codecs(encode=False))
  monkeypatch.setattr(tifffile.TIFF, "UNPREDICTORS", filters(encode=False))


@pytest.mark.parametrize(
  "compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd"]
)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_what_pillow_writes_is_read_as_pillow_reads_it(mode, compression, no_imagecodecs):
  image = Image.fromarray(random_samples(8, 3).astype(np.uint8))
  if mode == "LAB":
    image = ImageCms.applyTransform(
      image,
      ImageCms.buildTransform(
        *(ImageCms.createProfile(name) for name in ("sRGB", "LAB")), "RGB", "LAB"
      ),
    )
  buffer = io.BytesIO()
  image.convert(mode).save(buffer, "TIFF", compression=compression)
  colours = "L" if mode in ("1", "L", "LA") else "RGB"
  expected = np.atleast_3d(np.asarray(Image.open(buffer).convert(colours)))
  np.testing.assert_array_equal(read_image(buffer.getvalue(), 0, PIXELS), expected)


# What each compression can hold: 8 bits, 16 bits, and how many samples.
COMPRESSIONS = {
  "none": (None, (8, 16), range(1, 6)),
  "LZW": ("lzw", (8, 16), range(1, 6)),
  "deflate": ("zlib", (8, 16), range(1, 6)),
  "PackBits": ("packbits", (8, 16), range(1, 6)),
  "Zstandard": ("zstd", (8, 16), range(1, 6)),
  "LZMA": ("lzma", (8, 16), range(1, 6)),
  "JPEG 2000": ("jpeg2000", (8, 16), range(1, 6)),
  "JPEG XL": ("jpegxl", (8, 16), range(1, 6)),
  "LERC": ("lerc", (8, 16), range(1, 6)),
  "PNG": ("png", (8, 16), range(1, 5)),
  "WebP": ("webp", (8,), range(3, 5)),
  "JPEG": ("jpeg", (8,), range(1, 4)),
}


COLOURS_ALONE = "8 bits of grey and RGB(A)"
WITHOUT_FORMATS = {
  **{name: "read" for name in ("none", "deflate", "PackBits", "LZMA")},
  **{name: COLOURS_ALONE + ", 16 of grey" for name in ("LZW", "Zstandard")},
  "JPEG": COLOURS_ALONE,
}


def of_compression(name, bits, count, planar=False):
  """A file, and what it holds; JPEG is of one colour, which it keeps."""
  samples = random_samples(bits, count)
  if name == "JPEG":
    samples = np.broadcast_to(random_samples(bits, count)[:1, :1], [16, 16, count])
  samples = np.ascontiguousarray(samples.astype(np.uint8 if bits == 8 else np.uint16))
  several = dict(
    planarconfig="separate" if planar else "contig", extrasamples=[UNSPECIFIED] * (count - 1)
  )
  stored = np.ascontiguousarray(np.moveaxis(samples, -1, 0)) if planar else samples
  data = written(
    stored if count > 1 else samples[..., 0],
    photometric="minisblack",
    compression=COMPRESSIONS[name][0],
    **(several if count > 1 else {}),
  )
  return data, samples


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_tiff_of_every_compression_holds_channels(name):
  pytest.importorskip("imagecodecs")
  _, depths, counts = COMPRESSIONS[name]
  for bits, count in itertools.product(depths, counts):
    for planar in {False, count > 1 and name != "WebP"}:
      data, expected = of_compression(name, bits, count, planar)
      found = read_image(data, 0, PIXELS)
      if name == "JPEG":
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= 2
      else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("photometric, channels", [("rgb", 3), ("minisblack", 1)])
def test_tiff_of_every_compression_holds_grey_and_rgb(name, photometric, channels):
  pytest.importorskip("imagecodecs")
  kind, depths, counts = COMPRESSIONS[name]
  if channels not in counts:
    return
  for bits in depths:
    expected = random_samples(bits, channels).astype(np.uint8 if bits == 8 else np.uint16)
    if name == "JPEG":
      expected = np.full_like(expected, expected[0, 0, 0])
    data = written(
      expected if channels > 1 else expected[..., 0], photometric=photometric, compression=kind
    )
    found = read_image(data, 0, PIXELS)
    assert np.abs(found.astype(int) - expected).max() <= (2 if name == "JPEG" else 0)


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_tiff_is_the_same_with_and_without_imagecodecs(
  photometric, compression, dtype, request
):
  pytest.importorskip("imagecodecs")
  stored = random_samples(8 * dtype().itemsize, 1)[..., 0].astype(dtype)
  data = written(stored, photometric=photometric, compression=compression)
  expected = (~stored if photometric == "miniswhite" else stored)[..., np.newaxis]
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), expected)
  request.getfixturevalue("no_imagecodecs")
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), expected)


def test_pages_that_are_channels_are_not_cut_to_the_first_without_imagecodecs(request):
  pytest.importorskip("imagecodecs")
  buffer = io.BytesIO()
  pages = random_samples(8, 2).astype(np.uint8).transpose(2, 0, 1)
  tifffile.imwrite(buffer, pages, imagej=True, metadata={"axes": "CYX"}, compression="lzw")
  found = read_image(buffer.getvalue(), 0, PIXELS)
  np.testing.assert_array_equal(found, np.moveaxis(pages, 0, -1))
  request.getfixturevalue("no_imagecodecs")
  with pytest.raises(ValueError, match="needs imagecodecs"):
    read_image(buffer.getvalue(), 0, PIXELS)


def several(*pages):
  """A file of images of one value each: height, value and options of tifffile."""
  buffer = io.BytesIO()
  with tifffile.TiffWriter(buffer) as file:
    for height, value, options in pages:
      is_mask = options == OF_TRANSPARENCY
      image = np.full([height, 24], value, bool if is_mask else np.uint8)
      file.write(image, photometric="minisblack", metadata=None, **options)
  return buffer.getvalue()


SMALLER, OF_TRANSPARENCY = dict(subfiletype=1), dict(subfiletype=4)


@pytest.mark.parametrize(
  "pages, count",
  [
    ([(20, 1, {}), (25, 2, {}), (22, 3, {})], 3),
    ([(20, 1, {}), (20, 2, dict(compression="zlib"))], 2),
    ([(5, 1, SMALLER), (20, 2, {})], 2),
    ([(5, 1, SMALLER | dict(subifds=1)), (20, 2, {})], 2),
  ],
)
def test_images_of_other_sizes_or_kinds_are_not_left_out_without_a_word(pages, count):
  with pytest.raises(ValueError, match=f"{count} images of other sizes or kinds; save one image"):
    read_image(several(*pages), 0, PIXELS)


@pytest.mark.parametrize("others", [[(7, 9, SMALLER)], [(20, 0, OF_TRANSPARENCY), (7, 9, SMALLER)]])
def test_smaller_copies_and_masks_of_transparency_are_no_further_images(others):
  found = read_image(several((20, 5, {}), *others), 0, PIXELS)
  np.testing.assert_array_equal(found, np.full([20, 24, 1], 5))


RAMP = np.arange(4096).reshape(32, 128, 1)
FILLED_RAMP = filled(RAMP, 12)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("big_endian", [False, True])
def test_12_of_16_bits_fill_the_range_whichever_is_white(photometric, big_endian):
  data = plain_tiff(RAMP, 16, photometric, big_endian=big_endian)
  expected = FILLED_RAMP if photometric == BLACK_IS_ZERO else 65535 - FILLED_RAMP
  np.testing.assert_array_equal(read_image(data, 12, PIXELS), expected)
  whole = RAMP if photometric == BLACK_IS_ZERO else 65535 - RAMP
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), whole)
  np.testing.assert_array_equal(read_image(data, 16, PIXELS), whole)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_that_the_file_states_are_stretched_once(photometric, bits):
  pytest.importorskip("imagecodecs")
  samples = random_samples(bits, 1)
  data = plain_tiff(samples, bits, photometric)
  expected = filled(samples, bits) if photometric == BLACK_IS_ZERO else ~filled(samples, bits)
  for asked in (0, 8, 12, 16):
    np.testing.assert_array_equal(read_image(data, asked, PIXELS), expected)


def test_packed_12_bits_are_the_same_without_imagecodecs(request, no_imagecodecs):
  np.testing.assert_array_equal(
    read_image(plain_tiff(RAMP, 12, BLACK_IS_ZERO), 0, PIXELS), FILLED_RAMP
  )
  for data in (plain_tiff(RAMP, 12, WHITE_IS_ZERO), plain_tiff(RAMP.reshape(32, 64, 2), 12, 1)):
    with pytest.raises(ValueError, match="needs imagecodecs: pip install 'conrec-tf"):
      read_image(data, 0, PIXELS)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_2000_is_stretched_once(bits):
  imagecodecs = pytest.importorskip("imagecodecs")
  ramp = np.arange(2**12, dtype=np.uint16).reshape(64, 64) >> max(0, 12 - bits)
  data = imagecodecs.jpeg2k_encode(ramp, level=0, bitspersample=bits)
  expected = ramp.astype(int) * 65535 / (2 ** min(bits, 12) - 1)
  found = read_image(data, 12, PIXELS)[..., 0]
  assert np.abs(found - expected).max() < 2 ** (16 - min(bits, 12))
  assert len(np.unique(found)) == 2 ** min(bits, 12)


@pytest.mark.parametrize(
  "kind, photometric", [("jpeg2000", "minisblack"), ("jpegxl", "miniswhite")]
)
@pytest.mark.parametrize("stated", [12, 16])
def test_codecs_of_12_bits_within_tiff_are_stretched_once(kind, photometric, stated):
  pytest.importorskip("imagecodecs")
  data = written(
    RAMP[..., 0].astype(np.uint16),
    photometric=photometric,
    compression=kind,
    compressionargs={
      "bitspersample": 12,
      **({"level": 0} if kind == "jpeg2000" else {"lossless": True}),
    },
    bitspersample=stated,
  )
  expected = FILLED_RAMP if photometric == "minisblack" else ~FILLED_RAMP
  np.testing.assert_array_equal(read_image(data, 12, PIXELS), expected)
  if stated == 12:
    np.testing.assert_array_equal(read_image(data, 0, PIXELS), expected)


def test_jpeg_of_12_bits_is_rgb():
  pytest.importorskip("imagecodecs")
  rows, columns = np.mgrid[:64, :64]
  smooth = np.stack([60 * rows + 100, 60 * columns + 100, 4000 - 30 * (rows + columns)], -1)
  data = written(smooth.astype(np.uint16), photometric="rgb", compression="jpeg", bitspersample=12)
  difference = read_image(data, 0, PIXELS).astype(int) - filled(smooth, 12)
  assert np.abs(difference).max() < 16 * 64


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_in_other_compressions_is_as_pillow_has_it(bits):
  pytest.importorskip("imagecodecs")
  samples = random_samples(8, 4).astype(np.uint8)
  pillow = np.asarray(Image.frombytes("CMYK", (9, 6), samples.tobytes()).convert("RGB"))
  deep = samples if bits == 8 else samples.astype(np.uint16) * 257
  found = read_image(written(deep, photometric="separated", compression="zstd"), 0, PIXELS)
  if bits == 8:
    np.testing.assert_array_equal(found, pillow)
  else:
    assert np.abs(found / 257 - pillow).max() <= 1


def test_inks_that_are_no_cmyk_are_refused():
  data = plain_tiff(random_samples(16, 4), 16, CMYK, tags={INKS: (SHORT, [2])})
  with pytest.raises(ValueError, match="TIFF's SEPARATED colours aren't read"):
    read_image(data, 0, PIXELS)


def test_subsampled_ycbcr_without_compression_is_refused():
  data = plain_tiff(random_samples(8, 3), 8, YCBCR, tags={530: (SHORT, [2, 2])})
  with pytest.raises(ValueError, match="TIFF's YCBCR is read of 8 bits in one plane alone"):
    read_image(data, 0, PIXELS)


def test_palette_of_16_bits_is_not_stretched():
  samples = random_samples(16, 1)
  data = plain_tiff(samples, 16, PALETTE, tags=with_colormap(table_of(16)))
  np.testing.assert_array_equal(read_image(data, 12, PIXELS), looked_up(samples, 16))


def test_damaged_palettes_are_bad_images():
  samples = random_samples(16, 1)
  with pytest.raises(ValueError, match="a palette image without a palette"):
    read_image(plain_tiff(samples, 16, PALETTE), 0, PIXELS)
  with pytest.raises(ValueError, match="damaged|palette"):
    read_image(plain_tiff(samples, 16, PALETTE, tags=with_colormap(table_of(8))), 0, PIXELS)


def tables():
  """Returns the documentation's two tables, every cell from files that were written and read."""
  lines = ["| TIFF's colours and samples | 8 bits | 12 bits | 16 bits |", "|---|---|---|---|"]
  for kind in KINDS:
    cells = [{planar: verdict(kind, bits, planar) for planar in (False, True)} for bits in DEPTHS]
    shown = (
      cell[False] if cell[False] == cell[True] else f"{cell[False]}; in planes {cell[True]}"
      for cell in cells
    )
    lines.append(f"| {kind} | {' | '.join(shown)} |")
  lines += ["", "| compression | 8 bits | 16 bits | channels | without `formats` |"]
  lines.append("|---|---|---|---|---|")
  for name, (_, depths, counts) in COMPRESSIONS.items():
    held = ["read" if bits in depths else "has none" for bits in (8, 16)]
    alone = WITHOUT_FORMATS.get(name, "refused")
    lines.append(f"| {name} | {' | '.join(held)} | {min(counts)} to {max(counts)} | {alone} |")
  return "\n".join(lines)


def test_documented_tables_are_what_is_read():
  pytest.importorskip("imagecodecs")
  page = (pathlib.Path(__file__).parents[3] / "docs" / "data.md").read_text()
  assert tables() in page


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_what_is_documented_of_compressions_without_formats(name, request):
  """Of 8 bits: channels, and grey or RGB, whichever the compression has."""
  pytest.importorskip("imagecodecs")
  kind, _, counts = COMPRESSIONS[name]
  channels = of_compression(name, 8, max(counts))[0]
  colours = written(np.full([16, 16, 3], 9, np.uint8), photometric="rgb", compression=kind)
  request.getfixturevalue("no_imagecodecs")
  said = WITHOUT_FORMATS.get(name, "refused")
  for data, is_read in ((channels, said == "read"), (colours, said != "refused")):
    if is_read:
      read_image(data, 0, PIXELS)
    else:
      with pytest.raises(ValueError, match="needs imagecodecs: pip install 'conrec-tf"):
        read_image(data, 0, PIXELS)
