"""What was evaluated is what was exported: the same accuracy from every file."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.evaluation.embedding import embed_split
from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.linear_evaluation import linear_evaluation
from conrec_tf.evaluation.measures import numbers
from conrec_tf.evaluation.supervised_evaluation import head_kind
from conrec_tf.export.onnx_tflite import run_onnx, run_tflite
from conrec_tf.metrics import LABEL_ACCURACY
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.training.evaluations import label_kind, main_metric

NAMES = ("eval/linear_top_1_accuracy", "eval/standardised_linear_top_1_accuracy")


class TFLiteFile:
  """A TensorFlow Lite file, called as a network is."""

  def __init__(self, path):
    self.path = path

  def embed(self, images, *, layer):
    return tf.constant(run_tflite(self.path, np.asarray(images)))


@pytest.mark.slow
def test_result_saved_model_onnx_and_tflite_have_one_accuracy(data_dir, tmp_path):
  pytest.importorskip("tf2onnx")
  data = dict(data_dir=data_dir, train_split="train[:200]", eval_split="test[:100]", image_size=24)
  config = Config(
    **data,
    base_filters=4,
    unet_depth=2,
    local_crops=0,
    train_batch_size=8,
    train_steps=10,
    report=False,
    export_format="saved_model,onnx,tflite",
    model_dir=str(tmp_path / "run"),
  )
  commands.run(config)
  folder = pathlib.Path(config.model_dir)
  expected = json.loads((folder / "result.json").read_text())
  found = {}
  for file in (folder / "saved_model/10", folder / "onnx/10.onnx"):
    pretrained = resolve_checkpoint(file)
    other = tmp_path / pretrained.kind
    values = dict(pretrained.values, **data, mode="eval", checkpoint=str(file))
    commands.run(Config(**values, report=False, model_dir=str(other)))
    found[pretrained.kind] = json.loads((other / "result.json").read_text())
  source = load_dataset(config)
  network = TFLiteFile(folder / "tflite/10.tflite")
  splits = [embed_split(network, source, split, config) for split in (source.train, source.eval)]
  found["tflite"] = linear_evaluation(*splits, Classes(len(source.class_names)), config)
  assert set(found) == {"saved_model", "external", "tflite"}
  for kind, result in found.items():
    for name in NAMES:
      # Rounding may move an image over the border between two classes.
      assert result[name] == pytest.approx(expected[name], abs=0.0101), (kind, name)


def labelled_images(kind, path):
  """Writes images whose brightness tells their label, of a kind."""
  rng, arrays = np.random.default_rng(0), {}
  for split, count in (("train", 90), ("test", 60)):
    grades = rng.integers(0, 3, count)
    shades = (0.2 * grades + 0.4 * rng.random(count)).reshape([count, 1, 1, 1])
    shades = shades + 0.2 * rng.random([count, 24, 24, 3])
    several = np.stack([grades > 0, grades == 1], axis=1).astype(int)
    arrays |= {f"x_{split}": shades, f"y_{split}": several if kind == "labels" else grades}
  np.savez(path, **arrays)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "grades", "labels", "head"])
def test_result_predictions_and_exported_classifiers_have_one_number(kind, tmp_path):
  """The number that counts, from result.json, predict's CSV, SavedModel, ONNX, TensorFlow Lite."""
  pytest.importorskip("tf2onnx")
  labelled_images(kind, tmp_path / "images.npz")
  config = Config(
    dataset="npz",
    data_dir=str(tmp_path / "images.npz"),
    train_mode="finetune" if kind == "head" else "pretrain",
    ordinal_labels=kind == "grades",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    pooling="average",
    reconstruction_weight=0.0,
    corruption="none",
    local_crops=0,
    train_batch_size=30,
    train_steps=3,
    learning_rate=1.0,
    report=False,
    export_format="saved_model,onnx,tflite",
    model_dir=str(tmp_path / "run"),
  )
  commands.run(config)
  folder = tmp_path / "run"
  result = json.loads((folder / "result.json").read_text())
  source = load_dataset(config)
  learnt = head_kind(3, ordinal=False) if kind == "head" else label_kind(config, source)
  name = LABEL_ACCURACY if kind == "head" else main_metric(config, source)
  assert 0 < result[name] < 1

  [(images, labels)] = evaluation_batches(source, source.eval.records(), 24, 60)
  images, labels = images.numpy(), labels.numpy()
  saved = tf.saved_model.load(str(folder / "saved_model/3")).signatures["classify"]
  served = {name: values.numpy() for name, values in saved(images=tf.constant(images)).items()}
  said = {"saved_model": served}
  for format_, run in (("onnx", run_onnx), ("tflite", run_tflite)):
    path = folder / format_ / f"3_classifier.{format_}"
    said[format_] = {output: run(path, images, output) for output in served}
  commands.run(dataclasses.replace(config, mode="predict"))
  [table] = folder.glob("predictions/*.csv")
  with table.open() as file:
    rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
  said["csv"] = {
    "class": np.array([int(row["predicted_class_name"]) for row in rows])
    if kind != "labels"
    else None,
    "probabilities": np.array(
      [[float(row[f"{label} probability"]) for label in source.class_names] for row in rows]
    )
    if kind == "labels"
    else None,
  }
  for what, outputs in said.items():
    if kind == "labels":
      found = numbers(learnt.quick_measures, outputs["probabilities"], labels)["auroc"]
    else:
      found = learnt.agreement(labels, outputs["class"])
    assert found == pytest.approx(result[name], abs=1e-9), what
    if kind != "labels" and what != "csv":
      assert (outputs["probabilities"] >= 0).all(), what
      np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1.0, atol=1e-5)
      of_class = np.take_along_axis(outputs["probabilities"], outputs["class"][:, None], axis=1)
      np.testing.assert_allclose(
        of_class[:, 0], [float(row["probability"]) for row in rows], atol=1e-3
      )
