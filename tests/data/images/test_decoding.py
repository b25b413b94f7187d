"""Image files as cameras and scanners write them, against what Pillow makes of them."""

import functools
import io

import numpy as np
from PIL import Image, ImageOps
import pytest
import tensorflow as tf

from conrec_tf.data.images import header
from conrec_tf.data.images.decoding import NATIVE, decode_image

BLOCKS = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
COARSE = Image.fromarray(np.kron(BLOCKS, np.ones((16, 16, 1), np.uint8)))  # JPEG keeps its colours


def encoded(image, kind, **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def by_pillow(data):
  return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@functools.cache
def graph_of_decode(*args, **options):
  """Returns `decode_image` with these arguments as a graph, which is traced once."""
  signature = [tf.TensorSpec([], tf.string)]
  return tf.function(lambda text: decode_image(text, *args, **options), signature, autograph=False)


@pytest.fixture(params=["eager", "graph"])
def decode(request):
  """`decode_image`, eagerly and in a graph."""
  if request.param == "eager":
    return lambda data, *args, **options: decode_image(tf.constant(data), *args, **options).numpy()

  def in_graph(data, *args, **options):
    return graph_of_decode(*args, **options)(tf.constant(data)).numpy()

  return in_graph


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("number", range(10))  # 0 and 9 aren't orientations
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_upright(kind, number, endian):
  exif = Image.Exif()
  exif.endian = endian
  exif[0x0112], exif[0x010F] = number, "a maker"
  options = dict(quality=95) if kind != "TIFF" else {}
  data = encoded(COARSE, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
  found = decode_image(tf.constant(data), 3, libraries=True).numpy().astype(int)
  expected = by_pillow(data)
  assert found.shape == expected.shape and np.abs(found - expected).max() <= 12
  if kind in ("JPEG", "PNG"):
    assert header.orientation(tf.constant(data)) == (number if 1 <= number <= 8 else 1)


def test_orientation_behind_other_segments():
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encoded(COARSE, "JPEG", exif=exif.tobytes(), icc_profile=bytes(5000), comment=b"c" * 300)
  start = data.index(b"\xff\xe1")
  moved = data[:start] + b"\xff\xed" + (10).to_bytes(2, "big") + bytes(8) + data[start:]
  assert header.orientation(tf.constant(moved)) == 6


@pytest.mark.parametrize(
  "data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"x"]
)
def test_headers_of_damaged_files_end(data):
  assert header.orientation(tf.constant(data)) == 1
  if not tf.io.is_jpeg(data):
    assert header.pixels(tf.constant(data)) >= 0
  with pytest.raises((tf.errors.OpError, ValueError)):
    decode_image(tf.constant(data), 3, libraries=True)


@pytest.mark.parametrize(
  "kind, mode, channels",
  [
    *(("BMP", "P", 3), ("BMP", "L", 1), ("BMP", "RGB", 3), ("WEBP", "RGB", 3), ("WEBP", "RGBA", 3)),
    *(
      ("TIFF", "RGB", 3),
      ("TIFF", "L", 1),
      ("TIFF", "CMYK", 3),
      ("TIFF", "P", 3),
      ("TIFF", "1", 1),
    ),
  ],
)
def test_pillow_decodes_what_tensorflow_does_not(decode, kind, mode, channels):
  image = COARSE.quantize(16) if mode == "P" else COARSE.convert(mode)
  data = encoded(image, kind, **(dict(lossless=True) if kind == "WEBP" else {}))
  native = decode(data, NATIVE, libraries=True)
  assert native.shape == (48, 80, channels)
  np.testing.assert_array_equal(decode(data, 3, libraries=True), by_pillow(data))
  assert decode(data, 1, libraries=True).shape == (48, 80, 1)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF"])
def test_what_takes_a_library_is_refused_where_tensorflow_alone_decodes(kind):
  """It knows BMP, too, but takes a palette's indices for grey."""
  data = encoded(COARSE.convert("P") if kind == "BMP" else COARSE, kind)
  with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG, PNG, or GIF that fills"):
    decode_image(tf.constant(data), 3)


def test_files_that_end_in_zeros_stay_whole(decode):
  data = encoded(Image.new("RGB", (8, 8)), "BMP")
  assert data.endswith(bytes(8))
  np.testing.assert_array_equal(decode(data, 3, libraries=True), np.zeros([8, 8, 3]))


def test_sixteen_bits_stay_and_fill_their_range_by_how_many_are_used(decode):
  values = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (48, 1))
  for kind in ("PNG", "TIFF"):
    data = encoded(Image.fromarray(values), kind)
    np.testing.assert_array_equal(decode(data, 1, as_uint16=True, libraries=True)[..., 0], values)
    found = decode(data, 1, 12, as_uint16=True, libraries=True)
    np.testing.assert_array_equal(found[..., 0], np.round(values / 4095 * 65535))
    assert decode(data, 1, libraries=True).max() == 15  # the high 8 of 16
    found = decode(data, 1, 12, libraries=True)
    assert np.abs(found[..., 0] - values / 4095 * 255).max() <= 1
    assert decode(data, 1, 8, libraries=True).max() == 255  # what is brighter is white
  eight = encoded(COARSE, "PNG")
  np.testing.assert_array_equal(decode(eight, 3, 12), by_pillow(eight))
  np.testing.assert_array_equal(decode(eight, 3, as_uint16=True), by_pillow(eight) * np.uint16(257))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_images_of_too_many_pixels_are_not_decoded(kind):
  data = encoded(COARSE, kind)
  assert decode_image(tf.constant(data), 3, max_pixels=48 * 80, libraries=True).shape == (48, 80, 3)
  with pytest.raises((tf.errors.OpError, ValueError), match="more than 3839 pixels"):
    decode_image(tf.constant(data), 3, max_pixels=48 * 80 - 1, libraries=True)


def test_floats_without_a_range_are_refused():
  data = encoded(Image.fromarray(np.zeros([4, 4], np.float32)), "TIFF")
  with pytest.raises((tf.errors.OpError, ValueError), match="float32 pixels have no known range"):
    decode_image(tf.constant(data), 1, libraries=True)
