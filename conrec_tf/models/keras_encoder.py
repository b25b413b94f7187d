"""Networks of `tf.keras.applications` as encoders."""

import os
from typing import Any
import warnings

import tensorflow as tf

from conrec_tf.config.options.encoders import KERAS_BLOCKS, KERAS_ENCODERS, KERAS_STRIDE
from conrec_tf.errors import UsageError, short_message
from conrec_tf.models.encoder import Encoder
from conrec_tf.models.normalization import cloned_layer
from conrec_tf.models.scaling import (
  CENTRED_BYTES,
  IMAGENET,
  NEARLY_SYMMETRIC,
  SYMMETRIC,
  Scaling,
)
from conrec_tf.models.unet import with_gradient_zero

STRIDES = (2, 4, 8, 16, KERAS_STRIDE)
# Side of images whose maps tell strides: none that is padded is as large as one of another stride.
SIDE = 4 * KERAS_STRIDE
DROPPED = (tf.keras.layers.Rescaling, tf.keras.layers.Normalization, tf.keras.layers.Dropout)


class KerasEncoder(Encoder):
  """A network of Keras without its top, with its last maps of each stride as levels.

  Unlike in Keras, values are scaled before the network and not in it, so that images of any number
  of channels are; EfficientNet's dropout of whole paths is off, as it would differ after an
  interruption; batch norm is of all replicas and has the momentum of the other parts; and a bias
  that batch norm takes out again isn't trained.

  Args:
    encoder: a key of `KERAS_ENCODERS`.
    channels: of the images; grey ones become RGB.
    weights: path of a file of its weights without top, as Keras saves them; empty for random ones.
    batch_norm_decay: momentum of the moving statistics.
    global_bn: whether batch norm looks at the batches of all replicas.

  Raises:
    UsageError: the weights can't be read or don't fit.
  """

  stride = KERAS_STRIDE
  num_blocks = KERAS_BLOCKS

  def __init__(
    self,
    encoder: str,
    channels: int,
    weights: str = "",
    batch_norm_decay: float = 0.9,
    global_bn: bool = True,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.scaling = input_scaling(encoder)
    original = _keras_network(encoder, 3 if channels == 1 else channels, weights)
    network = adapted(original, batch_norm_decay, global_bn)
    *shallower, _ = last_layers(original).values()
    outputs = [network.get_layer(name).output for name in shallower]
    self.network = tf.keras.Model(network.input, [network.output, *outputs])

  @property
  def num_skips(self) -> int:
    """4, of ConvNeXt 3: it has no stride of 2."""
    return len(self.network.outputs) - 1

  def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Encodes images.

    Args:
      images: float32 `[B, H, W, C]` in [0, 1], at least 32 pixels a side; multiples of 32 for a
        decoder.

    Returns:
      features `[B, H/32, W/32, f]`, and the maps of the network's strides from 2, of ConvNeXt from
      4, to 16.
    """
    features, *skips = self.network(self.scaling(images), training=training)
    return features, skips

  def freeze(self, blocks: int) -> None:
    """Freezes what the level of stride 2, the stem, needs and then that of 4, 8, 16 and 32."""
    frozen = STRIDES[: blocks + 1]
    for stride, layers in self._layers_by_stride().items():
      for layer in layers:
        layer.trainable = layer.trainable and stride not in frozen

  def variables_by_level(self) -> list[list[tf.Variable]]:
    """Returns the trainable variables that each level needs beyond those before it."""
    return [
      [variable for layer in layers for variable in layer.trainable_variables]
      for layers in self._layers_by_stride().values()
    ]

  def _layers_by_stride(self) -> dict[int, list[tf.keras.layers.Layer]]:
    """Returns the layers that the map of each stride needs beyond those of smaller ones."""
    features, *skips = self.network.outputs
    found: dict[int, list[tf.keras.layers.Layer]] = {}
    seen: set[str] = set()
    strides = STRIDES[-len(self.network.outputs) :]
    for stride, output in zip(strides, (*skips, features), strict=True):
      needed = tf.keras.Model(self.network.input, output).layers
      found[stride] = [layer for layer in needed if layer.name not in seen]
      seen |= {layer.name for layer in needed}
    return found


def input_scaling(name: str) -> Scaling:
  """Returns how pixels are scaled for a network, as for its weights of ImageNet.

  Args:
    name: a key of `KERAS_ENCODERS`.
  """
  if name.startswith("resnet"):
    return SYMMETRIC if name.endswith("v2") else CENTRED_BYTES
  if name.startswith("mobilenet"):
    return SYMMETRIC
  return NEARLY_SYMMETRIC if name in _OF_128 else IMAGENET


_OF_128 = ("efficientnetv2s", "efficientnetv2m", "efficientnetv2l")


def last_layers(network: tf.keras.Model) -> dict[int, str]:
  """Returns the name of the last layer of each stride of `STRIDES` that a network has.

  Args:
    network: functional, for images of `SIDE` pixels.
  """
  found = {}
  for layer in network.layers:
    shape = layer.output_shape
    if isinstance(shape, tuple) and len(shape) == 4:
      found[shape[1]] = layer.name
  return {stride: found[SIDE // stride] for stride in STRIDES if SIDE // stride in found}


def adapted(network: tf.keras.Model, batch_norm_decay: float, global_bn: bool) -> tf.keras.Model:
  """Returns a functional network with its weights, for images of any size, as `KerasEncoder` is."""
  made = tf.keras.models.clone_model(
    network,
    tf.keras.Input([None, None, network.input_shape[-1]]),
    lambda layer: _adapted_layer(layer, batch_norm_decay, global_bn),
  )
  for layer in made.layers:
    if layer.weights:
      layer.set_weights(network.get_layer(layer.name).get_weights())
  return made


class _Convolution(tf.keras.layers.Conv2D):
  """Keras' convolution; one with a group for each channel is computed as a depthwise one.

  TensorFlow has no other grouped convolution for CPUs, so that Keras has XLA compile it for each
  size of images.

  Attributes:
    before_batch_norm: whether nothing but batch norm takes its output.
  """

  before_batch_norm = False

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    if self.groups > 1:
      kernel = tf.cast(tf.transpose(self.kernel, [0, 1, 3, 2]), inputs.dtype)
      outputs = tf.nn.depthwise_conv2d(inputs, kernel, [1, *self.strides, 1], self.padding.upper())
    else:
      outputs = self.convolution_op(inputs, self.kernel)
    if self.use_bias:
      bias = tf.cast(self.bias, outputs.dtype)
      free = self.before_batch_norm and training
      outputs = tf.nn.bias_add(outputs, with_gradient_zero(bias) if free else bias)
    return self.activation(outputs)


def _keras_network(name: str, channels: int, weights: str) -> tf.keras.Model:
  """Returns Keras' own network for images of `SIDE` pixels, random or with the weights of a file.

  Raises:
    UsageError: the weights can't be read or don't fit.
  """
  keras_name = KERAS_ENCODERS[name]
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of channels that aren't RGB
    network = getattr(tf.keras.applications, keras_name)(
      include_top=False, weights=None, input_shape=(SIDE, SIDE, channels)
    )
  if not weights:
    return network
  try:
    if not os.path.isfile(weights):  # Keras would look for a checkpoint of that name
      raise FileNotFoundError("there is no such file")
    network.load_weights(weights)
  except Exception as error:  # Keras raises what h5py and NumPy do.
    raise UsageError(
      f"encoder_weights must be a file of {keras_name}'s weights without top, as Keras saves them "
      f"(.h5), for {channels} channels. Received: {weights} ({short_message(error)})"
    ) from error
  return network


def _adapted_layer(
  layer: tf.keras.layers.Layer, batch_norm_decay: float, global_bn: bool
) -> tf.keras.layers.Layer:
  """Returns a layer as `KerasEncoder` has it, of the same name."""
  if isinstance(layer, tf.keras.Sequential):
    inner = [_adapted_layer(each, batch_norm_decay, global_bn) for each in layer.layers]
    # With an input as those of Keras have, or Keras would look for its outputs for ever.
    inputs = tf.keras.Input([None, None, layer.input_shape[-1]])
    return tf.keras.Sequential([inputs, *inner], name=layer.name)
  if isinstance(layer, DROPPED):
    return tf.keras.layers.Activation("linear", name=layer.name)
  if isinstance(layer, tf.keras.layers.BatchNormalization):
    return cloned_layer(layer, global_bn, momentum=batch_norm_decay)
  if type(layer) is not tf.keras.layers.Conv2D:
    return cloned_layer(layer, global_bn)
  convolution = cloned_layer(layer, global_bn, _Convolution)
  convolution.before_batch_norm = bool(layer.outbound_nodes) and all(
    isinstance(node.layer, tf.keras.layers.BatchNormalization) for node in layer.outbound_nodes
  )
  return convolution
