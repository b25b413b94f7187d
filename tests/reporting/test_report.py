"""A tiny run, and everything that is drawn of it."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands.evaluator import log_and_continue
from conrec_tf.commands.report import restore_inspector
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError
from conrec_tf.files import is_temporary
from conrec_tf.metrics import format_interval, format_value
from conrec_tf.reporting import method_comparison, run_record, sections
from conrec_tf.reporting.inference import kept_predictions
from conrec_tf.run_dir.run_directory import RunDirectory

PICTURES = {
  "accuracy_over_epochs",
  "label_fractions",
  "few_shots",
  "reconstructions",
  "attention",
  "class_accuracy",
  "confusion_matrix",
  "strongest_weakest",
  "embedding_map",
  "neighbours",
  "curve_total_loss",
  "curve_contrast_loss",
  "curve_contrast_acc",
  "curve_reconstruction_loss",
  "curve_learning_rate",
  "curve_images_per_second",
  "curve_data_wait",
}
MANY_PIXELS = 250  # inches times pixels per inch

pytestmark = pytest.mark.slow  # almost all tests need the run


@pytest.fixture(scope="module")
def config(data_dir, tmp_path_factory):
  """The `Config` of a finished run of ConRec that drew everything."""
  config = Config(
    data_dir=data_dir,
    train_split="train[:32]",
    eval_split="test[:24]",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    local_crops=0,
    train_batch_size=8,
    train_steps=5,
    log_steps=2,
    eval_every_epochs=1,
    label_fractions="0.5,1",
    num_repeats=2,
    few_shots="1,2",
    sweep_representations=True,
    model_dir=str(tmp_path_factory.mktemp("runs") / "conrec"),
  )
  commands.run(config)
  return config


@pytest.fixture
def folder(config):
  return pathlib.Path(config.model_dir)


@pytest.fixture
def other(folder, tmp_path):
  """A `model_dir` as an earlier version left it, of SimCLR, with other results."""
  values = json.loads((folder / "config.json").read_text())
  del values["report"], values["compare_with"]
  values |= {"pooling": "average", "reconstruction_weight": 0.0, "of another version": 1}
  (tmp_path / "config.json").write_text(json.dumps(values))
  result = json.loads((folder / "result.json").read_text())
  result["eval/linear_top_1_accuracy"] = 0.123456
  (tmp_path / "result.json").write_text(json.dumps(result))
  return tmp_path


def report(config, **values):
  """Draws again; returns the page's text and the names of the pictures beside it."""
  config = dataclasses.replace(config, mode="report", **values)
  commands.run(config)
  folder = pathlib.Path(config.model_dir) / "report"
  assert not any(map(is_temporary, os.listdir(folder.parent)))
  return (folder / "index.html").read_text(), {path.stem for path in folder.glob("*.png")}


def test_every_picture_is_there_and_none_is_blank(folder):
  assert {path.stem for path in (folder / "report").glob("*.png")} == PICTURES
  for name in PICTURES:
    pixels = np.asarray(Image.open(folder / f"report/{name}.png").convert("L"), float)
    assert min(pixels.shape) > MANY_PIXELS and pixels.std() > 5, name
    # A margin in the background's colour: nothing is cut off.
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edges.min() == 255, name
    svg = (folder / f"report/{name}.svg").read_text()
    assert svg.rstrip().endswith("</svg>")


