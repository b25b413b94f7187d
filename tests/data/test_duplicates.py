"""Images that are there twice."""

import io
import tracemalloc

import numpy as np
from PIL import Image, ImageFilter
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data import duplicates
from conrec_tf.data.duplicates import BITS, Duplicate, find_duplicates
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError


def photograph(seed, size=(120, 90)):
  noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
  image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6))
  low, high = np.percentile(np.asarray(image), (1, 99))
  return image.point(lambda value: 255 * (value - low) / (high - low))


def encoded(image, quality=90):
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=quality)
  return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
  """30 photographs, and five of them once more in other forms, by later names."""
  images = [photograph(seed) for seed in range(30)]
  for index, image in enumerate(images):
    (tmp_path / f"{index:02}.jpg").write_bytes(encoded(image))
  (tmp_path / "copy.jpg").write_bytes(encoded(images[3]))
  (tmp_path / "compressed.jpg").write_bytes(encoded(images[4], 30))
  (tmp_path / "small.jpg").write_bytes(encoded(images[5].resize((80, 60))))
  (tmp_path / "cropped.jpg").write_bytes(encoded(images[6].crop((2, 2, 118, 88))))
  images[7].convert("L").save(tmp_path / "grey.png")
  (tmp_path / "bad.jpg").write_bytes(b"")
  return tmp_path


def test_pairs_against_a_slow_count(rng, monkeypatch):
  monkeypatch.setattr(duplicates, "BLOCK", 7)
  hashes = rng.random((40, BITS)) < 0.5
  for later, earlier, flips in ((9, 2, 0), (20, 9, 3), (33, 4, 10), (39, 5, 11)):
    hashes[later] = hashes[earlier]
    hashes[later, rng.choice(BITS, flips, replace=False)] ^= True
  expected = []
  for place in range(40):
    distances = [int((hashes[place] != hashes[other]).sum()) for other in range(place)]
    near = [other for other, distance in enumerate(distances) if distance <= 10]
    if near:
      expected.append(Duplicate(place, near[0], distances[near[0]]))
  assert find_duplicates(hashes, 10) == expected
  assert {found.image for found in expected} >= {9, 20, 33} and 39 not in {
    found.image for found in expected
  }


def test_the_first_that_is_near_is_found_whichever_block_it_lies_in(rng, monkeypatch):
  monkeypatch.setattr(duplicates, "BLOCK", 16)
  seeds = rng.random((5, BITS)) < 0.5
  hashes = seeds[rng.integers(0, 5, 150)]  # many near many
  hashes ^= rng.random(hashes.shape) < 0.15
  expected = []
  for place in range(len(hashes)):
    distances = (hashes[place] != hashes[:place]).sum(axis=1)
    near = np.flatnonzero(distances <= duplicates.FARTHEST)
    if len(near):
      expected.append(Duplicate(place, int(near[0]), int(distances[near[0]])))
  assert find_duplicates(hashes) == expected and 20 < len(expected) < 150
  assert find_duplicates(hashes[:1]) == find_duplicates(hashes[:0]) == []


def test_memory_does_not_grow_with_the_number_of_images(rng):
  hashes = rng.random((5000, BITS)) < 0.5
  hashes[4000] = hashes[1]
  tracemalloc.start()
  try:
    found = find_duplicates(hashes)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert found == [Duplicate(4000, 1, 0)] and peak < 60e6


def test_copies_are_told_from_images_that_only_look_alike(rng):
  images = rng.integers(0, 256, (5, 4, 4, 1), np.uint8)
  images[2], images[4] = images[0], images[0]
  pairs = [Duplicate(2, 0, 0), Duplicate(3, 0, 0), Duplicate(4, 0, 1)]
  looked_at = []

  def decoded(places):
    for place in places:
      looked_at.append(place)
      yield place, images[place]

  found = duplicates.with_copies(pairs, [[0, 2, 3]], decoded)
  assert [pair.is_copy for pair in found] == [True, False, False]
  assert [pair[:3] for pair in found] == [pair[:3] for pair in pairs]
  assert set(looked_at) == {0, 2, 3}  # a hash that differs is enough


def test_a_copy_is_one_of_whichever_earlier_image_and_whatever_else_that_looks_like(rng):
  hashes = rng.random((8, BITS)) < 0.5
  hashes[1] = hashes[0]
  hashes[1, :5] ^= True
  hashes[2] = hashes[4] = hashes[1]
  hashes[5] = hashes[0]
  hashes[5, 9:12] ^= True
  hashes[6] = hashes[5]
  images = rng.integers(0, 256, (8, 4, 4, 1), np.uint8)
  images[4], images[6] = images[2], images[5]
  alike = [part.tolist() for part in duplicates.of_one_hash(hashes)]
  assert sorted(alike) == [[1, 2, 4], [5, 6]]
  found = find_duplicates(hashes)
  assert found == [Duplicate(at, 0, 5 if at < 5 else 3) for at in (1, 2, 4, 5, 6)]
  decoded = lambda places: ((place, images[place]) for place in places)
  of_one_split = duplicates.with_copies(found, alike, decoded)
  assert of_one_split == [
    *found[:2],
    Duplicate(4, 2, 0, is_copy=True),
    found[3],
    Duplicate(6, 5, 0, is_copy=True),
  ]
  # Of 6 it counts that it looks like an image of the split before.
  assert duplicates.with_copies(found, alike, decoded, [0, 3]) == [*of_one_split[:4], found[4]]


def test_later_ones_are_left_out_and_named(folder, caplog):
  values = dict(dataset="image_folder", data_dir=str(folder), train_split="train+test")
  assert load_dataset(Config(**values)).train.num_examples == 36
  with caplog.at_level("INFO", "conrec_tf"):
    source = load_dataset(Config(**values, drop_duplicates=True))
  assert source.train.num_examples == 31 and len(source.bad) == 1
  names = ("copy.jpg", "compressed.jpg", "small.jpg", "cropped.jpg", "grey.png")
  for name, number in zip(names, range(3, 8), strict=True):
    assert f"Left out: {name} looks like {number:02}.jpg" in caplog.text
  assert "Left out 5 of 35 images, which look like earlier ones" in caplog.text
  assert not set(names) & set(source.train.names)
  before = source.digest
  with pytest.MonkeyPatch.context() as patch:  # hashes are kept
    patch.setattr(duplicates, "HASHED_PIXELS", None)
    assert load_dataset(Config(**values, drop_duplicates=True)).digest == before


def test_hashes_are_kept_for_images_that_are_decoded_alike(tmp_path):
  for seed in range(8):
    pixels = 500 + 14 * np.asarray(photograph(seed).convert("L"), np.uint16)  # of 12 bits
    Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
  values = dict(dataset="image_folder", data_dir=str(tmp_path), drop_duplicates=True)
  values |= dict(train_split="all", eval_split="all")
  for bits, count in ((8, 1), (12, 8), (8, 1)):  # as 8 bits all are white
    assert load_dataset(Config(**values, image_bits=bits)).train.num_examples == count


def test_other_data_has_no_files_to_leave_out():
  with pytest.raises(UsageError, match="drop_duplicates must be false unless dataset"):
    Config(drop_duplicates=True)


def test_16_bits_and_several_channels_are_hashed(rng):
  images = (65535 * rng.random((3, 40, 40, 5))).astype(np.uint16)
  found = duplicates.perceptual_hashes(
    tf.data.Dataset.from_tensor_slices(images), lambda image, _: (image, tf.shape(image)[:2])
  )
  assert found.shape == (3, BITS) and 60 < found.sum(axis=1).min() < 84
