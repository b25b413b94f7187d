"""The predictions of a step, written and read again."""

import numpy as np
import pytest

from conrec_tf.errors import UsageError
from conrec_tf.run_dir.predictions_file import (
  check_label_names,
  multi_label_columns,
  read_predictions,
  write_predictions,
)
from conrec_tf.run_dir.run_directory import RunDirectory


def test_groups_come_back_where_there_are_any(tmp_path):
  directory = RunDirectory(tmp_path)
  columns = {"image": ["a", "b"], "label": np.array([0, 1]), "prediction": np.array([1, 1])}
  write_predictions(directory, 3, columns)
  assert read_predictions(directory, 3).groups is None
  groups = np.array(["p1", "p,2"], object)
  write_predictions(directory, 3, {"image": ["a", "b"], "group": groups, **columns})
  found = read_predictions(directory, 3)
  assert found.groups.tolist() == ["p1", "p,2"] and found.predictions.tolist() == [1, 1]
  several = multi_label_columns(np.eye(2, dtype=int), np.full([2, 2], 0.5), ("x", "y"))
  write_predictions(directory, 3, {"image": ["a", "b"], "group": groups, **several})
  assert read_predictions(directory, 3).groups.tolist() == ["p1", "p,2"]


@pytest.mark.parametrize("name", ["image", "group", "measured_on", "x probability"])
def test_labels_called_as_other_columns_are_refused(name):
  check_label_names(("x", "Image", "probability"))
  with pytest.raises(UsageError, match=f"labels must not be called .*Received: {name}"):
    check_label_names(("x", name))


def test_probabilities_of_several_labels_keep_their_order(tmp_path):
  """Six digits would make those near 1 one, and another area under the ROC curve."""
  sure = np.array([[0.1, 1 - 1e-9], [1 / 3, 1 - 2e-9]])
  directory, columns = RunDirectory(tmp_path), multi_label_columns(np.eye(2, dtype=int), sure, "xy")
  write_predictions(directory, 5, {"image": ["a", "b"], **columns})
  assert np.array_equal(read_predictions(directory, 5).predictions, sure)
