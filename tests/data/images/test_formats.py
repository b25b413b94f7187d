"""Files that TensorFlow can't decode, against what the libraries that wrote them make of them."""

import dataclasses
import io
import warnings

from dicom_files import dicom
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tifffile

from conrec_tf.config import Config
from conrec_tf.data.images.decoding import NATIVE, decode_image
from conrec_tf.data.images.formats import read_image
from conrec_tf.data.images.inspection import describe_image
from conrec_tf.data.pipeline import evaluation_batches, finetuning_batches, pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")
pillow_heif = pytest.importorskip("pillow_heif")

RNG = np.random.default_rng(0)
COARSE = np.kron(RNG.integers(0, 256, (3, 5, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
RAMP = np.tile(np.arange(4096, dtype=np.uint16), (2, 1))  # of 12 bits
RGB_16 = RNG.integers(0, 2**16, (40, 50, 3), np.uint16)
PIXELS = Config.max_pixels


def tiff(array, **options):
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, array, **options)
  return buffer.getvalue()


def described(data):
  return describe_image(tf.constant(data)).numpy().tolist()


@pytest.mark.parametrize("count", [2, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("axes", ["CYX", "YXC"])
def test_tiff_of_several_channels(count, dtype, axes):
  image = RNG.integers(0, np.iinfo(dtype).max, (20, 31, count), dtype)
  stored = image if axes == "YXC" else np.moveaxis(image, -1, 0)
  data = tiff(
    stored,
    photometric="minisblack",
    metadata={"axes": axes},
    ome=False,
    **(dict(planarconfig="contig", extrasamples=[0] * (count - 1)) if axes == "YXC" else {}),
  )
  found = read_image(data, 0, PIXELS)
  assert found.dtype == dtype
  np.testing.assert_array_equal(found, image)
  assert described(data) == [20, 31, count, 8 * np.dtype(dtype).itemsize]
  native = decode_image(tf.constant(data), count, as_uint16=True, libraries=True)
  scale = 257 if dtype == np.uint8 else 1
  np.testing.assert_array_equal(native, image.astype(np.uint16) * scale)
  for other in {1, 3, 6} - {count}:
    with pytest.raises((tf.errors.OpError, ValueError), match=f"{count} channels, where"):
      decode_image(tf.constant(data), other, libraries=True)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "jpeg2000"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "white", "planes"])
def test_tiff_of_16_bits(compression, kind):
  grey = RNG.integers(0, 2**16, (40, 50), np.uint16)
  rgb = RNG.integers(0, 2**16, (40, 50, 3), np.uint16)
  rgba = np.concatenate([rgb, grey[..., np.newaxis]], -1)
  array, options, expected = {
    "grey": (grey, dict(photometric="minisblack"), grey[..., np.newaxis]),
    "rgb": (rgb, dict(photometric="rgb"), rgb),
    "rgba": (rgba, dict(photometric="rgb", extrasamples=["unassalpha"]), rgb),
    "white": (grey, dict(photometric="miniswhite"), 65535 - grey[..., np.newaxis]),
    "planes": (
      np.moveaxis(rgb, -1, 0),
      dict(photometric="rgb", planarconfig="separate"),
      rgb,
    ),
  }[kind]
  data = tiff(array, compression=compression, **options)
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), expected)


@pytest.mark.parametrize("number", range(1, 9))
def test_tiff_of_16_bits_is_upright(number):
  image = RNG.integers(0, 2**16, (4, 6, 3), np.uint16)
  data = tiff(image, photometric="rgb", extratags=[(274, "H", 1, number, True)])
  small = Image.fromarray((image >> 8).astype(np.uint8))
  exif = Image.Exif()
  exif[274] = number
  buffer = io.BytesIO()
  small.save(buffer, "TIFF", exif=exif)
  np.testing.assert_array_equal(
    read_image(data, 0, PIXELS) >> 8, read_image(buffer.getvalue(), 0, PIXELS)
  )


@pytest.mark.parametrize(
  "array, options, message",
  [
    (np.zeros([3, 8, 9], np.uint8), dict(photometric="minisblack"), "3 pages that aren't channels"),
    (np.zeros([8, 9], np.float32), {}, "float32 pixels have no known range"),
    (np.zeros([8, 9], np.int16), {}, "int16 pixels have no known range"),
    (np.zeros([80, 90], np.uint16), {}, "more than 1000 pixels"),
  ],
)
def test_tiff_that_is_refused(array, options, message):
  with pytest.raises(ValueError, match=message):
    read_image(tiff(array, **options), 0, 1000)


