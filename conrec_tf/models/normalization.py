"""Batch norm over all replicas."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from conrec_tf.distribute import replicas


def batch_norm(synchronized: bool, **values: Any) -> tf.keras.layers.BatchNormalization:
  """Returns Keras' batch norm of some arguments or, with several replicas, one over all of them."""
  if replicas.num_replicas() == 1:
    return tf.keras.layers.BatchNormalization(**values)
  return SyncBatchNormalization(synchronized, **values)


def recompute_statistics(
  model: tf.keras.Model, forward: Callable[[tf.Tensor], Any], batches: Iterable[tf.Tensor]
) -> None:
  """Sets the moving statistics of a network's batch norms to their means over batches of images.

  The network is on one device, and `forward` runs it in training mode.
  """
  layers = [
    layer for layer in model.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)
  ]
  momenta = [layer.momentum for layer in layers]
  for seen, images in enumerate(batches):
    for layer in layers:
      layer.momentum = seen / (seen + 1)
    forward(images)
  for layer, momentum in zip(layers, momenta, strict=True):
    layer.momentum = momentum


def replace_batch_norm(network: tf.keras.Model, synchronized: bool) -> tf.keras.Model:
  """Returns a functional Keras network with its batch norms replaced by those of `batch_norm`."""
  if replicas.num_replicas() == 1:
    return network
  cloned = tf.keras.models.clone_model(
    network, clone_function=lambda layer: cloned_layer(layer, synchronized)
  )
  cloned.set_weights(network.get_weights())
  return cloned


def cloned_layer(
  layer: tf.keras.layers.Layer,
  synchronized: bool,
  kind: type[tf.keras.layers.Layer] | None = None,
  **changes: Any,
) -> tf.keras.layers.Layer:
  """Returns a layer of the same arguments, whose weights are to be set; of batch norm, ours.

  Args:
    kind: its class; None for that of `layer`.
    changes: arguments that it has otherwise.
  """
  values = layer.get_config() | changes
  for name in ("kernel_initializer", "depthwise_initializer"):
    if name in values:
      # Or random numbers were drawn, and what is made next wouldn't start as on one device.
      values[name] = "zeros"
  if isinstance(layer, tf.keras.layers.BatchNormalization):
    return batch_norm(**{**values, "synchronized": synchronized})
  return (kind or type(layer)).from_config(values)


class SyncBatchNormalization(tf.keras.layers.BatchNormalization):
  """Batch norm that gives, synchronized, what Keras' gives for the whole batch on one device.

  Keras' own `synchronized=True` keeps another moving variance than its fused batch norm (which
  divides by n - 1) and loses digits to E[x^2] - E[x]^2; here the variance is the mean of the
  replicas' variances and the variance of their means, which can't be negative.

  Moving statistics are the first replica's: equal on all if synchronized, and read without
  asking the others, so that one process alone can evaluate and save.
  """

  def __init__(self, synchronized: bool, **kwargs: Any) -> None:
    super().__init__(**kwargs)
    self.over_replicas = synchronized

  def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
    kwargs.update(
      synchronization=tf.VariableSynchronization.AUTO, aggregation=tf.VariableAggregation.NONE
    )
    return super().add_weight(*args, **kwargs)

  def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    if not (training and self.trainable and self.over_replicas):
      return super().call(inputs, training=training)
    x = tf.cast(inputs, self.moving_mean.dtype)
    mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
    own_mean = mean
    [mean] = replicas.all_reduce_mean([own_mean])
    [variance] = replicas.all_reduce_mean([variance + (own_mean - mean) ** 2])
    size = tf.cast(tf.size(x), x.dtype) / x.shape[-1] * replicas.num_replicas()
    seen = variance * size / (size - 1.0) if self.fused else variance
    for moving, value in ((self.moving_mean, mean), (self.moving_variance, seen)):
      moving.assign_sub((moving - value) * (1.0 - self.momentum))
    outputs = tf.nn.batch_normalization(
      x,
      mean,
      variance,
      self.beta if self.center else None,
      self.gamma if self.scale else None,
      self.epsilon,
    )
    return tf.cast(outputs, inputs.dtype)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), "synchronized": self.over_replicas}
