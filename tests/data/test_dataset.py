"""Labels of a dataset by the numbers of a network that knows them by name; batches that stay."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data import dataset, pipeline
from conrec_tf.data.dataset import BatchCache
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError


@pytest.fixture
def source(tmp_path):
  """Labels 0, 1, 2 are b, c, d."""
  words = np.array(["b", "c", "d", "b"])
  np.savez(
    tmp_path / "a.npz",
    x_train=np.zeros([4, 24, 24, 1], np.uint8),
    x_test=np.zeros([4, 24, 24, 1], np.uint8),
    y_train=words,
    y_test=words[::-1],
  )
  return load_dataset(Config(dataset="npz", data_dir=str(tmp_path / "a.npz")))


def labels_of(split):
  return [int(record["label"]) for record in split.records()]


def test_labels_are_matched_by_their_names(source):
  renamed = source.with_class_names(["a", "d", "b", "c"])
  assert renamed.class_names == ("a", "d", "b", "c")
  assert labels_of(renamed.train) == renamed.train.labels().tolist() == [2, 3, 1, 2]
  assert labels_of(renamed.eval) == [2, 1, 3, 2]
  assert int(renamed.train.rows.lookup(tf.constant(2, tf.int64))["label"]) == 1
  assert source.with_class_names(source.class_names) is source


def test_an_image_without_a_label_has_none_by_any_numbers(source):
  unknown = dataclasses.replace(
    source.train,
    rows=source.train.rows.mapped(lambda record: {**record, "label": tf.constant(-1, tf.int64)}),
    labels=lambda: np.full(4, -1),
  )
  renamed = dataclasses.replace(source, train=unknown).with_class_names(["d", "c", "b"])
  assert labels_of(renamed.train) == renamed.train.labels().tolist() == [-1] * 4


def test_labels_that_the_network_does_not_know_are_named(source):
  with pytest.raises(UsageError, match="that the network knows, a, b. Received: c, d in a"):
    source.with_class_names(["a", "b"])


def test_classes_of_masks_are_matched_too(source):
  masked = dataclasses.replace(source, decode_mask=lambda mask: mask)
  decode = masked.with_class_names(["a", "d", "b", "c"]).decode_mask
  mask = tf.constant([[0, 1], [2, 255]], tf.uint8)
  np.testing.assert_array_equal(decode(mask), [[2, 3], [1, 255]])


@pytest.mark.parametrize("room, times", [(48, 2), (47, 4)])
def test_batches_are_kept_where_there_is_room(monkeypatch, room, times):
  monkeypatch.setattr(dataset, "KEPT_BYTES", room)  # int64, 16 bytes a batch
  cache, made = BatchCache(), []

  def make():
    made.append(tf.data.Dataset.range(6).batch(2).map(lambda numbers: {"number": numbers}))
    return made[-1]

  next(cache("a", make))  # a pass that isn't finished keeps nothing
  for _ in range(3):
    found = [batch["number"].numpy().tolist() for batch in cache("a", make)]
    assert found == [[0, 1], [2, 3], [4, 5]]
  assert len(made) == times


def test_all_keys_share_the_room(monkeypatch):
  monkeypatch.setattr(dataset, "KEPT_BYTES", 24)
  cache, made = BatchCache(), []
  for key in "aabb":

    def make(key=key):
      made.append(key)
      return [tf.range(2, dtype=tf.int64)]

    assert len(list(cache(key, make))) == 1
  assert made == ["a", "b", "b"]


def test_a_split_is_decoded_once_for_each_size(tiny):
  config = Config(**tiny)
  source = load_dataset(config)
  first = list(pipeline.split_batches(source, source.eval, config))
  again = list(pipeline.split_batches(source, source.eval, config))
  assert all(
    ours is other
    for pair in zip(first, again, strict=True)
    for ours, other in zip(*pair, strict=True)
  )
  large = Config(**tiny, eval_image_size=32)
  assert next(pipeline.split_batches(source, source.eval, large))[0].shape[1:] == (32, 32, 1)
  train = next(pipeline.split_batches(source, source.train, config))
  assert train[0] is not first[0][0]
