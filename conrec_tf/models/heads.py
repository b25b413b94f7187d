"""What sits on the embedding while training."""

import tensorflow as tf

from conrec_tf.models.unet import BATCH_NORM_EPSILON


class ProjectionHead(tf.keras.Model):
  """From the embedding to the space of NT-Xent; `[B, f]` to `[B, out_dim]`.

  Dense layers without bias, each with batch norm, ReLU between them; hidden layers
  are as wide as the embedding and the last batch norm has no offset.

  Args:
    mode: nonlinear, linear (one layer) or none (the embedding itself).
    num_layers: layers of a nonlinear head.
    out_dim: width of the projection.
    batch_norm_decay: momentum of the moving statistics.
  """

  def __init__(self, mode="nonlinear", num_layers=3, out_dim=128, batch_norm_decay=0.9, **kwargs):
    super().__init__(**kwargs)
    self.num_layers = {"none": 0, "linear": 1, "nonlinear": num_layers}[mode]
    self.out_dim = out_dim
    self.batch_norm_decay = batch_norm_decay

  def build(self, input_shape):
    widths = [input_shape[-1]] * (self.num_layers - 1) + [self.out_dim] * (self.num_layers > 0)
    initializer = tf.keras.initializers.RandomNormal
    self.dense = [tf.keras.layers.Dense(width, use_bias=False,
                                        kernel_initializer=initializer(stddev=0.01))
                  for width in widths]
    self.batch_norms = [
        tf.keras.layers.BatchNormalization(
            momentum=self.batch_norm_decay, epsilon=BATCH_NORM_EPSILON,
            center=layer < self.num_layers - 1)
        for layer in range(self.num_layers)]
    super().build(input_shape)

  def call(self, embedding, training=False):
    x = embedding
    for layer, (dense, batch_norm) in enumerate(zip(self.dense, self.batch_norms)):
      x = tf.nn.relu(x) if layer else x
      x = batch_norm(dense(x), training=training)
    return x
