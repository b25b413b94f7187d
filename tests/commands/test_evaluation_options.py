"""What an evaluation can be asked for, on tiny runs."""

import dataclasses
import json
import pathlib

import pytest

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data import pipeline
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.run_dir.run_directory import RunDirectory

SHORT = dict(train_epochs=3, eval_every_epochs=1, report=False, export_format="")


@pytest.mark.slow
@pytest.mark.parametrize("measure, best", [("alignment", min), ("rank_me", max)])
def test_the_best_network_by_a_measure_without_labels(unlabelled, measure, best):
  simclr = dict(reconstruction_weight=0.0, pooling="average", corruption="none")
  config = Config(**unlabelled, **SHORT, **simclr, select_best_on=measure)
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
    (dict(cv_folds=2), "cv_folds needs labels"),
    (dict(select_best_on="validation"), "select_best_on must be a measure that needs no labels"),
  ],
)
def test_what_needs_labels(unlabelled, values, message):
  with pytest.raises(UsageError, match=message):
    commands.run(Config(**unlabelled, **SHORT, **values))


def test_a_run_is_not_evaluated_on_images_of_other_channels(tiny):
  run = RunDirectory(tiny["model_dir"])
  run.start(Config(**tiny))
  run.write("images.json", {"channels": 3})
  with pytest.raises(UsageError, match="images must have 3 channels, .*=1 or 3 .* Received: 1 in"):
    commands.run(Config(**tiny, mode="eval"))
  assert not (run.path / "evaluations").exists()


@pytest.fixture
def prepared_sizes(monkeypatch):
  """The sizes of all images that are evaluated or embedded from here on."""
  sizes, prepare = set(), pipeline.evaluation_image

  def noted(image, image_size, center_crop):
    sizes.add(image_size)
    return prepare(image, image_size, center_crop)

  monkeypatch.setattr(pipeline, "evaluation_image", noted)
  return sizes


def read(path):
  return json.loads(path.read_text())


def test_a_network_is_read_at_another_size_and_what_others_read_is_kept_apart(
  simclr, prepared_sizes
):
  config = Config(**{**simclr, "train_epochs": 1, "eval_image_size": 32})
  commands.run(config)
  assert prepared_sizes == {32}
  run = pathlib.Path(config.model_dir)
  own = read(run / "result.json")
  assert own["evaluated_with"]["eval_image_size"] == 32
  metadata = read(run / "saved_model/6/assets/metadata.json")
  assert metadata["image_size"] == metadata["flags"]["eval_image_size"] == 32
  assert metadata["flags"]["image_size"] == 24
  for path in (run, run / "saved_model/6"):
    assert resolve_checkpoint(path).values["eval_image_size"] == 32
  commands.run(dataclasses.replace(config, mode="embed"))
  assert prepared_sizes == {32}
  assert read(run / "embeddings/rectangle_triangle/description.json")["eval_image_size"] == 32
  with pytest.raises(UsageError, match="Received: eval_image_size: 32 -> 0"):
    commands.run(dataclasses.replace(config, mode="embed", eval_image_size=0))
  prepared_sizes.clear()
  commands.run(dataclasses.replace(config, mode="eval", eval_image_size=0))
  assert prepared_sizes == {24} and read(run / "result.json") == own
  [folder] = run.glob("evaluations/*")
  other = read(folder / "result.json")
  assert other["evaluated_with"]["eval_image_size"] == 0
  for name in ("eval/rank_me", "eval/untrained_rank_me"):
    assert other[name] != own[name]
  commands.run(dataclasses.replace(config, mode="eval", eval_crops=2))
  [cropped] = set(run.glob("evaluations/*")) - {folder}
  of_crops = read(cropped / "result.json")
  assert of_crops["evaluated_with"] == own["evaluated_with"] | {"eval_crops": 2}
  assert of_crops["eval/untrained_rank_me"] != own["eval/untrained_rank_me"]
  assert of_crops["eval/alignment"] == own["eval/alignment"]  # of views as they are
