"""GIF files whose frame is smaller than their canvas, and files of several frames."""

import io

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf.data.images.bad_image import BadImage
from conrec_tf.data.images.decoding import decode_image
from conrec_tf.data.images.formats import read_image
from conrec_tf.data.images.inspection import describe_image

COLOURS = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0]], np.uint8)
NUMBERS = np.array([[1, 2, 1], [0, 1, 2]], np.uint8)


def gif(canvas: tuple[int, int], at: tuple[int, int], transparent: int = -1, comment: int = 0):
  """Returns a GIF of a frame of 2 x 3 pixels that lies at a place of its canvas."""
  image, buffer = Image.fromarray(NUMBERS, "P"), io.BytesIO()
  image.putpalette(COLOURS.ravel().tolist())
  options = {} if transparent < 0 else {"transparency": transparent}
  image.save(buffer, "GIF", optimize=False, comment=b"c" * comment, **options)
  data = bytearray(buffer.getvalue())
  data[6:10] = b"".join(side.to_bytes(2, "little") for side in canvas[::-1])
  frame = data.index(b",\0\0\0\0\x03\0\x02\0")
  data[frame + 1 : frame + 5] = b"".join(side.to_bytes(2, "little") for side in at[::-1])
  return bytes(data)


def expected(canvas: tuple[int, int], at: tuple[int, int], transparent: int = -1) -> np.ndarray:
  image = np.zeros([*canvas, 3], np.uint8)
  frame = np.where((NUMBERS == transparent)[..., np.newaxis], 0, COLOURS[NUMBERS])
  image[at[0] : at[0] + 2, at[1] : at[1] + 3] = frame
  return image


@pytest.mark.parametrize("comment", [0, 600])
@pytest.mark.parametrize("transparent", [-1, 1])
@pytest.mark.parametrize(
  "canvas, at", [((2, 3), (0, 0)), ((4, 5), (1, 1)), ((9, 3), (7, 0)), ((2, 40), (0, 37))]
)
def test_a_gif_is_as_large_as_its_canvas(canvas, at, transparent, comment):
  data = tf.constant(gif(canvas, at, transparent, comment))
  image = decode_image(data, 3, libraries=True)
  np.testing.assert_array_equal(image, expected(canvas, at, transparent))
  np.testing.assert_array_equal(describe_image(data), [*canvas, 3, 8])


def test_a_gif_smaller_than_its_canvas_is_refused_where_tensorflow_alone_decodes():
  decode = tf.function(lambda data: decode_image(data, 3), autograph=False)
  np.testing.assert_array_equal(decode(tf.constant(gif((2, 3), (0, 0)))), COLOURS[NUMBERS])
  with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG, PNG, or GIF that"):
    decode(tf.constant(gif((4, 5), (1, 1))))


@pytest.mark.parametrize("end", [10, 13, 22, 30])
def test_a_cut_gif_is_a_bad_image(end):
  with pytest.raises(tf.errors.InvalidArgumentError):
    decode_image(tf.constant(gif((4, 5), (1, 1), comment=8)[:end]), 3, libraries=True)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
@pytest.mark.parametrize("count", [2, 3])
def test_animations_are_refused_by_their_frames(rng, kind, count):
  frames = [Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(count)]
  buffer = io.BytesIO()
  frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
  with pytest.raises(BadImage, match=f"{count} frames; save one image a file"):
    read_image(buffer.getvalue(), 0, 1000)
  single = io.BytesIO()
  frames[0].save(single, kind)
  assert read_image(single.getvalue(), 0, 1000).shape == (16, 16, 3)