def test_the_page_says_what_the_results_say(folder):
  page = (folder / "report/index.html").read_text()
  result = json.loads((folder / "result.json").read_text())
  rows = dict(
    re.findall(
      r'<tr data-key="([^"]+)"><th scope="row">[^<]*</th>'
      r'<td class="number">([^<]*)</td></tr>',
      page,
    )
  )
  numbers = {name: value for name, value in result.items() if isinstance(value, (int, float))}
  assert rows == {
    name: format_value(name, value) + format_interval(result, name)
    if name != "global_step"
    else str(value)
    for name, value in numbers.items()
  }
  assert sum(" to " in row for row in rows.values()) == len(result["eval/intervals"]) > 3
  tiles = dict(re.findall(r'class="tile" data-key="([^"]+)"><b>([^<]*)</b>', page))
  assert tiles == {name: rows[name].partition(" ")[0] for name in tiles}
  main = "eval/standardised_linear_top_1_accuracy"
  assert {
    main,
    "eval/best_standardised_linear_top_1_accuracy",
    "eval/linear_top_1_accuracy",
  } <= set(tiles)
  assert "eval/untrained_strongest" in tiles
  last = f"{100 * result[main]:.2f}"
  [row] = [
    row
    for row in csv.reader(io.StringIO((folder / "report/methods.csv").read_text()))
    if row[0] == "ConRec"
  ]
  strongest = f"{100 * result['eval/untrained_strongest']:.2f}"
  reading = result["eval/untrained_strongest_reading"]
  assert f"| ConRec, untrained ({reading}) |" in (folder / "report/methods.md").read_text()
  assert f"| {strongest} | 0 |" in (folder / "report/methods.md").read_text()
  assert row[1] == "96.40" and row[4] == last  # the paper's number and ours
  assert f"| ConRec | 96.40 | {row[2]} |" in (folder / "report/methods.md").read_text()


def test_predictions_made_anew_are_all_those_that_the_run_kept(config, folder):
  source = load_dataset(config).without_stand_ins
  inspector = restore_inspector(config, RunDirectory(config.model_dir), source, source, 5)
  parts = inspector.embed(inspector.train), inspector.embed(inspector.test)
  anew = inspector.predict(*parts, standardise=True)
  run = run_record.read_run_record(folder)
  kept = kept_predictions(run, source)
  np.testing.assert_array_equal(anew.classes, kept.classes)
  assert np.mean(kept.classes == kept.labels) == run.result[run.metric]
  assert np.any(inspector.predict(*parts, standardise=False).classes != kept.classes)
  assert kept.classifier in (folder / "report/index.html").read_text()


def test_the_page_needs_nothing_else(folder):
  page = (folder / "report/index.html").read_text()
  references = re.findall(r'(?:src|href|action|srcset)="([^"]*)"', page)
  references += re.findall(r"url\(([^)]*)\)", page)
  assert len([text for text in references if text.startswith("data:image/")]) == len(PICTURES)
  assert all(text.startswith(("data:", "#")) for text in references)
  assert "<script" not in page and "@import" not in page
  assert "--flagfile=" in page and f"tensorflow {tf.__version__}" in page and "seed" in page


def test_comparing_two_runs(config, folder, other, monkeypatch):
  names = ("accuracy", "training curves")  # of the other run nothing else is drawn
  monkeypatch.setattr(
    "conrec_tf.reporting.sections.SECTIONS", {name: sections.SECTIONS[name] for name in names}
  )
  shutil.copytree(folder, other / "copy")
  page, pictures = report(config, model_dir=str(other / "copy"), compare_with=str(other))
  assert {"accuracy_over_epochs", "label_fractions", "curve_total_loss"} <= pictures
  assert "Compared with SimCLR" in page and "Settings that differ between the runs" in page
  cells = re.search(r'<tr data-key="eval/linear_top_1_accuracy">.*?</tr>', page).group()
  mine = run_record.read_run_record(folder).result["eval/linear_top_1_accuracy"]
  assert re.findall(r'"number">([^<]*)<', cells) == [format_value("accuracy", mine), "12.35%"]


def test_the_page_has_every_representation(folder):
  page = (folder / "report/index.html").read_text()
  rows = list(csv.DictReader((folder / "report/representations.csv").open()))
  found = json.loads((folder / "result.json").read_text())["eval/representations"]
  assert len(rows) == len(found) == 2 * (2 + 3 + 3)
  assert [row[""] for row in rows] == ["chosen", *[""] * 15]
  for row in found:
    reading = "standardised" if row["standardised"] else "raw"
    [shown] = [
      each
      for each in rows
      if (each["representation"], each["reading"]) == (row["representation"], reading)
    ]
    assert shown["evaluation split"] == f"{100 * row['test']:.2f}"
    assert shown["C"] == f"{row['strength']:g}" and row["representation"] in page


