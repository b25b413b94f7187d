"""Compares the network of Keras 3 with what `experiments.keras3.write` kept, and times it.

    KERAS_BACKEND=jax python -m experiments.keras3.compare keras2.npz

It imports nothing of the package, which would choose Keras 2.
"""

import sys

import keras
import numpy as np

from experiments.keras3.networks import ConRec
from experiments.keras3.timing import milliseconds
from experiments.keras3.weights import variables

CALLS = 20


class Reconstruction(keras.Model):
  """A network of which the reconstruction alone learns."""

  def __init__(self, network):
    super().__init__()
    self.encoder, self.decoder = network.encoder, network.decoder

  def call(self, images, training=False):
    return self.decoder(*self.encoder(images, training=training), training=training)


def main(path):
  """Prints differences and times."""
  kept = np.load(path)
  images = kept["images"]
  network = ConRec(channels=3, base_filters=16, depth=4, with_skips=1)
  network(images[:1])
  for name, variable in variables(network):
    variable.assign(kept[f"weights/{name}"])
  embedding, reconstruction = network.predict_on_batch(images)
  for name, found in (("embedding", embedding), ("reconstruction", reconstruction)):
    difference = np.max(np.abs(found - kept[name]))
    print(f"{name}: {difference:.1e} of at most {np.max(np.abs(kept[name])):.2f}")
    assert difference < 1e-5 * max(1.0, np.max(np.abs(kept[name])))
  forward = milliseconds(lambda: network.predict_on_batch(images), CALLS)
  learner = Reconstruction(network)
  learner.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=keras.backend.backend() == "jax")
  step = milliseconds(lambda: learner.train_on_batch(images, images), CALLS)
  title = f"Keras {keras.__version__} on {keras.backend.backend()}"
  print(f"{title}: forward {forward:.0f} ms, step {step:.0f} ms")


if __name__ == "__main__":
  main(sys.argv[1])
