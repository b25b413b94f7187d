"""Networks of Keras as encoders: levels, what is changed of them, what they see."""

import re

from command_line import ROOT
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.config.options.encoders import KERAS_ENCODERS
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.models.keras_encoder import SIDE, adapted, input_scaling, last_layers
from conrec_tf.models.scaling import CENTRED_BYTES, IMAGENET, SYMMETRIC
from conrec_tf.models.unet import UNetDecoder
from conrec_tf.training.lars import LARS
from conrec_tf.training.optimizers import penalized_variables

VALUES = dict(
  encoder="mobilenetv3small",
  image_size=64,
  base_filters=2,
  representation_levels="all",
  mixed_precision="float32",
)
CHANNELS = [16, 72, 96, 288, 576]  # of its levels
PREPROCESSING = (
  ("resnet50", "resnet"),
  ("resnet50v2", "resnet_v2"),
  ("mobilenetv2", "mobilenet_v2"),
  ("efficientnetb0", "densenet"),  # with ImageNet's mean and deviation
  ("efficientnetv2b0", "densenet"),
  ("convnexttiny", "densenet"),
)


@pytest.fixture(scope="module")
def model():
  """A network on RGB images, which is only read."""
  made = build_model(Config(**VALUES), 3)
  for number, variable in enumerate(made.non_trainable_variables):  # as after a training
    variable.assign(tf.random.stateless_uniform(variable.shape, [number, 0], 0.5, 1.5))
  return made


@pytest.fixture
def images(rng):
  return rng.uniform(size=(2, 64, 96, 3)).astype(np.float32)


