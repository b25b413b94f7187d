"""What an evaluation can be asked for, on tiny runs."""

import json
import pathlib

import pytest

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.errors import UsageError

SHORT = dict(train_epochs=3, eval_every_epochs=1, report=False, export_format="")


@pytest.mark.slow
@pytest.mark.parametrize("measure, best", [("alignment", min), ("rank_me", max)])
def test_the_best_network_by_a_measure_without_labels(unlabelled, measure, best):
  config = Config(**unlabelled, **SHORT, select_best_on=measure)
  commands.run(config)
  folder, name = pathlib.Path(config.model_dir), f"eval/{measure}"
  values = {
    step: json.loads((folder / f"result_{step}.json").read_text())[name] for step in (3, 6, 9)
  }
  result = json.loads((folder / "result.json").read_text())
  assert result["eval/best_selected_by"] == name
  assert values[result["eval/best_step"]] == best(values.values())
  assert result[name] == values[9]


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(few_shots="1"), "few_shots needs labels, or an eval_dataset that has them"),
    (dict(sweep_representations=True), "sweep_representations needs labels"),
    (dict(select_best_on="validation"), "select_best_on must be a measure that needs no labels"),
  ],
)
def test_what_needs_labels(unlabelled, values, message):
  with pytest.raises(UsageError, match=message):
    commands.run(Config(**unlabelled, **SHORT, **values))
