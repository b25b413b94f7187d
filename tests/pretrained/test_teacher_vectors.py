"""What a teacher sees of images, and its vectors of them, kept in pieces beside a run."""

import dataclasses
import logging

from foreign_networks import WIDTH, quarters, saved
import kinds_of_data
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config
from conrec_tf.data.augmentation.resizing import evaluation_image
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.stream import training_records
from conrec_tf.errors import UsageError
from conrec_tf.pretrained import teacher_vectors
from conrec_tf.pretrained.external import ExternalNetwork
from conrec_tf.pretrained.teacher_vectors import as_seen, kept_vectors, note_teacher, open_teacher

SIDE = 16


@pytest.fixture
def file(tmp_path):
  return quarters(tmp_path / "quarters", side=SIDE)


def open_data(kind, folder, monkeypatch, file, **values):
  folder.mkdir()
  values = kinds_of_data.write(kind, folder, monkeypatch) | values
  still = dict(corruption="none", local_crops=0)
  config = Config(**values, **still, image_size=24, train_batch_size=4, teacher=file)
  return config, load_dataset(config), open_teacher(config, 3)


def with_vectors(source: DatasetSource, vectors) -> DatasetSource:
  rows = source.train.rows.with_column("teacher_vector", vectors)
  return dataclasses.replace(source, train=dataclasses.replace(source.train, rows=rows))


@pytest.mark.parametrize("kind", ["npz", "image_folder", "tfds_streamed"])
def test_each_image_carries_its_own_vector(tmp_path, monkeypatch, file, kind):
  config, source, network = open_data(kind, tmp_path / "data", monkeypatch, file)
  vectors = kept_vectors(tmp_path / "teacher", network, config, source)
  assert vectors.shape == (20, WIDTH) and vectors.dtype == np.float32
  assert len(np.unique(vectors.round(5), axis=0)) == 20
  learnt = with_vectors(source, vectors)
  for _, record in training_records(learnt.train, 4, seed=3).take(40):
    image = evaluation_image(source.decode(record["image"]), SIDE, source.center_crop)
    fresh = network.embed(image[tf.newaxis])[0]
    np.testing.assert_allclose(record["teacher_vector"], fresh, atol=1e-6)
  [batch] = pretraining_batches(config, learnt).take(1)
  records = training_records(learnt.train, 4, config.seed).take(4)
  expected = np.stack([record["teacher_vector"] for _, record in records])
  np.testing.assert_array_equal(batch["teacher_vector"], expected)
  [without] = pretraining_batches(config, source).take(1)
  assert set(batch) - set(without) == {"teacher_vector"}
  for name, views in without.items():
    np.testing.assert_array_equal(batch[name], views, name)


def test_pieces_that_are_there_are_not_made_again(tmp_path, monkeypatch, file, caplog):
  monkeypatch.setattr(teacher_vectors, "BATCH_SIZE", 2)
  monkeypatch.setattr(teacher_vectors, "IMAGES_PER_FILE", 6)
  config, source, network = open_data("npz", tmp_path / "data", monkeypatch, file)
  expected = kept_vectors(tmp_path / "whole", network, config, source)
  embed, seen = network.embed, []

  def broken_off(images):
    if len(seen) == 5:
      raise KeyboardInterrupt
    seen.append(len(images))
    return embed(images)

  monkeypatch.setattr(network, "embed", broken_off)
  with pytest.raises(KeyboardInterrupt):
    kept_vectors(tmp_path / "parts", network, config, source)
  kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.npz")}
  assert list(kept) == ["train-00000-of-00004.npz"]
  monkeypatch.setattr(network, "embed", embed)
  with caplog.at_level(logging.INFO, "conrec_tf"):
    found = kept_vectors(tmp_path / "parts", network, config, source)
  assert "vectors of 20 images, 5 numbers each" in caplog.text and "(14 made now" in caplog.text
  np.testing.assert_array_equal(found, expected)
  for name, time in kept.items():
    assert (tmp_path / "parts" / name).stat().st_mtime_ns == time
  monkeypatch.setattr(network, "embed", None)  # nothing is left for it to see
  np.testing.assert_array_equal(kept_vectors(tmp_path / "parts", network, config, source), expected)


