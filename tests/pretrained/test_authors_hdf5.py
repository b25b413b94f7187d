"""Files in the layout of the authors' implementation, written with plain Keras layers."""

import functools

import h5py
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import load_network

layers = tf.keras.layers
SIZE, FILTERS, DEPTH = 24, 4, 3


def block(x, filters, size, **batch_norm):
  x = layers.Conv2D(filters, size, padding="same")(x)
  return layers.ReLU()(layers.BatchNormalization(**batch_norm)(x))


@functools.cache
def authors_model(channels, attention, decoder):
  """Returns the model, and one that also gives the embedding; weights are random.

  Without a decoder it is built and pruned, so that the numbers in the names have gaps.
  """
  tf.keras.backend.clear_session()  # names count from the start
  statistics = dict(momentum=0.9, epsilon=1e-5)
  x = images = layers.Input([SIZE, SIZE, channels])
  skips = []
  for level in range(DEPTH):
    for _ in range(2):
      x = block(x, FILTERS * 2**level, 3, **statistics)
    if level < DEPTH - 1:
      skips.append(block(x, FILTERS * 2**level, 1, **statistics))
      x = layers.MaxPool2D()(x)
  features, width = x, x.shape[-1]
  pool = layers.GlobalAveragePooling2D()
  if attention:
    gate = layers.Dropout(0.5)(features)
    for divisor in (2, 4, 8):
      gate = block(gate, width // divisor, 1)
    gate = layers.Conv2D(1, 1, activation="sigmoid")(gate)
    gate = layers.Conv2D(
      width, 1, use_bias=False, kernel_initializer="ones", trainable=False, name="attention_up"
    )(gate)
    pooled = [pool(layers.Multiply()([features, gate])), pool(gate)]
    embedding = layers.Lambda(lambda pair: pair[0] / pair[1])(pooled)
  else:
    embedding = pool(features)
  z = embedding
  for index, units in enumerate((width, width, 128)):
    z = layers.Dense(units, use_bias=False)(z)
    z = layers.BatchNormalization(center=index < 2, **statistics)(z)
    z = layers.ReLU()(z) if index < 2 else z
  outputs = [layers.Activation("linear", name="con_output")(z)]
  for level in reversed(range(DEPTH - 1)):
    x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
    for _ in range(2):
      x = block(x, FILTERS * 2**level, 3, **statistics)
  reconstruction = layers.Conv2D(channels, 1, activation="sigmoid", name="reconst_output")(x)
  outputs += [reconstruction] if decoder else []
  model = tf.keras.Model(images, outputs)
  rng = np.random.default_rng(channels)
  for layer in model.layers:
    if layer.name != "attention_up":
      layer.set_weights(
        [weight + rng.uniform(0.0, 0.3, weight.shape) for weight in layer.get_weights()]
      )
  return model, tf.keras.Model(images, [embedding, *outputs])


def ours(path, **values):
  """The network that a file describes, with its weights."""
  pretrained = resolve_checkpoint(str(path))
  config = Config(**{**pretrained.values, **values})
  model = build_model(config, pretrained.channels)
  load_network(pretrained, model)
  return pretrained, config, model


@pytest.mark.parametrize(
  "channels, attention, decoder",
  [(1, True, True), (3, True, False), (3, False, True), (1, False, False)],
)
def test_equals_the_authors_network(tmp_path, rng, channels, attention, decoder):
  model, with_embedding = authors_model(channels, attention, decoder)
  model.save(tmp_path / "model.hdf5", include_optimizer=False)
  pretrained, config, network = ours(tmp_path / "model.hdf5")
  assert (config.image_size, config.base_filters, config.unet_depth) == (SIZE, FILTERS, DEPTH)
  assert config.pooling == ("attention" if attention else "average")
  assert (
    config.method
    == {(1, 1): "conrec", (0, 1): "conrec_ga_pool", (1, 0): "simclr_attention", (0, 0): "simclr"}[
      attention, decoder
    ]
  )
  images = rng.uniform(size=(5, SIZE, SIZE, channels)).astype(np.float32)
  for found, expected in zip(
    [part for part in network(images) if part is not None], with_embedding(images), strict=True
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_what_the_network_lacks_is_left_out(tmp_path):
  model, _ = authors_model(1, True, True)
  model.save_weights(tmp_path / "weights.h5")  # without the model's configuration
  _, config, network = ours(tmp_path / "weights.h5", train_mode="finetune", pooling="attention")
  assert network.decoder is None and config.image_size == Config.image_size
  np.testing.assert_array_equal(
    network.encoder.levels[0][0].convolution.kernel, model.get_layer("conv2d").kernel
  )


def test_what_does_not_fit_is_named(tmp_path):
  model, _ = authors_model(1, True, True)
  path = tmp_path / "model.hdf5"
  model.save(path, include_optimizer=False)
  with pytest.raises(
    UsageError,
    match="with other layers in encoder, attention, skips, decoder, gate, projection, output",
  ):
    ours(path, base_filters=8)
  with pytest.raises(UsageError, match="with other layers in attention, gate"):
    ours(path, pooling="average")
  with h5py.File(path, "a") as file:
    file.copy("model_weights/dense", "model_weights/lstm_4")
  with pytest.raises(UsageError, match="model.hdf5 with layers without a place: lstm_4"):
    resolve_checkpoint(str(path))
  with h5py.File(path, "a") as file:
    del file["model_weights/lstm_4"]
    file["model_weights/attention_up/attention_up/kernel:0"][...] = 2.0
  with pytest.raises(UsageError, match="attention_up with weights other than 1"):
    resolve_checkpoint(str(path))


@pytest.mark.parametrize("content", [b"", b"not HDF5"])
def test_a_file_that_is_none_of_theirs_is_refused(tmp_path, content):
  (tmp_path / "file.h5").write_bytes(content)
  with pytest.raises(UsageError, match="HDF5 file of the authors' implementation .*file.h5"):
    resolve_checkpoint(str(tmp_path / "file.h5"))


def edited(path, model, edit):
  model.save(path, include_optimizer=False)
  with h5py.File(path, "a") as file:
    edit(file)


def no_side(file):
  file.attrs["model_config"] = '{"config": {"layers": [{"config": {"batch_input_shape": []}}]}}'


def flat_projection(file):
  group = file["model_weights/dense_2"]
  [name] = group.attrs["weight_names"]
  del group[name]
  group[name] = np.zeros(3)


@pytest.mark.parametrize("edit", [no_side, flat_projection])
def test_a_file_with_odd_content_is_named(tmp_path, edit):
  edited(tmp_path / "model.h5", authors_model(1, False, False)[0], edit)
  with pytest.raises(UsageError, match="of the authors' implementation.* Received: .*model.h5"):
    resolve_checkpoint(str(tmp_path / "model.h5"))


def test_a_damaged_file_is_named(tmp_path):
  """With one byte changed, HDF5 raises RuntimeError too."""
  authors_model(1, False, False)[0].save(tmp_path / "model.h5", include_optimizer=False)
  data, rng = bytearray((tmp_path / "model.h5").read_bytes()), np.random.default_rng(3)
  refused = 0
  for place in rng.integers(0, 4000, 80):
    changed = bytearray(data)
    changed[place] ^= int(rng.integers(1, 256))
    (tmp_path / "damaged.h5").write_bytes(changed)
    try:
      resolve_checkpoint(str(tmp_path / "damaged.h5"))
    except UsageError as error:
      refused += 1
      assert "\n" not in str(error) and "damaged.h5" in str(error)
  assert refused > 5