def test_jpeg_xl_heic_avif_jpeg_2000():
  deep = RNG.integers(0, 2**16, (20, 30, 3), np.uint16)
  data = imagecodecs.jpegxl_encode(deep, lossless=True)
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), deep)
  data = imagecodecs.jpegxl_encode(COARSE[..., 0], lossless=True)
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), COARSE[..., :1])
  heic = io.BytesIO()
  pillow_heif.from_pillow(Image.fromarray(COARSE)).save(heic, quality=100, chroma=444)
  assert np.abs(read_image(heic.getvalue(), 0, PIXELS).astype(int) - COARSE).max() <= 12
  for kind in ("JPEG2000", "AVIF"):
    buffer = io.BytesIO()
    Image.fromarray(COARSE).save(buffer, kind)
    np.testing.assert_array_equal(read_image(buffer.getvalue(), 0, PIXELS), Image.open(buffer))
    assert described(buffer.getvalue()) == [48, 80, 3, 8]


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("white", [4095, 65535])
def test_pgm_and_ppm_of_more_than_8_bits_keep_them(kind, white):
  count = 1 if kind in ("P2", "P5") else 3
  stored = RNG.integers(0, white + 1, (4, 5, count))
  stored[0, 0, 0] = white
  content = (
    " ".join(map(str, stored.ravel().tolist())).encode()
    if kind in ("P2", "P3")
    else stored.astype(">u2").tobytes()
  )
  data = f"{kind}\n# 9 9\n5 4\n{white}\n".encode() + content
  found = read_image(data, 0, PIXELS)
  assert found.dtype == np.uint16
  np.testing.assert_array_equal(found, np.round(stored / white * 65535))
  assert described(data) == [4, 5, count, 16]
  as_of_12 = read_image(data, 12, PIXELS)  # those that state 16 may use fewer
  expected = found if white == 4095 else np.round(np.clip(stored / 4095, 0, 1) * 65535)
  np.testing.assert_array_equal(as_of_12, expected)
  with pytest.raises(ValueError):
    read_image(data[:-9], 0, PIXELS)


def test_no_other_limit_of_pixels_than_ours_comes_before_it(monkeypatch):
  """Pillow's is raised, where it has one, to that which is asked for."""
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
  for side in (11, 15):  # Pillow warns of the first, and refuses the second
    assert read_image(b"P5 %d 10 255\n" % side + bytes(10 * side), 0, 200).shape == (10, side, 1)
  assert Image.MAX_IMAGE_PIXELS == 200
  for side in (21, 41):
    data = b"P5 %d 10 255\n" % side + bytes(10 * side)
    with (
      warnings.catch_warnings(action="ignore"),
      pytest.raises(ValueError, match=r"more than 200 pixels \(--max_pixels\)"),
    ):
      read_image(data, 0, 200)


def test_what_is_missing_is_named(monkeypatch):
  for data, name in (
    (dicom(RAMP), "DICOM needs pydicom"),
    (imagecodecs.jpegxl_encode(COARSE), "JPEG XL needs imagecodecs"),
    (tiff(RGB_16, compression="zstd", photometric="rgb"), "this compression needs imagecodecs"),
  ):
    with monkeypatch.context() as patch:
      for library in ("pydicom", "imagecodecs"):
        patch.setitem(__import__("sys").modules, library, None)
      patch.setattr(tifffile.TIFF, "DECOMPRESSORS", _NoCodecs())
      with pytest.raises(ValueError, match=rf"{name}.*pip install 'conrec-tf\[formats\]'"):
        read_image(data, 0, PIXELS)


def test_grey_tiff_of_16_bits_needs_nothing_more(monkeypatch):
  buffer = io.BytesIO()
  Image.fromarray(RAMP).save(buffer, "TIFF", compression="tiff_lzw")
  monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", _NoCodecs())
  np.testing.assert_array_equal(read_image(buffer.getvalue(), 0, PIXELS)[..., 0], RAMP)


def test_what_is_no_image_is_said_in_the_same_words_each_time():
  messages = set()
  for _ in range(2):
    with pytest.raises(ValueError) as error:
      read_image(b"no image", 0, PIXELS)
    messages.add(str(error.value))
  assert messages == {"cannot identify image file"}


class _NoCodecs:
  def __getitem__(self, key):
    raise KeyError(f"{key} requires the 'imagecodecs' package")


def test_dicom_is_described_by_its_values():
  assert described(dicom(RAMP)) == [2, 4096, 1, 16]


def folder(path, files):
  for name, data in files.items():
    (path / name).write_bytes(data)
  return dict(dataset="image_folder", data_dir=str(path))