def test_vectors_of_others_are_refused(tmp_path, monkeypatch, file):
  config, source, network = open_data("npz", tmp_path / "data", monkeypatch, file)
  folder = tmp_path / "teacher"
  kept_vectors(folder, network, config, source)
  other = quarters(tmp_path / "other", side=SIDE, seed=1)
  with pytest.raises(UsageError, match="what the same teacher made of the same .*: the network$"):
    kept_vectors(folder, network, dataclasses.replace(config, teacher=other), source)
  fewer = dataclasses.replace(source, train=source.train.part(np.arange(19)))
  with pytest.raises(UsageError, match="Received: images or labels of the train split; images: 20"):
    kept_vectors(folder, network, config, fewer)
  moved = tmp_path / "moved"
  tf.io.gfile.rename(file, str(moved))
  kept_vectors(folder, network, dataclasses.replace(config, teacher=str(moved)), source)
  views = dataclasses.replace(config, teacher=str(moved), teacher_views=True)
  note_teacher(tmp_path / "views", network, views)
  with pytest.raises(UsageError, match="image_size: 16 -> 8"):
    network.image_size = 8
    note_teacher(tmp_path / "views", network, views)


def test_vectors_that_are_not_finite_are_refused(tmp_path, monkeypatch, file):
  config, source, network = open_data("npz", tmp_path / "data", monkeypatch, file)
  embed = network.embed
  monkeypatch.setattr(network, "embed", lambda images: embed(images) / (len(images) - 20.0))
  with pytest.raises(UsageError, match="finite vectors. Received: 20 others in .*of image 0 of tr"):
    kept_vectors(tmp_path / "teacher", network, config, source)


@pytest.mark.parametrize(
  "channels, takes, seen",
  [
    (1, 3, lambda images: np.repeat(images, 3, axis=-1)),
    (3, 1, lambda images: images @ np.array([[0.2989], [0.587], [0.114]], np.float32)),
    (3, 3, lambda images: images),
    (5, 5, lambda images: images),
  ],
)
def test_channels_and_sizes_as_it_takes_them(tmp_path, rng, channels, takes, seen):
  file = quarters(tmp_path / "net", channels=takes)
  network = open_teacher(Config(teacher=file, image_size=24), channels)
  assert (network.channels, network.image_size, network.width) == (takes, 24, WIDTH)
  images = rng.random([2, 24, 24, channels], np.float32)
  np.testing.assert_allclose(as_seen(tf.constant(images), network), seen(images), atol=1e-6)
  network = open_teacher(Config(teacher=file, image_size=24, teacher_image_size=12), channels)
  halves = as_seen(tf.ones([2, 24, 24, channels]), network)
  np.testing.assert_allclose(halves, np.ones([2, 12, 12, takes]), atol=1e-3)


def test_what_it_does_not_take_is_refused(tmp_path, file):
  with pytest.raises(UsageError, match=r"teacher must take 5 channels, for .*\[any, 16, 16, 3\]"):
    open_teacher(Config(teacher=file), 5)
  with pytest.raises(UsageError, match="teacher_image_size must be 16, for .*Received: 24 pixels"):
    open_teacher(Config(teacher=file, teacher_image_size=24), 3)
  with pytest.raises(UsageError, match="teacher must be a SavedModel that can be read .*nowhere"):
    open_teacher(Config(teacher=str(tmp_path / "nowhere")), 3)
  vectors = saved(tmp_path / "vectors", lambda vectors: vectors, tf.TensorSpec([None, 8]))
  with pytest.raises(UsageError, match="teacher must take images"):
    open_teacher(Config(teacher=vectors), 3)


def test_the_graph_and_its_kept_vectors_agree(file, rng):
  network = ExternalNetwork(file, "unit", "", 0)
  images = tf.constant(rng.random([4, SIDE, SIDE, 3], np.float32))
  np.testing.assert_allclose(tf.function(network.embed)(images), network.embed(images), atol=1e-6)
