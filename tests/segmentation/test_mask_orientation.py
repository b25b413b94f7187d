"""Turned photographs and masks: each is turned by its own tag, and sizes are those upright."""

import io
import pathlib

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.segmentation.batches import whole_images
from conrec_tf.segmentation.masks import read_mask
from conrec_tf.segmentation.task import load_masked_dataset
from conrec_tf.segmentation.tfds import _upright_size

ORIENTATION = 0x0112
# What shows an image as it is to be seen, of the EXIF standard's numbers.
TURN_TO_STORE = {
  1: lambda image: image,
  2: np.fliplr,
  3: lambda image: np.rot90(image, 2),
  4: np.flipud,
  5: lambda image: image.swapaxes(0, 1),
  6: np.rot90,
  7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
  8: lambda image: np.rot90(image, -1),
}


def file_of(pixels: np.ndarray, number: int, kind: str, stored: bool = True, **options) -> bytes:
  """Returns a file that is to be seen as `pixels`; `stored=False`: as they are, without a tag."""
  exif = Image.Exif()
  if stored:
    exif[ORIENTATION] = number
    pixels = np.ascontiguousarray(TURN_TO_STORE[number](pixels))
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, kind, exif=exif, **options)
  return buffer.getvalue()


def some_mask(seed: int, size: tuple[int, int]) -> np.ndarray:
  """Returns 0 and 255 in two blocks that no turn leaves in place, uint8 `[h, w]`."""
  mask = np.zeros(size, np.uint8)
  mask[: size[0] // 4 + seed, : size[1] // 2] = 255
  mask[-3:, :2] = 255
  return mask


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize(
  "kind, options", [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {})]
)
def test_a_mask_is_turned_by_its_own_tag(number, kind, options):
  seen = some_mask(0, (24, 16))
  mask = read_mask(file_of(seen, number, kind, **options), "a mask")
  pixels = mask.pixels if mask.pixels.ndim == 2 else mask.pixels[..., 0]
  np.testing.assert_array_equal(pixels > 127, seen > 0)


def folder_of(
  path, size: tuple[int, int], image_number: int, mask_tagged: bool, turned: bool, first: int = 0
):
  """Writes 4 + 2 images that show their masks, with names from a number on.

  `turned`: masks as images are stored, without a tag.
  """
  for number in range(first, first + 6):
    split, mask = "train" if number < first + 4 else "test", some_mask(number - first, size)
    image = np.stack([mask] * 3, -1)
    shown = TURN_TO_STORE[image_number](mask) if turned else mask
    for folder, content, ending in (
      ("images", file_of(image, image_number, "JPEG", quality=95), "jpg"),
      ("masks", file_of(np.ascontiguousarray(shown), image_number, "PNG", mask_tagged), "png"),
    ):
      file = path / split / folder / f"{number}.{ending}"
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_bytes(content)


def config_of(folder, **values) -> Config:
  return Config(
    train_mode="segment", dataset="image_folder", data_dir=str(folder), image_size=24, **values
  )


def test_images_and_masks_agree_pixel_by_pixel(tmp_path):
  """Of each size, turn, and mask with a tag of its own or without."""
  turns = [((48, 32), 6), ((48, 32), 7), ((32, 32), 8), ((32, 32), 3)]
  kinds = [(*turn, mask_tagged) for turn in turns for mask_tagged in (False, True)]
  for place, (size, number, mask_tagged) in enumerate(kinds):
    folder_of(tmp_path, size, number, mask_tagged, turned=False, first=10 * place)
  source = load_masked_dataset(config_of(tmp_path))
  names = [pathlib.Path(str(name)).stem for name in source.eval.names]
  assert len(names) == 2 * len(kinds)
  for name, (image, classes) in zip(names, whole_images(source, source.eval), strict=True):
    size, number, mask_tagged = kinds[int(name) // 10]
    kind = f"size {size}, number {number}, mask_tagged {mask_tagged}"
    assert image.shape[:2] == classes.shape == size, kind
    np.testing.assert_array_equal(image[..., 0] > 0.5, classes == 1, kind)


@pytest.mark.parametrize("size, shown", [((48, 32), "48 x 32"), ((32, 48), "32 x 48")])
def test_a_mask_as_its_image_is_stored_is_refused(tmp_path, size, shown):
  folder_of(tmp_path, size, 6, mask_tagged=False, turned=True)
  height, width = size
  with pytest.raises(
    UsageError,
    match=f"as large as their images, {shown} for .*jpg, upright. Received: {width} x {height} in",
  ):
    load_masked_dataset(config_of(tmp_path))


def test_tables_of_pairs_take_upright_masks(tmp_path):
  folder_of(tmp_path, (48, 32), 6, mask_tagged=False, turned=False)
  lines = ["image,mask"]
  for image in sorted(tmp_path.glob("*/images/*")):
    mask = image.parents[1] / "masks" / f"{image.stem}.png"
    lines.append(f"{image.relative_to(tmp_path)},{mask.relative_to(tmp_path)}")
  table = tmp_path / "pairs.csv"
  table.write_text("\n".join(lines))
  source = load_masked_dataset(config_of(tmp_path, mask_table=str(table)))
  image, classes = next(whole_images(source, source.eval))
  np.testing.assert_array_equal(image[..., 0] > 0.5, classes == 1)


@pytest.mark.parametrize("number, kind", [(1, "JPEG"), (3, "PNG"), (5, "JPEG"), (8, "PNG")])
def test_sizes_of_records_are_those_upright(number, kind):
  image = np.stack([some_mask(0, (24, 16))] * 3, -1)
  assert _upright_size("train 0", file_of(image, number, kind), max_pixels=24 * 16) == (24, 16)
