"""The order of images: whole epochs, from any step on, for any number of workers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from conrec_tf.config import Config
from conrec_tf.data import stream
from conrec_tf.data.pipeline import pretraining_batches, two_views, validation_batches
from conrec_tf.data.records import Streamed
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources import tfds_records
from conrec_tf.data.stream import WorkerShard, training_records
from conrec_tf.errors import UsageError


@pytest.fixture(scope="session")
def array_records(tmp_path_factory):
  """A TFDS folder that holds rectangle_triangle in files that are read by number."""
  path = str(tmp_path_factory.mktemp("array_records"))
  builder = tensorflow_datasets.builder(
    "rectangle_triangle", data_dir=path, file_format="array_record"
  )
  builder.download_and_prepare()
  return path


@pytest.fixture(scope="module", params=["memory", "stream", "files"])
def split(request):
  """20 images, which lie in memory, only stream, or are read from files by number."""
  folder = request.getfixturevalue("array_records" if request.param == "files" else "data_dir")
  config = Config(data_dir=folder, train_split="train[:20]", eval_split="test[:24]")
  with pytest.MonkeyPatch.context() as patch:
    if request.param != "memory":
      patch.setattr(tfds_records, "BYTES_IN_MEMORY", 3000)  # some of them
    split = load_dataset(config).train
  assert isinstance(split.rows, Streamed) == (request.param == "stream")
  return split


@pytest.fixture(scope="module")
def whole(split):
  """The first three epochs: what `taken` returns of six batches."""
  return taken(split, 48)


def taken(split, count, share=stream.WHOLE, seed=0):
  """[(position, image)] of a stream of batches of 8: 16 of an epoch."""
  records = training_records(split, 8, seed, share).take(count)
  return [(int(position), record["image"].numpy()) for position, record in records]


def test_an_epoch_is_every_image_once_less_an_incomplete_batch(split, whole):
  assert [position for position, _ in whole] == list(range(48))
  everything = {record["image"].numpy() for record in split.records()}
  epochs = [[image for _, image in whole[start : start + 16]] for start in (0, 16, 32)]
  for epoch in epochs:
    assert len(set(epoch)) == 16 and set(epoch) <= everything
  assert epochs[0] != epochs[1] != epochs[2]


def test_another_seed_is_another_order(split, whole):
  assert whole[:16] == taken(split, 16) != taken(split, 16, seed=1)


@pytest.mark.parametrize("first_step", [1, 2, 5])
def test_a_stream_begins_at_any_step(split, whole, first_step):
  assert (
    taken(split, 48 - 8 * first_step, WorkerShard(first_step=first_step)) == whole[8 * first_step :]
  )


@pytest.mark.parametrize("num_workers", [2, 4])
def test_shares_of_workers_make_up_each_batch(split, whole, num_workers):
  size = 8 // num_workers
  for worker in range(num_workers):
    mine = taken(split, 40 // num_workers, WorkerShard(worker, num_workers, first_step=1))
    expected = [row for row in whole[8:] if row[0] % 8 // size == worker]
    assert mine == expected


def test_ids_of_a_batch(split, whole):
  images = [record["image"].numpy() for record in split.records()]
  for step in (1, 2, 5):  # the last in the third epoch
    ids = stream.batch_ids(split, 8, 0, step)
    assert [images[number] for number in ids] == [
      image for _, image in whole[8 * step - 8 : 8 * step]
    ]


class Bar:
  """Notes what a progress bar is told."""

  def __init__(self, description, unit, total):
    self.total, self.n, self.moves, self.closings = total, 0, [], 0

  def update(self, moved):
    self.n += moved
    self.moves.append(moved)

  def close(self):
    self.closings += 1


def test_passing_over_records_is_said(split, caplog, monkeypatch):
  bars = []
  monkeypatch.setattr(stream, "progress_bar", lambda *args: bars.append(Bar(*args)) or bars[-1])
  monkeypatch.setattr(stream, "RECORDS_BETWEEN_UPDATES", 3)
  with caplog.at_level("INFO", "conrec_tf"):
    taken(split, 1, WorkerShard(first_step=3))
  is_streamed = isinstance(split.rows, Streamed)
  assert ("Passing over 8 encoded records" in caplog.text) == is_streamed
  found = [(bar.total, bar.moves, bar.closings) for bar in bars]
  assert found == [(8, [3, 3, 2], 1)] * is_streamed


def test_starting_late_costs_nothing_where_records_can_be_reached():
  """Nothing is passed over: an epoch of 2**40 images has a step 2**30."""
  place = stream.index_at(tf.constant([5, 2**39], tf.int64), 2**20, 2**40, seed=1)
  assert len(set(place.numpy())) == 2 and all(0 <= number < 2**40 for number in place.numpy())


@pytest.mark.parametrize("count", [12_000, 2**14, 50_000, 2**16, 500_000, 1_000_000, 2_000_000])
def test_neighbours_of_a_set_are_no_neighbours_in_training(count):
  positions = tf.range(min(count, 30_000), dtype=tf.int64)
  places = stream.index_at(positions, epoch=3, num_examples=count, seed=0).numpy()
  assert len(set(places)) == len(positions)
  for distance in (1, 2, 8):
    assert abs(np.corrcoef(places[:-distance], places[distance:])[0, 1]) < 0.03


@pytest.mark.parametrize("count", [200, 1000, 70_000])
def test_orders_do_not_come_again_after_256_epochs(count):
  order = tf.function(
    lambda epoch: stream.index_at(tf.range(16, dtype=tf.int64), epoch, count, seed=0),
    autograph=False,
  )
  epochs = [*range(600), 2**10, 2**12, 2**15, 2**16 - 1]
  batches = {tuple(order(tf.constant(epoch, tf.int64)).numpy().tolist()) for epoch in epochs}
  assert len(batches) == len(epochs)


def test_files_come_in_another_order_in_each_epoch(flowers, monkeypatch):
  """Even where memory holds one record at a time, an image has other neighbours."""
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 1)
  split = load_dataset(Config(**flowers)).train
  order = [
    [int(place) for place, _ in split.rows.shuffled(tf.constant([0, epoch], tf.int64))]
    for epoch in range(4)
  ]
  assert all(sorted(epoch) == list(range(36)) for epoch in order)
  assert len({tuple(epoch) for epoch in order}) > 1


def test_prefetched_batches_of_a_late_start_are_those_of_the_run(tiny):
  config = Config(**tiny)
  whole = list(pretraining_batches(config).take(9).as_numpy_iterator())
  late = pretraining_batches(config, shard=WorkerShard(first_step=7)).as_numpy_iterator()
  for expected in whole[7:]:
    found = next(late)
    for name in expected:
      np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("count, batches", [(24, 3), (21, 3), (8, 1), (5, 1)])
def test_validation_batches_hold_every_image(tiny, count, batches):
  config = Config(**{**tiny, "eval_split": f"test[:{count}]", "lineareval_while_pretraining": True})
  source = load_dataset(config)
  augment = two_views(source, config, config.image_size, config.seed, with_labels=True)
  rows = list(validation_batches(source, augment, config.train_batch_size).as_numpy_iterator())
  assert len(rows) == batches and {len(row["label"]) for row in rows} == {min(8, count)}
  labels = [int(record["label"]) for record in source.eval.records()]
  assert sorted(np.concatenate([row["label"] for row in rows])[:count]) == sorted(labels)


def test_validation_batches_of_a_sorted_split_are_of_all_its_classes(tmp_path, tiny):
  """Or the contrastive loss would be that of images of one class, always in the same order."""
  images, labels = np.zeros((48, 24, 24), np.uint8), np.repeat([0, 1], 24)
  arrays = dict(x_train=images, x_test=images, y_train=labels, y_test=labels)
  np.savez(tmp_path / "images.npz", **arrays)
  values = dict(dataset="npz", data_dir=str(tmp_path / "images.npz"))
  config = Config(**tiny | values | dict(train_split="train", eval_split="test"))
  source = load_dataset(config)
  augment = two_views(source, config, config.image_size, config.seed, with_labels=True)
  first, again = (
    [row["label"].tolist() for row in validation_batches(source, augment, 8).as_numpy_iterator()]
    for _ in range(2)
  )
  assert first == again and all(set(batch) == {0, 1} for batch in first)


def test_a_large_set_in_another_format_is_refused_for_training_alone(tiny, monkeypatch):
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 0)
  streamed = load_dataset(Config(**tiny))
  train = dataclasses.replace(streamed.train, rows=Streamed(48, streamed.train.records))
  source = dataclasses.replace(streamed, train=train)
  assert len(list(source.eval.records())) == 24
  with pytest.raises(UsageError, match="must be prepared as tfrecord"):
    training_records(source.train, 8, seed=0)


def test_files_that_are_read_by_number_hold_what_the_others_do(tiny, array_records, monkeypatch):
  monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 0)
  numbered = load_dataset(Config(**{**tiny, "data_dir": array_records}))
  streamed = load_dataset(Config(**tiny))
  for ours, theirs in ((numbered.train, streamed.train), (numbered.eval, streamed.eval)):
    assert ours.num_examples == theirs.num_examples and not isinstance(ours.rows, Streamed)
    pairs = [
      [(record["image"].numpy(), int(record["label"])) for record in split.records()]
      for split in (ours, theirs)
    ]
    assert pairs[0] == pairs[1]
  image = next(iter(numbered.train.records()))["image"]
  assert numbered.decode(image).shape == (128, 128, 1)
