"""What the processes of a training must have alike."""

import pytest
import tensorflow as tf

from conrec_tf.commands.train import _same_for_all
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.distribute.workers import Workers
from conrec_tf.errors import UsageError


def test_workers_of_other_commands_or_data_are_refused(tiny, monkeypatch):
  workers, asked = Workers(tf.distribute.get_strategy()), []

  def mean(*numbers):
    asked.append(numbers)
    return [(mine + other) / 2 for mine, other in zip(numbers, asked[0], strict=True)]

  monkeypatch.setattr(workers, "_mean", mean)

  def known(**values):
    config = Config(**{**tiny, **values})
    return _same_for_all(config.settings, load_dataset(config))

  workers.assert_alike(known())
  assert not asked  # there is one alone
  workers.count = 2
  workers.assert_alike(known())
  workers.assert_alike(known(model_dir="elsewhere", teacher="a.onnx"))
  for values, others in (
    (dict(learning_rate=0.002, log_steps=5), "learning_rate, log_steps"),
    (dict(mixed_precision="mixed_bfloat16"), "mixed_precision"),
    (dict(train_split="train[8:56]"), "train_split, images in train_split"),
  ):
    with pytest.raises(UsageError, match="the same command and the same data") as caught:
      workers.assert_alike(known(**values))
    assert str(caught.value).endswith(f"Received: another {others} here than elsewhere")
