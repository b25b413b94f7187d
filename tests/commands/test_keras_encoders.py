"""A network of Keras through all that is done with a U-net."""

import json

import kinds_of_data
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.metrics import DICE

SIZES = dict(
  encoder="mobilenetv3small",
  image_size=32,
  base_filters=2,
  local_crops=0,
  train_batch_size=8,
  train_steps=2,
  representation_levels="all",
  mixed_precision="float32",
  report=False,
  bootstrap_samples=0,
)
WIDTH = 16 + 72 + 96 + 288 + 576


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  return kinds_of_data.write("npz", tmp_path_factory.mktemp("data"), None)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
  """The folder of a pre-training with everything that looks at inner levels."""
  model_dir = tmp_path_factory.mktemp("runs") / "keras"
  config = Config(
    **SIZES,
    **data,
    model_dir=str(model_dir),
    multi_level_contrastive_weight=0.5,
    multi_level_reconstruction_weight=10.0,
    export_format="saved_model,onnx,tflite",
  )
  commands.run(config)
  return model_dir


@pytest.mark.slow
def test_what_a_run_leaves(run, rng):
  network = tf.saved_model.load(str(run / "saved_model/2"))
  images = rng.uniform(size=(2, 64, 96, 3)).astype(np.float32)
  assert network(images).shape == (2, WIDTH)
  assert network.reconstruction(images).shape == images.shape
  assert {path.suffix for path in run.rglob("*.*")} >= {".onnx", ".tflite"}


@pytest.mark.slow
def test_it_embeds_and_is_finetuned(run, data, tmp_path):
  values = SIZES | data | dict(checkpoint=str(run))
  commands.run(Config(**values, mode="embed", model_dir=str(tmp_path / "all")))
  [file] = (tmp_path / "all").rglob("*train-*.npz")
  with np.load(file) as arrays:
    assert (20, WIDTH) in [values.shape for values in arrays.values()]
  tuned = tmp_path / "tuned"
  values |= dict(train_mode="finetune", fine_tune_after_block=2, mode="train")
  commands.run(Config(**values, model_dir=str(tuned)))
  before = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-2"))
  after = tf.train.load_checkpoint(str(tuned / "checkpoints/ckpt-2"))
  kernels = [
    name
    for name in before.get_variable_to_shape_map()
    if name.startswith("model/encoder/") and "kernel/.ATTRIBUTES" in name
  ]
  same = [
    np.array_equal(before.get_tensor(name), after.get_tensor(name)) for name in sorted(kernels)
  ]
  assert any(same) and not all(same)


@pytest.mark.slow
def test_it_segments(run, tmp_path):
  values = kinds_of_data.write_masks(tmp_path)
  trained = tmp_path / "segmenting"
  commands.run(Config(**SIZES | values, checkpoint=str(run), model_dir=str(trained)))
  assert 0.0 <= json.loads((trained / "result.json").read_text())[DICE] <= 1.0
  images = dict(dataset="image_folder", data_dir=str(tmp_path / "test/images"), mode="segment")
  commands.run(Config(**images, checkpoint=str(trained), model_dir=str(tmp_path / "masks")))
  assert len(list((tmp_path / "masks/segmentations").rglob("*.png"))) == 4
