"""The workers of a training, and the sizes of its images."""

import dataclasses
import json
import logging
import os
import pathlib

from conrec_tf import commands
from conrec_tf.commands import train
from conrec_tf.config import Config
from conrec_tf.distribute.workers import Workers
from conrec_tf.evaluation import embedding
from conrec_tf.run_dir.run_directory import prefixes, step_of


def test_a_worker_beside_the_chief_trains_and_leaves_nothing_behind(tiny, monkeypatch):
  monkeypatch.setattr(Workers, "is_chief", False)
  logger = logging.getLogger("conrec_tf")
  level = logger.level
  config = Config(**{**tiny, "report": True}, train_steps=2, checkpoint_steps=1)
  try:
    strategy, workers = train.start_workers(config, config, config.export_format)
    assert train.train_and_evaluate(config, strategy, workers) is None
  finally:
    logger.setLevel(level)
  assert not os.path.exists(config.model_dir)


def test_checkpoints_that_are_to_be_kept_are_saved_whatever_others_are(simclr):
  config = Config(
    **simclr,
    mode="train",
    train_steps=13,
    checkpoint_steps=5,
    keep_checkpoint_max=1,
    keep_checkpoint_every_epochs=1,
  )
  commands.run(config)
  folder = os.path.join(config.model_dir, "checkpoints")
  assert [step_of(prefix) for prefix in prefixes(folder)] == [6, 12, 13]


def test_settings_are_of_what_was_trained_where_fewer_steps_are_asked_for(simclr):
  config = Config(**simclr, mode="train", train_steps=3)
  commands.run(config)
  commands.run(dataclasses.replace(config, train_steps=2, log_steps=5))
  settings = json.loads(pathlib.Path(config.model_dir, "config.json").read_text())
  assert settings["train_steps"] == 3 and settings["log_steps"] == 5


def test_images_grow_in_training_and_evaluations_see_the_last_size(simclr, monkeypatch, caplog):
  evaluated, batches = [], embedding.split_batches

  def noted(*args):
    for images, labels in batches(*args):
      evaluated.append(images.shape[1])
      yield images, labels

  monkeypatch.setattr(embedding, "split_batches", noted)
  options = dict(export_format="", eval_every_epochs=1, train_steps=9)
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(Config(**{**simclr, **options}, image_size_schedule="12:0.4,16:0.4"))
  assert [text for text in caplog.messages if text.startswith("Images of")] == [
    "Images of 16 pixels after step 4",
    "Images of 24 pixels after step 7",
  ]
  assert len(evaluated) > 4 and set(evaluated) == {24}
