"""What masks store, and whether it means the same in all of a set."""

import io
import logging
import struct
import zlib

import numpy as np
from PIL import Image
import pytest
import tifffile

from conrec_tf.data.images.bad_image import BadImage
from conrec_tf.errors import UsageError
from conrec_tf.segmentation.mask_classes import class_maps
from conrec_tf.segmentation.masks import IGNORED, Mask, read_mask


def saved(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, kind, **options)
  return buffer.getvalue()


def read_all(*files: bytes) -> list[Mask]:
  return [read_mask(content, f"{number}.png") for number, content in enumerate(files)]


@pytest.mark.filterwarnings("ignore:Image size")
def test_no_other_limit_of_pixels_than_ours_comes_before_it(monkeypatch):
  """Pillow has one of 178,956,970, here of 20."""
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
  content = saved(np.zeros([8, 8], np.uint8))
  with pytest.raises(BadImage, match=r"more than 63 pixels \(--max_pixels\)"):
    read_mask(content, "mask.png", max_pixels=63)
  assert read_mask(content, "mask.png", max_pixels=64).pixels.shape == (8, 8)


def discs(*values: int, size: int = 64) -> np.ndarray:
  """Returns discs within one another, the outermost first value outside of all, uint8."""
  down, right = np.mgrid[:size, :size] - size / 2
  radius = np.hypot(down, right)
  mask = np.full([size, size], values[0], np.uint8)
  for place, value in enumerate(values[1:]):
    mask[radius < size * (0.4 - 0.15 * place)] = value
  return mask


