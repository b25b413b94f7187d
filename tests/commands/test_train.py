"""The workers of a training."""

import logging
import os

from conrec_tf.commands import train
from conrec_tf.config import Config
from conrec_tf.distribute.workers import Workers


def test_a_worker_beside_the_chief_trains_and_leaves_nothing_behind(tiny, monkeypatch):
  monkeypatch.setattr(Workers, "is_chief", False)
  logger = logging.getLogger("conrec_tf")
  level = logger.level
  config = Config(**{**tiny, "report": True}, train_steps=2, checkpoint_steps=1)
  try:
    strategy, workers = train.start_workers(config, config, config.export_formats)
    assert train.train_and_evaluate(config, strategy, workers) is None
  finally:
    logger.setLevel(level)
  assert not os.path.exists(config.model_dir)
