"""What was evaluated is what was exported: the same accuracy from every file."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.evaluation.embedding import embed_split
from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.linear_evaluation import linear_evaluation
from conrec_tf.export.onnx_tflite import run_tflite
from conrec_tf.pretrained.find import resolve_checkpoint

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
