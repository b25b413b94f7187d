"""Writes weights, images, and what the package makes of them, for `experiments.keras3.compare`.

python -m experiments.keras3.write keras2.npz
"""

import sys

import numpy as np
import tensorflow as tf

from conrec_tf.commands.tasks import portable_network
from conrec_tf.config import Config
from conrec_tf.pretrained.find import resolve_checkpoint
from experiments.keras3.timing import milliseconds
from experiments.keras3.weights import variables

NETWORK = "networks/oxford_flowers102_64px"
BATCH, CALLS = 32, 20


def main(path):
  """Writes an archive of arrays by name."""
  with tf.device("CPU:0"):
    own, model, _ = portable_network(Config(), resolve_checkpoint(NETWORK))
  assert model.decoder
  encoder, pooling, decoder = model.encoder, model.pooling, model.decoder
  images = np.random.default_rng(0).random([BATCH, 64, 64, 3], np.float32)
  kept = {f"weights/{name}": variable.numpy() for name, variable in variables(model)}

  @tf.function(autograph=False)
  def forward(images):
    features, skips = encoder(images)
    averages = [tf.reduce_mean(level, axis=[1, 2]) for level in skips]
    reconstruction, _ = decoder(features, skips)
    return tf.concat([*averages, pooling(features)], axis=-1), reconstruction

  optimizer = tf.keras.optimizers.SGD(1e-4)
  learnt = [*encoder.trainable_variables, *decoder.trainable_variables]

  @tf.function(autograph=False)
  def step(images):
    with tf.GradientTape() as tape:
      features, skips = encoder(images, training=True)
      reconstruction, _ = decoder(features, skips, training=True)
      loss = tf.reduce_mean((reconstruction - images) ** 2)
    optimizer.apply_gradients(zip(tape.gradient(loss, learnt), learnt, strict=True))
    return loss

  batch = tf.constant(images)
  embedding, reconstruction = forward(batch)
  np.testing.assert_allclose(embedding, model.representation(batch), atol=1e-6)
  times = milliseconds(lambda: forward(batch)[0].numpy(), CALLS)
  steps = milliseconds(lambda: step(batch).numpy(), CALLS)
  print(f"TensorFlow {tf.__version__}, Keras 2: forward {times:.0f} ms, step {steps:.0f} ms")
  np.savez(path, images=images, embedding=embedding, reconstruction=reconstruction, **kept)
  print(f"{own.base_filters} filters, {len(kept)} arrays of weights in {path}")


if __name__ == "__main__":
  main(sys.argv[1])
