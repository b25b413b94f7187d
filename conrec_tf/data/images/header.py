"""Reads headers of image files in TensorFlow's graph: kind, size, orientation."""

import zlib

import tensorflow as tf

ORIENTATION_TAG = 0x0112
SIZE_ENDS = 24  # bytes, of a PNG or GIF
GIF_HEADER = 13  # bytes
PNG_HEADER = 33  # bytes, with IHDR
FULL = b"fuLl"  # chunk of a PNG that this program wrote, after IHDR: values fill their bits
PNG, GIF = b"\x89PNG\r\n\x1a\n", b"GIF8"


def starts_with(encoded: tf.Tensor, *prefixes: bytes, at: int = 0) -> tf.Tensor:
  """Returns whether a string scalar has one of some texts at an offset, a bool scalar."""
  found = tf.constant(False)
  for prefix in prefixes:
    long_enough = tf.strings.length(encoded) >= at + len(prefix)
    offset = tf.where(long_enough, at, 0)
    found |= long_enough & (tf.strings.substr(encoded, offset, len(prefix)) == prefix)
  return found


def needs_library(encoded: tf.Tensor) -> tf.Tensor:
  """Returns whether a file is none of those that TensorFlow decodes: JPEG, PNG, most GIF."""
  by_tensorflow = tf.io.is_jpeg(encoded) | starts_with(encoded, PNG, GIF)
  return ~by_tensorflow | leaves_canvas_empty(encoded)


def is_png(encoded: tf.Tensor) -> tf.Tensor:
  """Returns whether a file is a PNG, a bool scalar."""
  return starts_with(encoded, PNG)


def is_16_bit_png(encoded: tf.Tensor) -> tf.Tensor:
  """Returns whether a file is a PNG of 16 bits a channel, a bool scalar."""
  return is_png(encoded) & starts_with(encoded, b"\x10", at=24)


def fills_bits(encoded: tf.Tensor) -> tf.Tensor:
  """Returns whether a PNG says that its values fill their bits, a bool scalar."""
  return starts_with(encoded, FULL, at=PNG_HEADER + 4)


def saying_that_it_fills_bits(png: bytes) -> bytes:
  """Returns a PNG with a chunk that says so."""
  chunk = bytes(4) + FULL + zlib.crc32(FULL).to_bytes(4, "big")
  return png[:PNG_HEADER] + chunk + png[PNG_HEADER:]