def test_levels_pooling_and_decoder(model, images):
  features, skips = model.encoder(images)
  assert model.encoder.num_skips == len(skips) == 4
  for level, (maps, channels) in enumerate(zip([*skips, features], CHANNELS, strict=True)):
    assert maps.shape == (2, 32 // 2**level, 48 // 2**level, channels)
  outputs, maps = model.with_maps(images)
  assert outputs.embedding.shape == (2, sum(CHANNELS))
  assert outputs.reconstruction.shape == images.shape
  assert [level.shape[1:] for level in maps.decoder] == [
    (4 * 2**level, 6 * 2**level, 32 // 2**level) for level in range(5)
  ]
  np.testing.assert_allclose(
    outputs.embedding[:, :16], skips[0].numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
  )


def test_it_computes_what_keras_computes(model, images):
  keras = tf.keras.applications.MobileNetV3Small(include_top=False, weights=None)
  keras.set_weights(model.encoder.get_weights())
  expected = keras(images * 255.0)  # it scales by itself
  np.testing.assert_allclose(model.encoder(images)[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("skips, count", [("all", 2), ("deep", 1), ("none", 0)])
def test_the_decoder_joins_the_skips_that_there_are(skips, count):
  decoder = UNetDecoder(1, base_filters=2, depth=4, skip_connections=skips, num_skips=2)
  given = [tf.zeros([1, side, side, 5]) for side in (8, 4)]
  reconstruction, maps = decoder(tf.zeros([1, 2, 2, 7]), given)
  assert len(decoder.skip_blocks) == count
  assert reconstruction.shape == (1, 16, 16, 1) and len(maps) == 3


def test_freezing_after_a_block(model):
  layers = model.encoder.network.layers
  found = []
  try:
    for blocks in range(5):
      model.freeze(blocks)
      trained = [layer.name for layer in layers if layer.trainable and layer.weights]
      found.append(trained[0] if trained else None)
    assert not model.trainable_variables[0].name.startswith("encoder")
  finally:
    for layer in (*layers, model.pooling, model.projection_head):
      layer.trainable = True
  # Level by level the next to need is a depthwise convolution of stride 2.
  assert found == [
    "expanded_conv/depthwise",
    "expanded_conv_1/depthwise",
    "expanded_conv_3/depthwise",
    "expanded_conv_8/depthwise",
    None,
  ]


def test_levels_share_out_all_variables(model):
  levels = model.encoder.variables_by_level()
  assert len(levels) == 5 and all(levels)
  names = [variable.ref() for level in levels for variable in level]
  assert len(names) == len(set(names))
  assert set(names) == {variable.ref() for variable in model.encoder.trainable_variables}


def test_nothing_but_kernels_decays(model):
  variables = model.encoder.trainable_variables
  decaying = {variable.ref() for variable in penalized_variables("adam", variables, ())}
  optimizer = LARS(0.1)
  for variable in variables:
    is_kernel = "kernel" in variable.name
    assert (variable.ref() in decaying) == is_kernel != optimizer.is_excluded(variable)
  assert 0 < len(decaying) < len(variables)


def test_batch_norm_has_the_momentum_of_the_other_parts(model):
  layers = model.encoder.network.layers
  momenta = {
    layer.momentum for layer in layers if isinstance(layer, tf.keras.layers.BatchNormalization)
  }
  assert momenta == {Config.batch_norm_decay}


def toy():
  """A network with all that is changed, for images of `SIDE` pixels."""
  inputs = tf.keras.Input([SIDE, SIDE, 3])
  x = tf.keras.layers.Rescaling(1.0 / 255.0)(inputs)
  x = tf.keras.layers.Normalization(mean=[0.1] * 3, variance=[2.0] * 3)(x)
  x = tf.keras.Sequential(
    [tf.keras.layers.Conv2D(4, 4, strides=4), tf.keras.layers.LayerNormalization()]
  )(x)
  x = tf.keras.layers.Dropout(0.5)(tf.nn.gelu(x))
  x = tf.keras.layers.Conv2D(4, 7, padding="same", groups=4, bias_initializer="ones")(x)
  x = tf.keras.layers.Conv2D(4, 1, bias_initializer="ones", activation="relu")(x)
  x = tf.keras.layers.BatchNormalization(momentum=0.99)(x)
  x = tf.keras.layers.Conv2D(6, 1, bias_initializer="ones")(x)
  return tf.keras.Model(inputs, x)


def test_what_is_changed_of_a_network(rng):
  keras = toy()
  network = adapted(keras, 0.7, global_bn=True)
  images = rng.uniform(size=(2, SIDE, SIDE, 3)).astype(np.float32)
  expected = keras(images)
  scaled = (images / 255.0 - 0.1) / np.sqrt(2.0)
  # A convolution with groups is computed otherwise; values aren't scaled in the network.
  np.testing.assert_allclose(network(scaled), expected, rtol=1e-4, atol=1e-5)
  assert network(np.zeros([1, 32, 96, 3])).shape == (1, 8, 24, 6)
  # Without dropout, batch norm aside, training is as repeatable as inference.
  np.testing.assert_array_equal(network(scaled, training=True), network(scaled, training=True))
  [norm] = [x for x in network.layers if isinstance(x, tf.keras.layers.BatchNormalization)]
  assert norm.momentum == 0.7


def test_a_bias_that_batch_norm_takes_out_is_not_trained(rng):
  network = adapted(toy(), 0.9, global_bn=True)
  images = rng.uniform(size=(2, SIDE, SIDE, 3)).astype(np.float32)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(network(images, training=True) ** 2)
  convolutions = [x for x in network.layers if isinstance(x, tf.keras.layers.Conv2D)]
  gradients = tape.gradient(loss, [convolution.bias for convolution in convolutions])
  assert [bool(np.any(gradient)) for gradient in gradients] == [True, False, True]


@pytest.mark.parametrize("name, module", PREPROCESSING)
def test_pixels_are_scaled_as_for_weights_of_imagenet(name, module, images):
  expected = getattr(tf.keras.applications, module).preprocess_input(images * 255.0)
  np.testing.assert_allclose(input_scaling(name)(images), expected, rtol=1e-4, atol=1e-4)


def test_the_larger_efficientnets_of_the_second_version_see_bytes_over_128(images):
  expected = images * 255.0 / 128.0 - 1.0
  for name in ("efficientnetv2s", "efficientnetv2l"):
    np.testing.assert_allclose(input_scaling(name)(images), expected, rtol=1e-4, atol=1e-5)


def test_grey_images_are_rgb_and_others_are_scaled_alike(rng):
  grey = tf.constant(rng.uniform(size=(1, 4, 4, 1)), tf.float32)
  for scaling in (SYMMETRIC, IMAGENET, CENTRED_BYTES):
    np.testing.assert_array_equal(scaling(grey), scaling(np.repeat(grey, 3, axis=-1)))
  five = rng.uniform(size=(1, 4, 4, 5)).astype(np.float32)
  np.testing.assert_allclose(SYMMETRIC(five), 2.0 * five - 1.0, atol=1e-6)
  np.testing.assert_allclose(IMAGENET(five), (five - 0.449) / 0.226, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels, kernel", [(1, 3), (5, 5)])
def test_channels(channels, kernel):
  model = build_model(Config(**VALUES), channels)
  assert model.encoder.weights[0].shape == (3, 3, kernel, 16)
  assert model(tf.zeros([1, 32, 32, channels])).reconstruction.shape == (1, 32, 32, channels)


def test_weights_from_a_file(model, tmp_path):
  path = tmp_path / "weights.h5"
  keras = tf.keras.applications.MobileNetV3Small(include_top=False, weights=None)
  keras.save_weights(path)
  values = dict(VALUES, reconstruction_weight=0.0, corruption="none", seed=5)
  other = build_model(Config(**values, encoder_weights=str(path)), 3)
  for ours, theirs in zip(other.encoder.get_weights(), keras.get_weights(), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  for wrong, channels, message in (
    ("nowhere.h5", 3, r"for 3 channels. Received: nowhere.h5 \(there is no such file\)"),
    (str(path), 5, "must be a file of MobileNetV3Small's weights .* for 5 channels. Received: "),
  ):
    with pytest.raises(UsageError, match=message):
      build_model(Config(**values, encoder_weights=wrong), channels)


@pytest.mark.parametrize(
  "values, message",
  [
    (
      dict(encoder="resnet51"),
      "encoder must be one of unet, .*resnet50v2, .* Received: 'resnet51'",
    ),
    (
      dict(image_size=48),
      "image_size must be a multiple of 32 for .* with a decoder. Received: 48",
    ),
    (dict(local_crops=1, local_crop_size=16), "local_crop_size must be a multiple of 32 .*: 16"),
    (dict(unet_depth=5), "unet_depth must be left out for encoder=mobilenetv3small. Received: 5"),
    (dict(gradient_checkpointing=True), "gradient_checkpointing must be left out .*: True"),
    (dict(encoder_weights="imagenet"), "must be the path of a file, as nothing is downloaded"),
    (dict(fine_tune_after_block=5), "fine_tune_after_block must be at most 4"),
    (
      dict(image_size=16, reconstruction_weight=0.0, corruption="none"),
      "image_size must be at least 32 for encoder=mobilenetv3small. Received: 16",
    ),
  ],
)
def test_what_is_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**{**VALUES, **values})


def test_without_decoder_any_size_from_32_pixels_will_do():
  assert Config(**{**VALUES, "image_size": 50}, reconstruction_weight=0.0, corruption="none")


def row(name):
  """Returns a row of the documentation's table: channels of the strides, millions of parameters."""
  network = getattr(tf.keras.applications, KERAS_ENCODERS[name])(
    include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
  )
  found = last_layers(network)
  channels = {stride: network.get_layer(each).output_shape[-1] for stride, each in found.items()}
  levels = " | ".join(str(channels.get(stride, "")) for stride in (2, 4, 8, 16, 32))
  scaled = [x for x in network.layers if isinstance(x, tf.keras.layers.Normalization)]
  count = network.count_params() - sum(layer.count_params() for layer in scaled)
  return f"| `{name}` | {levels} | {count / 1e6:.2f} |"


# The smallest of each family; the others take minutes to build.
SMALLEST = ("resnet50", "resnet50v2", "efficientnetb0", "efficientnetv2b0", "convnexttiny")
SMALLEST += ("mobilenetv2", "mobilenetv3small", "mobilenetv3large")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_the_documentation_says_which_levels_there_are(name):
  assert row(name) in (ROOT / "docs/training.md").read_text().splitlines()


def test_the_documentation_has_every_name():
  page = (ROOT / "docs/training.md").read_text()
  assert re.findall(r"^\| `(\w+)` \|(?: \d* \|){5} [\d.]+ \|$", page, re.M) == [*KERAS_ENCODERS]
