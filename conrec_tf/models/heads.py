"""The heads on the embedding: projection for NT-Xent, and the supervised one."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.models.normalization import batch_norm
from conrec_tf.models.unet import BATCH_NORM_EPSILON


class ProjectionHead(tf.keras.Model):
  """Projects embeddings to the space of NT-Xent; `[B, f]` to `[B, out_dim]`.

  Dense layers without bias, each with batch norm, ReLU between them; hidden layers
  are as wide as the embedding and the last batch norm has no offset.

  Args:
    mode: nonlinear, linear (one layer) or none (the embedding itself).
    num_layers: layers of a nonlinear head.
  """

  def __init__(
    self,
    mode: str = "nonlinear",
    num_layers: int = 3,
    out_dim: int = 128,
    batch_norm_decay: float = 0.9,
    global_bn: bool = True,
    **kwargs: Any,
  ) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.num_layers = {"none": 0, "linear": 1, "nonlinear": num_layers}[mode]
    self.out_dim = out_dim
    self.batch_norm_decay = batch_norm_decay
    self.global_bn = global_bn

  def build(self, input_shape: tf.TensorShape) -> None:
    """Creates the layers for an embedding of a width."""
    widths = [input_shape[-1]] * (self.num_layers - 1) + [self.out_dim] * (self.num_layers > 0)
    initializer = tf.keras.initializers.RandomNormal
    self.dense = [
      tf.keras.layers.Dense(
        width, use_bias=False, dtype=self.dtype, kernel_initializer=initializer(stddev=0.01)
      )
      for width in widths
    ]
    self.batch_norms = [
      batch_norm(
        self.global_bn,
        momentum=self.batch_norm_decay,
        epsilon=BATCH_NORM_EPSILON,
        center=layer < self.num_layers - 1,
        dtype=self.dtype,
      )
      for layer in range(self.num_layers)
    ]
    tf.keras.layers.Layer.build(self, input_shape)  # that of a model would call it beforehand

  def call(self, embedding: tf.Tensor, training: bool = False, layers: int = -1) -> tf.Tensor:
    """Projects embeddings.

    Args:
      embedding: `[B, f]`.
      layers: how many layers to apply; -1 for all.
    """
    x = embedding
    for layer, (dense, norm) in enumerate(zip(self.dense, self.batch_norms, strict=True)):
      if layer == layers:
        break
      x = norm(dense(x), training=training)
      x = tf.nn.relu(x) if layer < self.num_layers - 1 else x
    return x

  def first_layers(self, layers: int) -> list[tf.keras.layers.Layer]:
    """Returns the Keras layers that the first `layers` layers consist of; -1 for all."""
    count = self.num_layers if layers < 0 else layers
    return [*self.dense[:count], *self.batch_norms[:count]]


def build_projection_head(options: Training, **kwargs: Any) -> ProjectionHead:
  """Builds the projection head that the options describe."""
  return ProjectionHead(
    options.proj_head_mode,
    options.num_proj_layers,
    options.proj_out_dim,
    options.batch_norm_decay,
    options.global_bn,
    **kwargs,
  )


class LinearHead(tf.keras.Model):
  """The supervised head: one dense layer, `[B, f]` to logits `[B, outputs]`.

  Args:
    outputs: classes, or bits for ordinal labels.
    zero_init: whether it starts from zeros.
  """

  def __init__(self, outputs: int, zero_init: bool = False, **kwargs: Any) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    initializer = (
      tf.keras.initializers.Zeros()
      if zero_init
      else (tf.keras.initializers.RandomNormal(stddev=0.01))
    )
    self.dense = tf.keras.layers.Dense(outputs, kernel_initializer=initializer, dtype=self.dtype)

  def call(self, embedding: tf.Tensor) -> tf.Tensor:
    """Returns logits `[B, outputs]` of embeddings `[B, f]`."""
    return self.dense(embedding)
