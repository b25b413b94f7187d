"""The labels of a network's outputs are those that it is measured on."""

import pytest

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory
from conrec_tf.training.label_checks import check_learnt_labels


def checked(model_dir, names, **values):
  config = Config(model_dir=str(model_dir), data_dir="others", **{"mode": "eval", **values})
  check_learnt_labels(config, RunDirectory(model_dir), names)


@pytest.mark.parametrize(
  "values",
  [
    dict(train_mode="finetune"),
    dict(train_mode="segment", dataset="image_folder"),
    dict(lineareval_while_pretraining=True),
    dict(train_mode="finetune", mode="report"),
  ],
)
def test_other_labels_than_a_network_learnt_are_named(tmp_path, values):
  RunDirectory(tmp_path).write(IMAGES, {"class_names": ["iris", "rose"]})
  checked(tmp_path, ("iris", "rose"), **values)
  checked(tmp_path / "new", ("a", "b"), **values)
  message = "must have the labels that the network learnt, .*: iris, rose. Received: labels tulip"
  with pytest.raises(UsageError, match=f"{message} for rose in others$"):
    checked(tmp_path, ("iris", "tulip"), **values)
  with pytest.raises(UsageError, match=f"{message} for its own in others$"):
    checked(tmp_path, ("iris", "rose", "tulip"), **values)
  with pytest.raises(UsageError, match="Received: labels ordered anew for its own"):
    checked(tmp_path, ("rose", "iris"), **values)


def test_a_network_without_outputs_is_measured_on_any_labels(tmp_path):
  RunDirectory(tmp_path).write(IMAGES, {"class_names": ["iris", "rose"]})
  checked(tmp_path, ("a", "b"))