def png(values: np.ndarray, bits: int) -> bytes:
  """Returns a grey PNG of 1, 2, 4, 8 or 16 bits, as its specification lays it out."""
  height, width = values.shape
  texts = ["".join(f"{value:0{bits}b}" for value in row) for row in values.tolist()]
  rows = [text + "0" * (-len(text) % 8) for text in texts]
  data = b"".join(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)

  def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

  header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
  parts = (b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def table(tmp_path, *lines: str) -> str:
  path = tmp_path / "classes.csv"
  path.write_text("\n".join(["value,name", *lines]))
  return str(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_png_of_any_depth_holds_what_it_stores(rng, bits):
  values = rng.integers(0, min(2**bits, 60), (5, 7))
  [mask] = read_all(png(values, bits))
  np.testing.assert_array_equal(mask.pixels, values)
  assert mask.white == 2**bits - 1
  assert mask.pixels.dtype == (np.uint8 if bits <= 8 else np.int32)  # all masks are held at once


@pytest.mark.parametrize("largest", [1, 3, 100, 255, 4095, 65535])
def test_a_pgm_holds_what_it_stores(rng, largest):
  values = rng.integers(0, largest + 1, (5, 7))
  stored = values.astype(">u2" if largest > 255 else "u1").tobytes()
  [mask] = read_all(b"P5 7 5 %d\n" % largest + stored)
  np.testing.assert_array_equal(mask.pixels, values)


@pytest.mark.parametrize(
  "values, ignored, said", [((1, 2, 3), -1, "1"), ((0, 1, 2), 0, "1"), ((0, 1), -1, "")]
)
def test_a_background_other_than_0_is_said(values, ignored, said, caplog):
  class_maps(read_all(saved(discs(*values))), "", ignored)
  assert ("background" in caplog.text) == bool(said)
  assert f"the lowest, {said}," in caplog.text or not said


@pytest.mark.parametrize("dtype, white", [("u1", 255), ("u2", 65535)])
def test_a_tiff_of_which_0_is_white_is_taken_as_it_is_shown(rng, dtype, white):
  values = rng.choice(np.array([0, white], dtype), (8, 8))
  files = []
  for photometric in ("minisblack", "miniswhite"):
    buffer = io.BytesIO()
    stored = white - values if photometric == "miniswhite" else values
    tifffile.imwrite(buffer, stored.astype(dtype), photometric=photometric, metadata=None)
    files.append(buffer.getvalue())
  masks = read_all(*files)
  assert [mask.white_is_zero for mask in masks] == [False, True]
  for mask in masks:
    np.testing.assert_array_equal(mask.pixels, values)
  assert class_maps(masks, "", -1)[0] == ("0", str(white))


def test_numbers_in_a_tiff_of_which_0_is_white_need_a_table(rng, tmp_path):
  values = rng.choice(np.array([0, 1, 2], np.uint8), (8, 8))
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, values, photometric="miniswhite", metadata=None)
  masks = read_all(buffer.getvalue())
  with pytest.raises(
    UsageError, match="255 that of a stored 0. Received: WhiteIsZero, shown as 253, 254, 255, in 0"
  ):
    class_maps(masks, "", -1)
  path = table(tmp_path, "255,ground", "254,a", "253,b")
  np.testing.assert_array_equal(class_maps(masks, path, -1)[1][0], values)


def jpeg(values: np.ndarray) -> bytes:
  return saved(values, "JPEG", quality=90)


def through_jpeg(values: np.ndarray) -> bytes:
  """Returns a PNG of what a JPEG made of values."""
  return saved(np.asarray(Image.open(io.BytesIO(jpeg(values)))))


@pytest.mark.parametrize(
  "save",
  [jpeg, through_jpeg, lambda values: saved(values, "WEBP", quality=50)],
  ids=["JPEG", "PNG of a JPEG", "WebP"],
)
def test_masks_saved_with_losses_need_classes_and_the_nearest_counts(tmp_path, caplog, save):
  stored = discs(0, 255)
  [mask] = read_all(save(stored))
  if mask.pixels.ndim == 3:
    path = table(tmp_path, "#000000,ground", "#ffffff,vessel")
  else:
    path = table(tmp_path, "0,ground", "255,vessel")
    with pytest.raises(UsageError, match=r"of which the nearest counts. Received: \d+ with 0.png"):
      class_maps([mask], "", -1)
  names, [classes] = class_maps([mask], path, -1)
  assert names == ("ground", "vessel")
  counted = classes != IGNORED
  assert counted.mean() > 0.99
  np.testing.assert_array_equal(classes[counted], (stored == 255)[counted])
  assert "1 masks hold values beside those of mask_classes, taken for the nearest" in caplog.text


def test_clean_levels_in_a_jpeg_are_classes():
  flat = np.zeros([16, 16], np.uint8)
  flat[:, 8:] = 255
  names, _ = class_maps(read_all(jpeg(flat), jpeg(flat * 0)), "", -1)
  assert names == ("0", "255")


def test_a_class_that_a_table_lacks_isnt_taken_for_another(tmp_path):
  path = table(tmp_path, "0,ground", "255,vessel")
  with pytest.raises(UsageError, match=r"classes alone: 0, 255. Received: 116, 118, .* in 0.png"):
    class_maps(read_all(jpeg(discs(0, 128, 255))), path, -1)
  with pytest.raises(UsageError, match="classes alone: 0, 255. Received: 2 in 0.png"):
    class_maps(read_all(saved(discs(0, 2, 255))), path, -1)


def test_close_numbers_are_lost_in_a_jpeg(tmp_path):
  path = table(tmp_path, "0,ground", "1,vessel")
  with pytest.raises(UsageError, match="must be 32 or more apart, .* Received: 0.png"):
    class_maps(read_all(jpeg(discs(0, 1))), path, -1)


def test_many_values_of_one_class_are_exact(tmp_path):
  numbers = np.arange(100, dtype=np.uint8).reshape(10, 10)
  path = table(tmp_path, "0,ground", *(f"{number},cell" for number in range(1, 100)))
  _, [classes] = class_maps(read_all(saved(numbers)), path, -1)
  np.testing.assert_array_equal(classes, numbers > 0)


def test_colours_that_programs_round_are_the_nearest(tmp_path, caplog):
  colours = np.array([[0, 0, 0], [250, 2, 0], [255, 0, 0]], np.uint8)
  [mask] = read_all(saved(colours[discs(0, 1, 2)]))
  path = table(tmp_path, "#000000,ground", "#ff0000,vessel")
  _, [classes] = class_maps([mask], path, -1)
  np.testing.assert_array_equal(classes, discs(0, 1, 1))
  assert "e.g. #fa0200 in 0.png" in caplog.text
  path = table(tmp_path, "#000000,ground", "#ff0000,vessel", "#fa0700,other")
  with pytest.raises(UsageError, match="Received: #fa0200 in 0.png"):
    class_maps([mask], path, -1)


def test_a_colour_jpeg_takes_the_nearest_and_leaves_out_what_is_near_none(tmp_path, caplog):
  colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
  stored = discs(0, 1, 2, size=128)
  path = table(tmp_path, "#000000,ground", "#ff0000,vessel", "#0000ff,disc")
  masks = read_all(saved(colours[stored], "JPEG", quality=90))
  _, [classes] = class_maps(masks, path, -1)
  counted = classes != IGNORED
  assert 0.95 < counted.mean() < 1
  assert np.mean(classes[counted] == stored[counted]) > 0.99
  assert "of the pixels, near none, don't count" in caplog.text


def with_palette(numbers: np.ndarray, *colours: tuple[int, int, int]) -> bytes:
  image = Image.fromarray(numbers, "P")
  image.putpalette([part for colour in colours for part in colour])
  buffer = io.BytesIO()
  image.save(buffer, "PNG")
  return buffer.getvalue()


BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
  "palette, order, message",
  [
    ((BLACK, BLUE, RED), [0, 2, 1], "1 is #ff0000 in 0.png and #0000ff in 1.png"),
    ((RED, BLACK, BLUE), [1, 0, 2], "0 is #000000 in 0.png and #ff0000 in 1.png"),
    ((BLACK, RED, (0, 255, 0)), [0, 1, 2], "2 is #0000ff in 0.png and #00ff00 in 1.png"),
  ],
)
def test_palettes_that_differ_are_refused_and_taken_by_colour(tmp_path, palette, order, message):
  stored = discs(0, 1, 2)
  masks = read_all(
    with_palette(stored, BLACK, RED, BLUE),
    with_palette(np.array(order, np.uint8)[stored], *palette),
  )
  with pytest.raises(UsageError, match=f"palettes of masks must be alike, .*Received: {message}"):
    class_maps(masks, "", -1)
  path = table(tmp_path, "#000000,ground", "#ff0000,a", "#0000ff,b", "#00ff00,b")
  for classes in class_maps(masks, path, -1)[1]:
    np.testing.assert_array_equal(classes, stored)
  _, (_, by_index) = class_maps(masks, table(tmp_path, "0,ground", "1,a", "2,b"), -1)
  np.testing.assert_array_equal(by_index, np.array(order)[stored])


