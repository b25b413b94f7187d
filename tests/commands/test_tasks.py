import dataclasses

import numpy as np
import pytest

from conrec_tf.commands.report import restore_inspector
from conrec_tf.commands.tasks import build_evaluation, build_training, load_dataset
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training import task
from conrec_tf.training.task import build_network


def test_a_run_that_goes_on_needs_the_weights_of_its_encoder_no_more(unlabelled, tmp_path):
  values = dict(encoder="mobilenetv3small", encoder_weights=str(tmp_path / "gone.h5"))
  config = Config(**unlabelled | values | dict(image_size=32, unet_depth=4))
  source, directory = load_dataset(config), RunDirectory(config.run_directory)
  with pytest.raises(UsageError, match="encoder_weights must be a file .*there is no such file"):
    build_training(config, config, directory, source, source, 10)
  model, _ = build_network(dataclasses.replace(config, encoder_weights=""), 3, 0)
  Checkpoints(directory.path, 1, {"model": model}).save(2)
  build_training(config, config, directory, source, source, 10)
  build_evaluation(config, directory, source, source)
  restore_inspector(config, directory, source, source, 2)


@pytest.mark.slow
def test_an_evaluation_measures_what_a_training_does_without_an_optimizer(unlabelled, monkeypatch):
  """Of all that learns beside the network it has what losses of held-out images need."""
  config = Config(
    **unlabelled,
    contrastive_method="moco",
    moco_queue_length=16,
    moving_average_decay=0.9,
    adversarial_weight=1.0,
  )
  source = load_dataset(config)
  training = build_training(config, config, RunDirectory(config.run_directory), source, source, 10)
  monkeypatch.setattr(task, "build_optimizer", None)
  evaluation = build_evaluation(config, RunDirectory(config.run_directory), source, source)
  assert set(training.networks) == {"model", "average", "momentum", "queue"}
  assert evaluation.networks.keys() == training.networks.keys()
  for name, part in training.networks.items():
    other = evaluation.networks[name]
    for ours, theirs in zip(*(getattr(it, "weights", [it]) for it in (part, other)), strict=True):
      np.testing.assert_array_equal(ours, theirs, name)
  measured = evaluation.evaluate(False)
  assert measured == training.evaluate(False) and measured["eval/total_loss"] > 0
  assert (evaluation.metric, evaluation.selection_metric) == ("eval/total_loss",) * 2
