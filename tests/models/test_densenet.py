import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.models.densenet import DenseNetEncoder
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory

VALUES = dict(
  encoder="densenet121",
  reconstruction_weight=0.0,
  pooling="average",
  corruption="none",
  image_channels=3,
)


@pytest.fixture(scope="module")
def model():
  return build_model(Config(**VALUES, representation_levels="last"))


def test_parameter_counts_of_the_paper(model):
  assert model.encoder.count_params() == 7_037_504
  classes = 1000  # the paper counts ImageNet's top as well
  assert model.encoder.count_params() + 1024 * classes + classes == 8_062_504


def test_same_interface(model):
  images = tf.random.stateless_uniform([2, 64, 96, 3], [0, 0])
  features, skips = model.encoder(images)
  assert features.shape == (2, 2, 3, 1024) and skips == []
  assert model.embed(images).shape == (2, 1024)
  assert model(images).reconstruction is None


def test_it_starts_from_no_unet(model, tmp_path):
  values = dict(base_filters=2, unet_depth=2, image_channels=3)
  RunDirectory(tmp_path).start(Config(**values))
  Checkpoints(tmp_path, 1, {"model": build_model(Config(**values))}).save(5)
  with pytest.raises(UsageError, match="must have encoder=densenet121.* Received: encoder=unet"):
    warm_start(resolve_checkpoint(tmp_path), model, Config(**VALUES, image_size=32))


@pytest.mark.slow
def test_all_levels_are_the_dense_blocks_and_the_embedding(model):
  whole = build_model(Config(**VALUES, representation_levels="all"))
  assert whole.encoder.count_params() == 7_037_504
  images = tf.random.stateless_uniform([2, 64, 96, 3], [0, 0])
  features, levels = whole.encoder(images)
  assert [level.shape for level in levels] == [(2, 16, 24, 256), (2, 8, 12, 512), (2, 4, 6, 1024)]
  embedding = whole.embed(images)
  assert embedding.shape == (2, 256 + 512 + 1024 + 1024)
  np.testing.assert_allclose(
    embedding[:, :256], levels[0].numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
  )
  # One seed, one network: of the last level alone it is the same.
  np.testing.assert_allclose(features, model.encoder(images)[0], rtol=1e-4, atol=1e-5)


def test_images_are_preprocessed_as_keras_wants(model):
  images = tf.random.stateless_uniform([1, 32, 32, 3], [0, 0])
  mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
  expected = model.encoder.network((images - mean) / deviation)
  np.testing.assert_allclose(model.encoder(images)[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_weights_from_a_file(model, tmp_path):
  path = str(tmp_path / "weights.h5")
  model.encoder.network.save_weights(path)
  values = dict(encoder="densenet121", reconstruction_weight=0.0, corruption="none", seed=5)
  other = build_model(Config(**values, encoder_weights=path))
  for a, b in zip(model.encoder.get_weights(), other.encoder.get_weights(), strict=True):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(UsageError, match="_notop.h5 in ~/.keras/models .* Received: nowhere.h5"):
    build_model(Config(**values, encoder_weights="nowhere.h5"))


def test_what_fails_without_a_word_is_refused_in_words(monkeypatch):
  def fail(*args, **kwargs):
    raise EOFError

  monkeypatch.setattr(tf.keras.applications, "DenseNet121", fail)
  with pytest.raises(UsageError, match=r"Received: cut.h5 \(EOFError\)$"):
    DenseNetEncoder("cut.h5")


@pytest.mark.slow
def test_imagenet_weights_without_network(monkeypatch):
  def fail(*args, **kwargs):
    raise Exception("URL fetch failure on https://storage.googleapis.com\nmore")

  keras = tf.keras.Model.__module__.split(".")[0]
  monkeypatch.setattr(f"{keras}.src.utils.data_utils.get_file", fail)
  with pytest.raises(UsageError, match="encoder_weights must be imagenet, with .* imagenet .URL"):
    build_model(
      Config(
        encoder="densenet121",
        encoder_weights="imagenet",
        corruption="none",
        reconstruction_weight=0.0,
      )
    )


@pytest.mark.slow
def test_freezing_after_a_block():
  model = build_model(Config(encoder="densenet121", train_mode="finetune", pooling="average"))
  for blocks, first in (
    (0, ["conv2_block1_0_bn"]),
    (1, ["conv3_block1_0_bn"]),
    (3, ["conv5_block1_0_bn"]),
    (4, []),
  ):
    model.freeze(blocks)
    trained = [
      layer.name for layer in model.encoder.network.layers if layer.trainable and layer.weights
    ]
    assert trained[:1] == first
