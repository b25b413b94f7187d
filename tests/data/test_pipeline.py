import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config, UsageError
from conrec_tf.data import pipeline
from conrec_tf.data.registry import load_dataset


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


def test_simclr_is_not_corrupted(tiny):
  batch = take(Config(**tiny, corruption="none"), 1)[0]
  np.testing.assert_array_equal(batch["corrupted"], batch["target"])


def test_one_seed_one_stream(tiny):
  first, again, other = (take(Config(**tiny, seed=seed), 7) for seed in (1, 1, 2))
  for a, b in zip(first, again):
    np.testing.assert_array_equal(a["corrupted"], b["corrupted"])
  assert not np.array_equal(first[0]["corrupted"], other[0]["corrupted"])


def test_a_restored_iterator_goes_on_exactly(tiny, tmp_path):
  config = Config(**tiny)
  iterator = iter(pipeline.pretraining_batches(config))
  for _ in range(7):  # into the second epoch
    next(iterator)
  path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "iterator"))
  expected = [next(iterator)["corrupted"].numpy() for _ in range(8)]
  resumed = iter(pipeline.pretraining_batches(config))
  tf.train.Checkpoint(iterator=resumed).restore(path)
  for value in expected:
    np.testing.assert_array_equal(next(resumed)["corrupted"], value)


def test_an_epoch_is_every_image_once_less_an_incomplete_batch(tiny):
  source = load_dataset(Config(**{**tiny, "train_split": "train[:20]"}))
  records = pipeline.shuffled_records(source.train, batch_size=8, seed=0)
  images = [record["image"].numpy() for record in records.take(48)]
  all_images = {record["image"].numpy() for record in source.train.records()}
  epochs = [images[start : start + 16] for start in (0, 16, 32)]
  for epoch in epochs:
    assert len(set(epoch)) == 16 and set(epoch) <= all_images
  assert epochs[0] != epochs[1]


def test_batch_larger_than_the_split(tiny):
  config = Config(**{**tiny, "train_batch_size": 49})
  with pytest.raises(UsageError, match=r"at most 48, the images in train\[:48\]. Received: 49"):
    pipeline.pretraining_batches(config)


def test_evaluation_batches_are_whole_and_in_order(tiny):
  source = load_dataset(Config(**tiny))
  batches = list(pipeline.evaluation_batches(source, source.eval, 128, 10).as_numpy_iterator())
  assert [len(labels) for _, labels in batches] == [10, 10, 4]
  images = np.concatenate([images for images, _ in batches])
  labels = np.concatenate([labels for _, labels in batches])
  for image, label, record in zip(images, labels, source.eval.records()):
    np.testing.assert_allclose(image, source.decode(record["image"]) / 255, atol=1e-6)
    assert label == record["label"]


@pytest.mark.parametrize(
  "size, one_size, cropped", [(64, False, True), (64, True, False), (32, False, False)]
)
def test_evaluation_image_crops_the_centre(rng, size, one_size, cropped):
  image = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
  expected = image[5:75, 13:83] if cropped else image
  expected = tf.image.resize(expected, [size, size], "bicubic") / 255
  np.testing.assert_allclose(
    pipeline.evaluation_image(tf.constant(image), size, one_size),
    np.clip(expected, 0, 1),
    atol=1e-6,
  )


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_converted(tiny, channels):
  config = dataclasses.replace(Config(**tiny), image_channels=channels)
  assert take(config, 1)[0]["target"].shape[-1] == channels


def test_ids_of_a_batch(tiny):
  config = Config(**{**tiny, "train_split": "train[:20]", "train_batch_size": 8})
  source = load_dataset(config)
  images = [record["image"].numpy() for record in source.train.records()]
  records = pipeline.shuffled_records(source.train, 8, config.seed)
  taken = [record["image"].numpy() for record in records.take(40)]
  for step in (1, 2, 5):  # the last in the third epoch
    ids = pipeline.batch_ids(source.train, 8, config.seed, step)
    assert [images[number] for number in ids] == taken[8 * (step - 1) : 8 * step]