def test_palettes_may_differ_in_what_no_pixel_has():
  masks = read_all(
    with_palette(discs(0, 1), BLACK, RED, BLUE), with_palette(discs(0, 1), BLACK, RED, RED)
  )
  assert class_maps(masks, "", -1)[0] == ("0", "1")


@pytest.mark.parametrize(
  "first, second, received",
  [
    (saved(discs(0, 1)), saved(discs(0, 255)), "1 in 0.png, 255 in 1.png"),
    (png(discs(0, 1), 1), saved(discs(0, 255)), "1 in 0.png, 255 in 1.png"),
    (png(discs(0, 1, 3), 2), saved(discs(0, 85, 255)), "1 in 0.png, 85 in 1.png"),
    (png(discs(0, 1), 4), png(discs(0, 255), 8), "1 in 0.png, 255 in 1.png"),
  ],
)
def test_numbers_of_two_kinds_are_refused_and_a_table_joins_them(tmp_path, first, second, received):
  masks = read_all(first, second)
  with pytest.raises(UsageError, match=f"one kind of values, .* Received: {received}"):
    class_maps(masks, "", -1)
  lines = [f"{value},vessel" for value in (1, 3, 85, 255)]
  one, other = class_maps(masks, table(tmp_path, "0,ground", *lines), -1)[1]
  np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("values", [[(0, 1), (0, 2)], [(0, 1, 255), (0, 255)], [(0, 1), (0, 1, 2)]])
def test_numbers_of_one_kind_are_classes(values):
  masks = read_all(*(saved(discs(*some)) for some in values))
  expected = sorted({value for some in values for value in some})
  assert class_maps(masks, "", -1)[0] == tuple(map(str, expected))


def test_masks_of_other_depth_are_named(caplog):
  caplog.set_level(logging.WARNING, "conrec_tf")
  names, _ = class_maps(read_all(png(discs(0, 1, 2), 2), saved(discs(0, 1, 2))), "", -1)
  assert names == ("0", "1", "2")
  assert "count as they are stored, 0 to 3 in 0.png, 0 to 255 in 1.png" in caplog.text


def test_a_table_says_what_doesnt_count(tmp_path):
  colours = np.array([BLACK, RED, BLUE], np.uint8)
  stored = discs(0, 1, 2)
  masks = read_all(saved(colours[stored]))
  path = table(tmp_path, "#000000,ground", "#ff0000,ignored", "#0000ff,vessel")
  names, [classes] = class_maps(masks, path, -1)
  assert names == ("ground", "vessel")
  np.testing.assert_array_equal(classes, np.array([0, IGNORED, 1])[stored])
  with pytest.raises(UsageError, match="ignored_mask_value must be left out .* Received: 255"):
    class_maps(masks, path, 255)
  _, [numbers] = class_maps(
    read_all(saved(stored)), table(tmp_path, "0,ground", "1,ignored", "2,vessel"), -1
  )
  np.testing.assert_array_equal(numbers, classes)


def test_a_class_that_is_almost_called_ignored_is_said(tmp_path, caplog):
  lines = ["0,ground", "1,vessel", "2,Ignored"]
  names, _ = class_maps(read_all(saved(discs(0, 1, 2))), table(tmp_path, *lines), -1)
  assert names == ("ground", "vessel", "Ignored")
  assert "count as different: 'Ignored' and 'ignored'" in caplog.text