def as_run(path, folder, predictions, **values):
  """Copies a run with other settings, and predictions that are the labels or not."""
  shutil.copytree(folder, path)
  settings = json.loads((path / "config.json").read_text())
  (path / "config.json").write_text(json.dumps(settings | values))
  [file] = path.glob("predictions_*.csv")
  rows = list(csv.DictReader(file.open()))
  for row, right in zip(rows, predictions, strict=True):
    row["prediction"] = row["label"] if right else str(1 + int(row["label"]))
  with file.open("w") as table:
    writer = csv.DictWriter(table, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  result = json.loads((path / "result.json").read_text())
  result["eval/standardised_linear_top_1_accuracy"] = float(np.mean(predictions))
  (path / "result.json").write_text(json.dumps(result))


def test_comparing_methods_over_seeds(config, folder, tmp_path, monkeypatch, caplog):
  monkeypatch.setattr("conrec_tf.reporting.sections.SECTIONS", {"m": sections.methods_section})
  many, few = np.arange(24) < 20, np.arange(24) < 6
  simclr = {"pooling": "average", "reconstruction_weight": 0.0}
  for method, base, values in (("conrec", many, {}), ("simclr", few, simclr)):
    for seed in (0, 1):
      path = tmp_path / method / f"seed_{seed}"
      as_run(path, folder, np.roll(base, seed), seed=seed, **values)
    (tmp_path / method / "result.json").write_text('{"seeds": [0, 1]}')
    shutil.copy(folder / "config.json", tmp_path / method)
  with caplog.at_level("INFO", "conrec_tf"):
    page, _ = report(
      config,
      model_dir=str(tmp_path / "conrec"),
      seeds="0,1",
      compare_with=f"{tmp_path / 'simclr'},{tmp_path / 'simclr' / 'seed_1'}",
    )
  rows = list(csv.reader((tmp_path / "conrec/report/comparison.csv").open()))
  assert rows[1][:4] == ["ConRec", "2", "83.33 ± 0.00", ""]
  assert rows[2][:4] == ["SimCLR", "2", "25.00 ± 0.00", "+58.33"]
  assert rows[2][5:] == ["< 0.001", "ahead"] and "Methods compared" in page and "58.33" in page
  assert "ConRec against SimCLR: +58.33 points" in caplog.text
  assert "seed_1 is the same training as" in caplog.text


def test_losses_are_no_shares(folder):
  run = run_record.read_run_record(folder)
  loss = {"global_step": 5, "eval/total_loss": 12.3456, "eval/best_total_loss": 12.3456}
  method = method_comparison.Method("a", (dataclasses.replace(run, result=loss),))
  table, notes = method_comparison.comparison_table([method, method])
  assert table.header[2] == "total loss on the evaluation split" and table.rows[0][2] == "12.3456"
  assert "without labels there are no predictions" in notes[0]


def test_what_cannot_be_compared_is_told(folder, tmp_path):
  as_run(tmp_path / "simclr", folder, np.ones(24), pooling="average", reconstruction_weight=0.0)
  [file] = (tmp_path / "simclr").glob("predictions_*.csv")

  def notes():
    runs = [run_record.read_run_record(path) for path in (folder, tmp_path / "simclr")]
    return method_comparison.comparison_table(method_comparison.methods_of(runs))[1]

  assert notes() == [
    "ConRec and SimCLR have one training each: how far another seed would be isn't in the interval."
  ]
  file.write_text(file.read_text().replace("\n3,", "\nthree,"))
  assert "was measured on other images or labels than" in notes()[0]
  file.unlink()
  assert f"has no {file.name}; --mode=eval writes it" in notes()[0]
  file.write_text("image,label\n0,1\n")
  with pytest.raises(UsageError, match="must have the columns image, label and prediction"):
    notes()


def test_older_runs_can_be_read(other):
  """Options that weren't there yet are at their defaults; what wasn't noted is missing."""
  run = run_record.read_run_record(other)
  assert run.config.report and run.name == "SimCLR"
  assert run.metric == "eval/standardised_linear_top_1_accuracy"
  assert run.times() == {"data": 0, "step": 0} and run.processes == []


@pytest.mark.slow
def test_without_labels_decoder_and_attention(unlabelled, tmp_path):
  config = Config(
    **unlabelled,
    train_steps=2,
    pooling="average",
    reconstruction_weight=0.0,
    corruption="none",
  )
  commands.run(config)
  page = (tmp_path / "run/report/index.html").read_text()
  pictures = {path.stem for path in (tmp_path / "run/report").glob("*.png")}
  assert pictures == PICTURES - {
    "confusion_matrix",
    "class_accuracy",
    "strongest_weakest",
    "label_fractions",
    "few_shots",
    "attention",
    "reconstructions",
    "curve_reconstruction_loss",
  }
  for text in ("The data has no classes", "no decoder", "pools by average"):
    assert text in page
  result = json.loads((tmp_path / "run/result.json").read_text())
  assert f'data-key="eval/total_loss"><b>{result["eval/total_loss"]:.4f}</b>' in page


def test_what_is_missing_is_told(config, other, tmp_path):
  with pytest.raises(UsageError, match="model_dir must be the folder of a run, for mode=report"):
    report(config, model_dir=str(tmp_path / "nothing"))
  with pytest.raises(UsageError, match="compare_with must be the folder of a run"):
    report(config, compare_with=str(tmp_path / "nothing"))
  result = json.loads((other / "result.json").read_text())
  of_other_images = {**result, "measured_on": {**result["measured_on"], "eval": "others"}}
  (other / "result.json").write_text(json.dumps(of_other_images))
  with pytest.raises(UsageError, match="with other images or labels of the eval split"):
    report(config, compare_with=str(other))
  del result["measured_on"]  # as of a run from before
  (other / "result.json").write_text(json.dumps(result))
  values = json.loads((other / "config.json").read_text())
  (other / "config.json").write_text(json.dumps({**values, "dataset": "circles_square"}))
  with pytest.raises(
    UsageError,
    match="compare_with must be runs on rectangle_triangle. Received: .*, on circles_square",
  ):
    report(config, compare_with=str(other))


def test_drawing_that_fails_is_told_and_no_more(caplog):
  with caplog.at_level("WARNING", "conrec_tf"), log_and_continue("Drawing"):
    raise ValueError("no ink")
  assert caplog.messages == ["Drawing failed (no ink)"]


def test_tensorboard(folder):
  [path] = folder.glob("events*")
  images, tags, plugins = {}, set(), set()
  for event in tf.compat.v1.train.summary_iterator(str(path)):
    for value in event.summary.value:
      plugins.add(value.metadata.plugin_data.plugin_name)
      tags.add(value.tag)
      if value.tag in ("target, corrupted, reconstruction", "image, attention"):
        width, height, encoded = value.tensor.string_val
        images[value.tag, event.step] = tf.io.decode_image(encoded).numpy()
        assert images[value.tag, event.step].shape[:2] == (int(height), int(width))
  assert {"custom_scalars", "hparams", "scalars"} <= plugins
  assert {"train/total_loss", "eval/best_standardised_linear_top_1_accuracy"} <= tags
  assert "evaluation_seconds" in tags
  assert {step for _, step in images} == {4, 5} and len(images) == 4
  assert images["target, corrupted, reconstruction", 5].shape == (4 * 24, 3 * 24, 3)
  assert all(image.std() > 5 for image in images.values())
  embeddings = np.fromfile(folder / "projector/embeddings.bytes", np.float32).reshape(24, 2 * 6)
  assert embeddings.std() > 0
  assert len((folder / "projector/labels.tsv").read_text().splitlines()) == 24
  assert Image.open(folder / "projector/sprite.png").size == (5 * 32, 5 * 32)
  assert (
    'tensor_path: "projector/embeddings.bytes"' in (folder / "projector_config.pbtxt").read_text()
  )


def test_times_and_origin_are_noted(folder):
  run = run_record.read_run_record(folder)
  times = run.times()
  assert set(times) == {"data", "step", "evaluation"} and min(times.values()) > 0
  assert [process["step"] for process in run.processes] == [0]
  assert {"processor", "cores", "memory", "GPU"} <= set(run.processes[0]["machine"])
