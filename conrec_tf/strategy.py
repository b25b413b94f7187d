"""Which device computes."""

import tensorflow as tf

from conrec_tf.config import UsageError


def build_strategy(jit_compile=False):
  """The first GPU if there is one, else the CPU, as a `tf.distribute.Strategy`.

  Args:
    jit_compile: whether XLA is to compile the training step.

  Raises:
    UsageError: it is, and there is no GPU.
  """
  gpu = tf.config.list_physical_devices("GPU")
  if jit_compile and not gpu:
    raise UsageError("jit_compile must be false without a GPU: on processors compiled steps are "
                     "slower. Received: true")
  return tf.distribute.OneDeviceStrategy("/gpu:0" if gpu else "/cpu:0")
