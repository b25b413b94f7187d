"""From a feature map to one vector: average or attention-weighted pooling."""

import tensorflow as tf

from conrec_tf.models.unet import ConvBlock


class AveragePooling(tf.keras.Model):
  """Global average pooling, as in SimCLR; `[B, h, w, f]` to `[B, f]`."""

  def call(self, features, training=False, seed=None):
    del training, seed
    return tf.reduce_mean(tf.cast(features, self.variable_dtype), axis=[1, 2])


class AttentionPooling(tf.keras.Model):
  """Attention-weighted pooling (paper, section 2.3, Eq. 4); `[B, h, w, f]` to `[B, f]`.

  A location's weight comes from three 1x1 blocks with f/2, f/4 and f/8 filters and a
  1x1 convolution with a sigmoid. The weight is replicated over channels by
  broadcasting; the authors use a frozen 1x1 kernel of f ones for it, which is why
  their count of parameters is higher by f.

  Args:
    dropout: rate of the dropout on the gate's input.
  """

  def __init__(self, dropout=0.5, **kwargs):
    super().__init__(**kwargs)
    self.dropout = dropout

  def build(self, input_shape):
    width = input_shape[-1]
    # As the authors: Keras' default batch norm here, unlike in the U-net.
    self.blocks = [ConvBlock(max(1, width // divisor), 1, batch_norm_decay=0.99, epsilon=1e-3)
                   for divisor in (2, 4, 8)]
    self.gate = tf.keras.layers.Conv2D(1, 1, activation="sigmoid")
    super().build(input_shape)

  def attention(self, features, training=False, seed=None):
    """The weight of each location, `[B, h, w, 1]` in (0, 1).

    Args:
      features: `[B, h, w, f]`.
      training: whether to drop inputs and use the batch's statistics.
      seed: integer `[2]` for the dropout mask, so that a resumed run draws the same.
        None draws it from TensorFlow's global generator.
    """
    drops = training and self.trainable and self.dropout
    x = drop(features, self.dropout, seed) if drops else features
    for block in self.blocks:
      x = block(x, training=training)
    return self.gate(x)

  def call(self, features, training=False, seed=None):
    weights = self.attention(features, training=training, seed=seed)
    weights, features = (tf.cast(x, self.variable_dtype) for x in (weights, features))
    weighted = tf.reduce_mean(weights * features, axis=[1, 2])
    return weighted / tf.reduce_mean(weights, axis=[1, 2])


def drop(x, rate, seed=None):
  """Dropout as a function of a seed; without one it isn't repeatable."""
  if seed is None:
    return tf.nn.dropout(x, rate)
  return tf.nn.experimental.stateless_dropout(x, rate, seed)
