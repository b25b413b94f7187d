"""Encoder, pooling and decoder in Keras 3 (`keras.ops`), for any of its backends.

They are those of `conrec_tf.models`, for inference and plain training: without recomputation,
several replicas, and dropout from a seed.
"""

import keras
from keras import ops


class ConvBlock(keras.layers.Layer):
  """Convolution with bias, batch norm, ReLU; `[B, h, w, c]` to `[B, h, w, filters]`."""

  def __init__(self, filters, kernel_size, momentum=0.9, epsilon=1e-5):
    super().__init__()
    self.convolution = keras.layers.Conv2D(filters, kernel_size, padding="same")
    self.batch_norm = keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon)

  def build(self, input_shape):
    self.convolution.build(input_shape)
    self.batch_norm.build((*input_shape[:-1], self.convolution.filters))

  def call(self, inputs, training=False):
    return ops.relu(self.batch_norm(self.convolution(inputs), training=training))


class UNetEncoder(keras.Model):
  """Images `[B, H, W, C]` to features and skips; see `conrec_tf.models.unet.UNetEncoder`."""

  def __init__(self, base_filters, depth):
    super().__init__()
    self.levels = [
      [ConvBlock(base_filters * 2**level, 3) for _ in range(2)] for level in range(depth)
    ]

  def call(self, images, training=False):
    skips, x = [], images
    for level, blocks in enumerate(self.levels):
      if level:
        skips.append(x)
        x = ops.max_pool(x, 2, 2, "valid")
      for block in blocks:
        x = block(x, training=training)
    return x, skips


class AttentionPooling(keras.Model):
  """Features `[B, h, w, f]` to `[B, f]`; see `conrec_tf.models.pooling.AttentionPooling`."""

  def __init__(self, width):
    super().__init__()
    self.blocks = [ConvBlock(max(1, width // part), 1, 0.99, 1e-3) for part in (2, 4, 8)]
    self.gate = keras.layers.Conv2D(1, 1, activation="sigmoid")

  def call(self, features, training=False):
    x = features
    for block in self.blocks:
      x = block(x, training=training)
    weights = self.gate(x)
    return ops.mean(weights * features, axis=(1, 2)) / ops.mean(weights, axis=(1, 2))


class UNetDecoder(keras.Model):
  """Features and skips to `[B, H, W, channels]`; see `conrec_tf.models.unet.UNetDecoder`.

  Args:
    with_skips: how many levels, the deepest, have a skip connection.
  """

  def __init__(self, channels, base_filters, depth, with_skips):
    super().__init__()
    filters = [base_filters * 2**level for level in range(depth - 1)]
    self.skip_blocks = [ConvBlock(width, 1) for width in filters[depth - 1 - with_skips :]]
    self.levels = [[ConvBlock(width, 3) for _ in range(2)] for width in filters]
    self.output_convolution = keras.layers.Conv2D(channels, 1)

  def call(self, features, skips, training=False):
    x, left = features, list(self.skip_blocks)
    for skip, blocks in reversed(list(zip(skips, self.levels, strict=True))):
      x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
      if left:
        x = ops.concatenate([x, left.pop()(skip, training=training)], axis=-1)
      for block in blocks:
        x = block(x, training=training)
    return ops.sigmoid(self.output_convolution(x))


class ConRec(keras.Model):
  """Images `[B, H, W, C]` to the embedding of all levels and the reconstruction."""

  def __init__(self, channels, base_filters, depth, with_skips):
    super().__init__()
    self.encoder = UNetEncoder(base_filters, depth)
    self.pooling = AttentionPooling(base_filters * 2 ** (depth - 1))
    self.decoder = UNetDecoder(channels, base_filters, depth, with_skips)

  def call(self, images, training=False):
    features, skips = self.encoder(images, training=training)
    averages = [ops.mean(level, axis=(1, 2)) for level in skips]
    embedding = ops.concatenate([*averages, self.pooling(features, training=training)], axis=-1)
    return embedding, self.decoder(features, skips, training=training)
