import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.export import export_saved_model
from conrec_tf.models import build_model

LOAD = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], model(images))
assert "conrec_tf" not in sys.modules
"""


@pytest.fixture
def model():
  model = build_model(Config(base_filters=2, image_channels=3))
  for variable in model.variables:  # moving statistics as after training
    variable.assign_add(0.1 * tf.random.stateless_uniform(variable.shape, [0, 1]))
  return model


def test_loads_with_tensorflow_alone(model, tmp_path):
  images = np.random.default_rng(0).uniform(size=(3, 32, 48, 3)).astype(np.float32)
  export_saved_model(model, 3, tmp_path / "exported")
  np.save(tmp_path / "images.npy", images)
  subprocess.run([sys.executable, "-c", LOAD, "exported", "images.npy", "out.npy"],
                 cwd=tmp_path, check=True, env={"TF_CPP_MIN_LOG_LEVEL": "3"})
  embeddings = np.load(tmp_path / "out.npy")
  assert embeddings.dtype == np.float32
  np.testing.assert_allclose(embeddings, model.embed(images), atol=1e-5)


def test_reusable_convention(model, tmp_path):
  export_saved_model(model, 3, tmp_path / "exported")
  export_saved_model(model, 3, tmp_path / "exported")  # replaces
  assert [path.name for path in tmp_path.iterdir()] == ["exported"]
  loaded = tf.saved_model.load(str(tmp_path / "exported"))
  images = tf.random.stateless_uniform([2, 16, 16, 3], [0, 0])
  parts = [model.encoder, model.pooling]
  assert len(loaded.variables) == sum(len(part.variables) for part in parts)
  assert len(loaded.trainable_variables) == sum(len(part.trainable_variables) for part in parts)
  assert list(loaded.regularization_losses) == []
  [served] = loaded.signatures["serving_default"](images=images).values()
  np.testing.assert_allclose(served, model.embed(images), atol=1e-4)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded(images, training=True) ** 2)
  assert all(g is not None for g in tape.gradient(loss, loaded.trainable_variables))