def test_files_of_16_bits_make_a_set_of_16_bits(tmp_path):
  png = io.BytesIO()
  Image.fromarray(RAMP).save(png, "PNG")
  files = {f"{index}.png": png.getvalue() for index in range(11)}
  grey = io.BytesIO()
  Image.fromarray(COARSE[..., 0]).save(grey, "PNG")
  values = folder(tmp_path, {**files, "8bit.png": grey.getvalue(), "1.2.840.7": dicom(RAMP)})
  source = load_dataset(Config(**values, train_split="train+test", image_bits=12))
  assert source.channels == 1 and source.train.num_examples == 13
  levels = {}
  for record in source.train.records():
    image = source.decode(record["image"]).numpy()
    assert image.dtype == np.uint16
    levels.setdefault(image.shape[:2], set()).add(len(np.unique(image)))
    if image.shape[:2] == (48, 80):
      np.testing.assert_array_equal(image[..., 0], COARSE[..., 0].astype(int) * 257)
    else:
      assert image.max() == 65535
  assert levels == {(2, 4096): {4096}, (48, 80): {len(np.unique(COARSE[..., 0]))}}


def test_channels_of_a_folder(tmp_path):
  image = RNG.integers(0, 2**16, (6, 20, 31), np.uint16)
  five = {f"{index}.tif": tiff(image[:5], metadata={"axes": "CYX"}) for index in range(11)}
  source = load_dataset(Config(**folder(tmp_path, five)))
  assert source.channels == 5
  with pytest.raises(UsageError, match="image_channels must be 0 .* Received: 3 for 5 channels"):
    load_dataset(Config(**folder(tmp_path, {}), image_channels=3))
  (tmp_path / "six.tif").write_bytes(tiff(image, metadata={"axes": "CYX"}))
  with pytest.raises(UsageError, match="Received: 5 in 0.tif, 6 in six.tif"):
    load_dataset(Config(**folder(tmp_path, {})))


@pytest.mark.parametrize("channels", [1, 3, NATIVE])
def test_grey_and_rgb_of_16_bits_become_each_other(channels):
  rgb = RNG.integers(0, 2**16, (10, 11, 3), np.uint16)
  found = decode_image(
    tf.constant(tiff(rgb, photometric="rgb")), channels, as_uint16=True, libraries=True
  )
  expected = {
    1: tf.image.rgb_to_grayscale(rgb / 65535).numpy() * 65535,
    3: rgb,
    NATIVE: rgb,
  }[channels]
  assert np.abs(found.numpy() - expected).max() <= 1


def smooth(seed, deep=False):
  """A photograph without sharp edges, which every compression keeps to within a level or so."""
  rows, columns = np.mgrid[0:24, 0:32]
  phases = np.random.default_rng(seed).uniform(0, 6, (3, 1, 1))
  waves = 0.5 + 0.45 * np.sin(rows / 9 + phases) * np.cos(columns / 11 - phases)
  values = np.moveaxis(waves, 0, -1)
  return np.round(values * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)


def saved(image, kind, **options):
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def heic(image):
  buffer = io.BytesIO()
  pillow_heif.from_pillow(Image.fromarray(image)).save(buffer, quality=100, chroma=444)
  return buffer.getvalue()


# Of an image, a file, and what the library that wrote it reads from that.
FORMATS = {
  "jpg": lambda image: saved(image, "JPEG", quality=100, subsampling=0),
  "png": lambda image: saved(image, "PNG"),
  "gif": lambda image: saved(image, "GIF"),
  "bmp": lambda image: saved(image, "BMP"),
  "webp": lambda image: saved(image, "WEBP", quality=100),
  "tif": lambda image: tiff(image, compression="lzw", photometric="rgb"),
  "jp2": lambda image: saved(image, "JPEG2000"),
  "heic": heic,
  "jxl": lambda image: imagecodecs.jpegxl_encode(image, lossless=True),
  "dcm": lambda image: dicom(image, "RGB", 8),
}


