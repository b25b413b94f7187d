"""Which device computes."""

import tensorflow as tf


def build_strategy():
  """The first GPU if there is one, else the CPU, as a `tf.distribute.Strategy`."""
  device = "/gpu:0" if tf.config.list_physical_devices("GPU") else "/cpu:0"
  return tf.distribute.OneDeviceStrategy(device)
