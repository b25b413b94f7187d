"""JPEG XL files: their header, and the range of their values."""

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.data.images.formats import read_image

imagecodecs = pytest.importorskip("imagecodecs")

RNG = np.random.default_rng(0)
PIXELS = Config.max_pixels


def jpeg_xl(image, bits, **options):
  return imagecodecs.jpegxl_encode(image, lossless=True, bitspersample=bits, **options)


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 14, 16])
@pytest.mark.parametrize("usecontainer", [False, True])
def test_jpeg_xl_that_states_other_bits_than_8_and_16_is_stretched_once(bits, usecontainer):
  stored = RNG.integers(0, 2**bits, (33, 264), np.uint16)
  stored[0, 0] = 2**bits - 1
  dtype, white = (np.uint8, 255) if bits <= 8 else (np.uint16, 65535)
  data = jpeg_xl(stored.astype(dtype), bits, usecontainer=usecontainer)
  expected = np.round(stored / (2**bits - 1) * white)
  for asked in (0, 12):
    found = read_image(data, asked, PIXELS)[..., 0]
    assert found.dtype == dtype
    if bits == 16 and asked:
      expected = np.round(np.clip(stored / 4095, 0, 1) * white)
    np.testing.assert_array_equal(found, expected)


# Sides of eights are stored in another way than others, as are those of common ratios.
@pytest.mark.parametrize(
  "height, width", [(8, 16), (64, 40), (7, 9), (300, 9), (30, 36), (27, 48), (600, 1200)]
)
@pytest.mark.parametrize("usecontainer", [False, True])
def test_jpeg_xl_of_too_many_pixels_is_not_decoded(monkeypatch, height, width, usecontainer):
  data = jpeg_xl(np.zeros([height, width, 3], np.uint8), 8, usecontainer=usecontainer)
  assert read_image(data, 0, height * width).shape == (height, width, 3)
  monkeypatch.setattr(imagecodecs, "jpegxl_decode", None)
  with pytest.raises(ValueError, match=r"more than \d+ pixels \(--max_pixels\)"):
    read_image(data, 0, height * width - 1)


def test_jpeg_xl_that_holds_no_image_or_several_is_refused_in_words():
  film = imagecodecs.jpegxl_encode(np.zeros([3, 20, 30, 3], np.uint8), photometric="rgb")
  for data, why in (
    (film, "JPEG XL of several images isn't read; save one image a file"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL without an image"),
  ):
    with pytest.raises(ValueError, match=why):
      read_image(data, 0, PIXELS)
