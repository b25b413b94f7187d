import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data import pipeline
from conrec_tf.data.augmentation.views import view_crop
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError


def take(config, count):
  return list(pipeline.pretraining_batches(config).take(count).as_numpy_iterator())


def test_batches(tiny):
  batch = take(Config(**tiny), 1)[0]
  for name in ("corrupted", "target"):
    assert batch[name].shape == (8, 2, 24, 24, 1) and batch[name].dtype == np.float32
    assert batch[name].min() >= 0 and batch[name].max() <= 1
  different = (batch["corrupted"] != batch["target"]).any(axis=(2, 3, 4))
  assert different.mean() > 0.6  # a few corruptions fall on black and change nothing
  assert not np.array_equal(batch["target"][:, 0], batch["target"][:, 1])


def test_local_crops_come_beside_the_same_views(tiny):
  values = dict(local_crops=3, local_crop_size=16, local_crop_min_area=0.05)
  plain, batch = (take(Config(**{**tiny, **more}), 1)[0] for more in ({}, values))
  assert set(batch) == {*plain, "local_crops"}
  for name, views in plain.items():
    np.testing.assert_array_equal(batch[name], views)
  crops = batch["local_crops"]
  assert crops.shape == (8, 3, 16, 16, 1) and crops.dtype == np.float32
  assert crops.min() >= 0 and crops.max() <= 1
  assert len({crop.tobytes() for crop in crops.reshape(-1, 16 * 16)}) > 20


def test_local_crops_as_large_as_the_views_are_others(tiny):
  size = dict(local_crop_size=24, local_crop_min_area=0.08, local_crop_max_area=1.0)
  same, values = dict(tiny, crop_min_area=0.08), dict(local_crops=2, **size)
  plain, batch = (take(Config(**{**same, **more}), 1)[0] for more in ({}, values))
  np.testing.assert_array_equal(batch["target"], plain["target"])
  assert not (batch["local_crops"] == batch["target"]).all(axis=(2, 3, 4)).any()


def test_simclr_is_not_corrupted(tiny):
  batch = take(Config(**tiny, corruption="none"), 1)[0]
  np.testing.assert_array_equal(batch["corrupted"], batch["target"])


def test_one_seed_one_stream(tiny):
  first, again, other = (take(Config(**tiny, seed=seed), 7) for seed in (1, 1, 2))
  for a, b in zip(first, again, strict=True):
    np.testing.assert_array_equal(a["corrupted"], b["corrupted"])
  assert not np.array_equal(first[0]["corrupted"], other[0]["corrupted"])


def test_smaller_views_show_the_same_parts_of_the_same_images(tiny):
  config = Config(**tiny, corruption="none", color_jitter_strength=1.0)
  large, small = (
    next(pipeline.pretraining_batches(config, image_size=size).as_numpy_iterator())["target"]
    for size in (48, 24)
  )
  assert small.shape == (8, 2, 24, 24, 1) and large.shape == (8, 2, 48, 48, 1)
  means = large.reshape(8, 2, 24, 2, 24, 2, 1).mean(axis=(3, 5))
  assert np.abs(means - small).mean() < 0.02 < np.abs(means - small[::-1]).mean()


def test_batch_larger_than_the_split(tiny):
  config = Config(**{**tiny, "train_batch_size": 49})
  with pytest.raises(UsageError, match=r"at most 48, the images in train\[:48\]. Received: 49"):
    pipeline.pretraining_batches(config)


def test_evaluation_batches_are_whole_and_in_order(tiny):
  source = load_dataset(Config(**tiny))
  batches = list(
    pipeline.evaluation_batches(source, source.eval.records(), 128, 10).as_numpy_iterator()
  )
  assert [len(labels) for _, labels in batches] == [10, 10, 4]
  images = np.concatenate([images for images, _ in batches])
  labels = np.concatenate([labels for _, labels in batches])
  for image, label, record in zip(images, labels, source.eval.records(), strict=True):
    np.testing.assert_allclose(image, source.decode(record["image"]) / 255, atol=1e-6)
    assert label == record["label"]


@pytest.mark.parametrize(
  "size, center_crop, cropped", [(64, True, True), (64, False, False), (32, True, False)]
)
def test_evaluation_image_crops_the_centre(rng, size, center_crop, cropped):
  image = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
  expected = image[5:75, 13:83] if cropped else image
  expected = tf.image.resize(expected, [size, size], "bicubic") / 255
  np.testing.assert_allclose(
    pipeline.evaluation_image(tf.constant(image), size, center_crop),
    np.clip(expected, 0, 1),
    atol=1e-6,
  )


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_converted(tiny, channels):
  config = dataclasses.replace(Config(**tiny), image_channels=channels)
  assert take(config, 1)[0]["target"].shape[-1] == channels


@pytest.mark.parametrize(
  "augmentation, random_flip, orientations",
  [("crop", "none", 1), ("zoom", "none", 1), ("crop", "horizontal", 2), ("zoom", "horizontal", 4)],
)
def test_a_supervised_training_mirrors_no_image_where_views_are_not(
  tmp_path, augmentation, random_flip, orientations
):
  """Left and right differ in radiographs."""
  ramp = np.linspace(0, 127, 24).astype(np.uint8)  # brighter to the right and to the bottom
  images = np.broadcast_to((ramp[:, np.newaxis] + ramp)[..., np.newaxis], [32, 24, 24, 1])
  labels = np.arange(32) % 2
  np.savez(tmp_path / "ramps.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
  config = Config(
    **dict(dataset="npz", data_dir=str(tmp_path / "ramps.npz"), train_mode="finetune"),
    **dict(image_size=24, supervised_augmentation=augmentation, random_flip=random_flip),
    train_batch_size=32,
  )
  found = next(iter(pipeline.finetuning_batches(config, load_dataset(config))))["image"].numpy()
  right, down = found[:, 12, -1] > found[:, 12, 0], found[:, -1, 12] > found[:, 0, 12]
  seen = set(zip(right[:, 0].tolist(), down[:, 0].tolist(), strict=True))
  assert len(seen) == orientations and (True, True) in seen


@pytest.mark.parametrize(
  "sides, values, said",
  [
    ((20, 96), {}, "12 of 12 .* --crop_min_area=0.3 of the area.* takes 0.28 at most"),
    ((96, 20), dict(local_crops=2, local_crop_min_area=0.29), "--local_crop_min_area=0.29"),
    ((20, 80), {}, ""),
    ((20, 96), dict(crop_min_area=1.0), ""),  # which asks for all of it
    ((20, 96), dict(window_size=40), ""),
    ((20, 96), dict(window_size=92), "12 of 12 .* takes 0.29 at most"),
  ],
)
def test_images_that_are_too_long_for_crops_are_said_to_be_shown_in_whole(
  tmp_path, caplog, rng, sides, values, said
):
  images = rng.integers(0, 256, (12, *sides), np.uint8)
  np.savez(tmp_path / "long.npz", x_train=images, x_test=images[:1])
  config = Config(dataset="npz", data_dir=str(tmp_path / "long.npz"), label_mode="none", **values)
  source = load_dataset(config)
  caplog.clear()
  pipeline.warn_of_long_images(source, config)
  assert bool(caplog.text) == bool(said) and re.search(said, caplog.text)
  crop = tf.function(lambda seed: view_crop(seed, tf.constant(sides), 0.3)[1], autograph=False)
  sizes = [crop(tf.constant([0, index])).numpy().tolist() for index in range(20)]
  assert (list(sides) in sizes) == (96 in sides)
