"""Pooling of a feature map to one vector: average or attention-weighted."""

from typing import Any

import tensorflow as tf

from conrec_tf.distribute import replicas
from conrec_tf.models.unet import ConvBlock

PHILOX = 1  # TensorFlow's number for it
NUMBERS_AT_A_TIME = 4  # of float32


class AveragePooling(tf.keras.Model):
  """Global average pooling, as in SimCLR; `[B, h, w, f]` to `[B, f]`.

  It takes the arguments of `AttentionPooling`, of which none makes a difference.
  """

  def call(self, features: tf.Tensor, **unused: Any) -> tf.Tensor:
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

  def __init__(self, dropout: float = 0.5, global_bn: bool = True, **kwargs: Any) -> None:
    super().__init__(**kwargs)
    self.dropout = dropout
    self.global_bn = global_bn

  def build(self, input_shape: tf.TensorShape) -> None:
    width = input_shape[-1]
    # As the authors: Keras' default batch norm here, unlike in the U-net.
    self.blocks = [
      ConvBlock(
        max(1, width // divisor), 1, batch_norm_decay=0.99, epsilon=1e-3, global_bn=self.global_bn
      )
      for divisor in (2, 4, 8)
    ]
    # In float32, or in float16 weights could all be 0, and the pooling 0/0.
    self.gate = tf.keras.layers.Conv2D(1, 1, activation="sigmoid", dtype=self.variable_dtype)
    tf.keras.layers.Layer.build(self, input_shape)  # that of a model would call it beforehand

  def attention(
    self,
    features: tf.Tensor,
    training: bool = False,
    seed: tf.Tensor | None = None,
    num_views: int = 1,
  ) -> tf.Tensor:
    """Computes the weight of each location, `[B, h, w, 1]` in (0, 1).

    Args:
      features: `[B, h, w, f]`.
      training: whether to drop inputs and use the batch's statistics.
      seed: integer `[2]` for the dropout mask, so that a resumed run draws the same.
        None draws it from TensorFlow's global generator.
      num_views: how many views of each image the batch holds, all first ones, then all second
        views; of each this replica has its share.
    """
    drops = training and self.trainable and self.dropout
    x = seeded_dropout(features, self.dropout, seed, num_views) if drops else features
    for block in self.blocks:
      x = block(x, training=training)
    return self.gate(x)

  def call(
    self,
    features: tf.Tensor,
    training: bool = False,
    seed: tf.Tensor | None = None,
    num_views: int = 1,
  ) -> tf.Tensor:
    weights = self.attention(features, training=training, seed=seed, num_views=num_views)
    weights, features = (tf.cast(x, self.variable_dtype) for x in (weights, features))
    weighted = tf.reduce_mean(weights * features, axis=[1, 2])
    return weighted / tf.reduce_mean(weights, axis=[1, 2])


def seeded_dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, num_views: int) -> tf.Tensor:
  """Applies dropout as a function of a seed and the place in the batch of all replicas.

  Args:
    x: float `[N, ...]`.
    seed: integer `[2]`; without one it isn't repeatable.
    num_views: see `AttentionPooling.attention`.
  """
  if seed is None:
    return tf.nn.dropout(x, rate)
  # Whatever x is of: float32, so that precisions draw alike, and bfloat16 has too few numbers.
  return tf.nn.experimental.general_dropout(
    x, rate, lambda shape, dtype: replica_slice_of_uniform(shape, seed, num_views)
  )


def replica_slice_of_uniform(shape: tf.Tensor, seed: tf.Tensor, num_views: int) -> tf.Tensor:
  """Draws what `tf.random.stateless_uniform` draws for this replica's rows, float32.

  Philox's numbers are a function of key and counter, 128 bits of them at a time, so that one
  can start anywhere.

  Args:
    shape: `[N, ...]` of the replica; all have N * count rows.
    seed: integer `[2]`.
  """
  if replicas.num_replicas() == 1:
    return tf.random.stateless_uniform(shape, seed)
  key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
  size = tf.cast(tf.reduce_prod(shape), tf.int64) // num_views
  drawn = []
  for part in range(num_views):
    start = size * (part * replicas.num_replicas() + tf.cast(replicas.replica_id(), tf.int64))
    ahead = tf.cast(tf.stack([start // NUMBERS_AT_A_TIME, 0]), tf.uint64)
    numbers = tf.raw_ops.StatelessRandomUniformV2(
      shape=[size + NUMBERS_AT_A_TIME], key=key, counter=counter + ahead, alg=PHILOX
    )
    drawn.append(numbers[start % NUMBERS_AT_A_TIME :][:size])
  return tf.reshape(tf.concat(drawn, axis=0), shape)
