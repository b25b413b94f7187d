"""Somebody else's networks, made up: SavedModels that map images to vectors."""

import numpy as np
import tensorflow as tf

WIDTH = 5


def saved(path, function, *specs):
  """Writes a SavedModel of one signature; returns its path."""
  module = tf.Module()
  module.function = tf.function(function, input_signature=specs)
  tf.saved_model.save(module, str(path), signatures=module.function)
  return str(path)


def quarters(path, side=None, channels=3, seed=0, rounds=0):
  """Writes one that sees the means of an image's quarters; returns its path.

  It has weights, `kernel`, and gives `WIDTH` numbers. So many rounds of what changes nothing make
  it slow.
  """
  rng = np.random.default_rng(seed)
  module = tf.Module()
  module.kernel = tf.Variable(rng.normal(size=[4 * channels, WIDTH]), dtype=tf.float32)

  def embed(images):
    halves = tf.split(tf.image.resize(images, [2, 2], antialias=True), 2, axis=1)
    means = tf.concat([tf.reshape(half, [-1, 2 * channels]) for half in halves], axis=1)
    idle = tf.eye(500)
    if rounds:
      _, idle = tf.while_loop(
        lambda number, _: number < rounds,
        lambda number, square: (number + 1, tf.matmul(square, square)),
        (0, idle),
      )
    means *= idle[0, 0]
    return tf.tanh(tf.matmul(means - 0.5, module.kernel))

  spec = tf.TensorSpec([None, side, side, channels])
  module.function = tf.function(embed, input_signature=[spec], autograph=False)
  tf.saved_model.save(module, str(path), signatures=module.function)
  return str(path)