def by_its_library(kind, data):
  if kind == "tif":
    return tifffile.imread(io.BytesIO(data))
  if kind == "jxl":
    return imagecodecs.jpegxl_decode(data)
  if kind == "dcm":
    return pydicom.dcmread(io.BytesIO(data)).pixel_array
  pillow_heif.register_heif_opener()
  return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def spoiled(data):
  """Bad files in ten ways, by name."""
  jpg, png, tif, dcm = (data[kind] for kind in ("jpg", "png", "tif", "dcm"))
  bomb = Image.new("L", (3000, 3000))
  buffer = io.BytesIO()
  bomb.save(buffer, "PNG")
  return {
    "empty.jpg": b"",
    "cut.jpg": jpg[: len(jpg) // 2],
    "cut and ended.jpg": jpg[: len(jpg) // 2] + b"\xff\xd9",
    "cut.png": png[: len(png) // 2],
    "text.png": b"not an image at all",
    "cut.tif": tif[: len(tif) // 2],
    "pages.tif": tiff(np.zeros([3, 24, 32], np.uint8), photometric="minisblack"),
    "floats.tif": tiff(np.zeros([24, 32], np.float32)),
    "cut.dcm": dcm[: len(dcm) // 2],
    "bomb.png": buffer.getvalue(),
  }


@pytest.mark.slow
def test_a_thousand_files_of_ten_formats_twenty_of_them_bad(tmp_path):
  expected, bad = {}, set()
  for index in range(98):
    image = smooth(index)
    for kind, write in FORMATS.items():
      data = write(image)
      (tmp_path / f"{index:02}.{kind}").write_bytes(data)
      expected[f"{index:02}.{kind}"] = by_its_library(kind, data)
  for turn in range(2):
    files = spoiled({kind: write(smooth(100 + turn)) for kind, write in FORMATS.items()})
    for name, data in files.items():
      (tmp_path / f"{turn} {name}").write_bytes(data)
      bad.add(f"{turn} {name}")
  config = Config(
    dataset="image_folder",
    data_dir=str(tmp_path),
    train_split="train+test",
    max_pixels=1_000_000,
    max_undecodable="20",
    scaled_decoding=False,
  )
  source = load_dataset(config)
  assert {file.name for file in source.bad} == bad and source.train.num_examples == 1000
  seen = set()
  for name, record in zip(source.train.names, source.train.records(), strict=True):
    if name not in seen:
      found = source.decode(record["image"]).numpy().astype(int)
      # TensorFlow's decoder uses the fast integer transform of libjpeg, Pillow the accurate one.
      tolerance = 8 if name.endswith("jpg") else 1
      assert np.abs(found - expected[name].astype(int)).max() <= tolerance, name
      seen.add(name)
  assert seen == set(expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["views", "evaluation", "finetuning"])
def test_16_bits_go_through_the_whole_pipeline(tmp_path, mode, channels):
  """In the graph: not every operation of TensorFlow takes uint16."""
  for index in range(12):
    exif = Image.Exif()
    exif[0x0112] = index % 8 + 1
    Image.fromarray(np.tile(np.linspace(0, 65535, 60).astype(np.uint16), (40, 1))).save(
      tmp_path / f"{index:02}.png", exif=exif.tobytes()
    )
  config = Config(
    **folder(tmp_path, {}), image_channels=channels, image_size=24, unet_depth=3, train_batch_size=4
  )
  source = load_dataset(config)
  if mode == "views":
    images = next(iter(pretraining_batches(config, source)))["target"]
  else:
    if mode == "evaluation":
      images = next(iter(evaluation_batches(source, source.train.records(), 24, 4)))[0]
    else:
      rows = source.train.rows.mapped(lambda record: {**record, "label": 0})
      labelled = dataclasses.replace(source, train=dataclasses.replace(source.train, rows=rows))
      images = next(iter(finetuning_batches(config, labelled)))["image"]
  assert images.shape[-1] == channels and images.dtype == tf.float32
  assert 0 <= np.min(images) < 0.3 and 0.6 < np.max(images) <= 1


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_more_than_8_bits_in_jpeg_2000_are_whole_and_white_is_white(bits, channels):
  imagecodecs = pytest.importorskip("imagecodecs")
  white = 2**bits - 1
  pixels = np.random.default_rng(0).integers(0, white + 1, (16, 20, channels), np.uint16)
  pixels[:4], pixels[4:8] = white, 0
  data = imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=bits, reversible=True)
  expected = np.round(pixels[..., :3] / white * 65535).astype(np.uint16)
  for stated in (0, 12):  # what the file states counts
    if bits == 12 or not stated:
      np.testing.assert_array_equal(read_image(data, stated, 10**6), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_bits_than_8_in_jpeg_2000_fill_the_range(bits, channels):
  pixels = np.random.default_rng(0).integers(0, 2**bits, (16, 20, channels), np.uint8)
  stored = pixels if channels > 1 else pixels[..., 0]
  data = imagecodecs.jpeg2k_encode(stored, level=0, bitspersample=bits, reversible=True)
  expected = np.round(pixels / (2**bits - 1) * 255)
  np.testing.assert_array_equal(read_image(data, 0, PIXELS), expected)
