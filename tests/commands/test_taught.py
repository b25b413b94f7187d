"""A whole run with a teacher in place of the other losses, on images without labels."""

import json
import pathlib
import shutil

from foreign_networks import quarters
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.errors import UsageError


@pytest.mark.slow
def test_a_teacher_alone_without_labels(unlabelled, tmp_path):
  values = dict(
    **unlabelled,
    contrastive_weight=0.0,
    reconstruction_weight=0.0,
    teacher_relation_weight=1.0,
    train_steps=6,
    report=False,
    teacher=quarters(tmp_path / "quarters"),
  )
  commands.run(Config(**values))
  run = pathlib.Path(values["model_dir"])
  result = json.loads((run / "result.json").read_text())
  assert result["eval/best_selected_by"] == "eval/rank_me"
  assert "eval/untrained_rank_me" in result and "eval/untrained_strongest" not in result
  for folder, kept in (("checkpoints", True), ("best", False), ("saved_model/6/variables", False)):
    prefix = tf.train.latest_checkpoint(str(run / folder)) or str(run / folder / "variables")
    names = [name for name, _ in tf.train.list_variables(prefix)]
    of_teacher = {
      name.split("/")[0] for name in names if "teacher" in name and "metrics" not in name
    }
    assert of_teacher - {"optimizer"} == ({"teacher_head"} if kept else set())
  gone = shutil.move(values["teacher"], str(tmp_path / "moved"))
  commands.run(Config(**values | dict(mode="eval")))  # needs none
  assert json.loads((run / "result.json").read_text()) == result
  with pytest.raises(UsageError, match="teacher must be a SavedModel that can be read"):
    commands.run(Config(**values))
  commands.run(Config(**values | dict(teacher=gone)))
  shutil.rmtree(run / "checkpoints")
  other = quarters(tmp_path / "other", seed=1)
  with pytest.raises(UsageError, match="what the same teacher made of .*Received: the network"):
    commands.run(Config(**values | dict(teacher=other)))