def says_that_it_fills_bits(data: bytes) -> bool:
  """Returns what `fills_bits` does, of bytes."""
  return data.startswith(FULL, PNG_HEADER + 4)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def pixels(encoded: tf.Tensor) -> tf.Tensor:
  """Returns height times width of a JPEG, PNG or GIF, an int64 scalar; 0 for any other."""
  data = _Bytes(tf.strings.substr(encoded, 0, SIZE_ENDS))

  def of_jpeg() -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(encoded, tf.int32)
    return tf.reduce_prod(tf.cast(shape[:2], tf.int64))

  return tf.case(
    [
      (tf.io.is_jpeg(encoded), of_jpeg),
      (is_png(encoded), lambda: data.number(16, 4, True) * data.number(20, 4, True)),
      (starts_with(encoded, GIF), lambda: data.number(6, 2, False) * data.number(8, 2, False)),
    ],
    default=lambda: tf.constant(0, tf.int64),
  )


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation(encoded: tf.Tensor) -> tf.Tensor:
  """Returns the orientation in a JPEG's or PNG's EXIF data, an int64 scalar from 1 to 8.

  1, upright, is what there is without EXIF data and for values that there aren't. Numbers are
  those of the EXIF standard (CIPA DC-008, tag 0x0112); in PNG they are in the eXIf chunk.
  """
  data = _Bytes(encoded)
  one, none = tf.constant(1, tf.int64), tf.constant(-1, tf.int64)

  def of_jpeg() -> tf.Tensor:
    def step(offset: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      is_exif = (data[offset + 1] == 0xE1) & data.are(offset + 4, b"Exif\0\0")
      after = offset + tf.where(data[offset + 1] == 0xFF, one, 2 + data.number(offset + 2, 2, True))
      return after, tf.where(is_exif, offset + 10, found)

    def goes_on(offset: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
      before_pixels = (data[offset] == 0xFF) & (data[offset + 1] != 0xDA)
      return (found < 0) & (offset + 10 < data.size) & before_pixels

    return tf.while_loop(goes_on, step, [tf.constant(2, tf.int64), none])[1]

  def of_png() -> tf.Tensor:
    def step(offset: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      is_exif = data.are(offset + 4, b"eXIf")
      after = offset + 12 + data.number(offset, 4, True)
      return after, tf.where(is_exif, offset + 8, found)

    def goes_on(offset: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
      return (found < 0) & (offset + 12 < data.size)

    return tf.while_loop(goes_on, step, [tf.constant(len(PNG), tf.int64), none])[1]

  found = tf.case(
    [(tf.io.is_jpeg(encoded), of_jpeg), (is_png(encoded), of_png)], default=lambda: none
  )
  return tf.cond(found < 0, lambda: one, lambda: _orientation_at(data, found))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def leaves_canvas_empty(encoded: tf.Tensor) -> tf.Tensor:
  """Returns whether a file is a GIF whose first frame is smaller than its canvas, a bool scalar.

  Frames come after the header, a palette and extensions, which are blocks of up to 255 bytes.
  """

  def table_size(flags: tf.Tensor) -> tf.Tensor:
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

  def is_smaller() -> tf.Tensor:
    data = _Bytes(encoded)

    def extension(offset: tf.Tensor) -> list[tf.Tensor]:
      [end] = tf.while_loop(
        lambda at: (data[at] > 0) & (at < data.size), lambda at: [at + 1 + data[at]], [offset + 2]
      )
      return [end + 1]

    start = GIF_HEADER + table_size(data[10])
    [frame] = tf.while_loop(
      lambda at: (data[at] == ord("!")) & (at < data.size), extension, [start]
    )
    sides = tf.constant([0, 2], tf.int64)
    size = data.number(frame + 5 + sides, 2, False)
    return (data[frame] == ord(",")) & tf.reduce_any(size < data.number(6 + sides, 2, False))

  return tf.cond(starts_with(encoded, GIF), is_smaller, lambda: tf.constant(False))


def upright_size(size: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
  """Returns height and width, `[2]`, of an image stored in an orientation as it is to be seen."""
  return tf.where(number >= 5, size[::-1], size)


def upright(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
  """Turns an image `[h, w, C]` that is stored in an orientation as it is to be seen."""

  def turned() -> tf.Tensor:
    result = tf.cond(number >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    result = tf.cond(_is(number, 3, 4, 7, 8), lambda: result[::-1], lambda: result)
    return tf.cond(_is(number, 2, 3, 6, 7), lambda: result[:, ::-1], lambda: result)

  return tf.cond(number > 1, turned, lambda: image)


class _Bytes:
  """A file's bytes as numbers; beyond its end are zeros."""

  def __init__(self, encoded: tf.Tensor) -> None:
    self.size = tf.cast(tf.strings.length(encoded), tf.int64)
    self._data = tf.io.decode_raw(tf.strings.join([encoded, b"\0"]), tf.uint8)

  def __getitem__(self, offset: tf.Tensor | int) -> tf.Tensor:
    offset = tf.clip_by_value(tf.cast(offset, tf.int64), 0, self.size)
    return tf.cast(tf.gather(self._data, offset), tf.int64)

  def number(self, offset: tf.Tensor | int, count: int, big_endian: tf.Tensor | bool) -> tf.Tensor:
    """Returns an unsigned number of some bytes, int64 of the shape of `offset`."""
    offset, offsets = tf.convert_to_tensor(offset, tf.int64), tf.range(count, dtype=tf.int64)
    parts = self[offset[..., tf.newaxis] + offsets]
    weights = tf.constant([256**power for power in range(count)], tf.int64)
    return tf.reduce_sum(parts * tf.where(big_endian, weights[::-1], weights), axis=-1)

  def are(self, offset: tf.Tensor, text: bytes) -> tf.Tensor:
    """Returns whether these bytes lie at an offset, a bool scalar."""
    return tf.reduce_all(self[offset + tf.range(len(text), dtype=tf.int64)] == list(text))


def _orientation_at(data: _Bytes, start: tf.Tensor) -> tf.Tensor:
  """Returns the orientation in the EXIF data that begins at an offset."""
  is_big = data[start] == ord("M")
  directory = start + data.number(start + 4, 4, is_big)
  count = tf.minimum(data.number(directory, 2, is_big), 64)
  entries = directory + 2 + 12 * tf.range(count)
  is_wanted = data.number(entries, 2, is_big) == ORIENTATION_TAG
  values = tf.boolean_mask(data.number(entries + 8, 2, is_big), is_wanted)
  value = tf.concat([values, tf.ones([1], tf.int64)], 0)[0]
  return tf.where((value >= 1) & (value <= 8), value, tf.ones_like(value))


def _is(number: tf.Tensor, *values: int) -> tf.Tensor:
  return tf.reduce_any(number == tf.constant(values, tf.int64))
