"""What two views of an image show without labels: alignment, and how sharp they are restored."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from conrec_tf.evaluation.label_free import alignment
from conrec_tf.metrics import ALIGNMENT, SHARPNESS
from conrec_tf.models import ConRec

IMAGES = 512  # as many are enough
EPSILON = 1e-12  # an energy, of even images


def view_measures(
  model: ConRec, batches: Iterable[dict[str, tf.Tensor]], layer: int
) -> dict[str, float]:
  """Measures how far apart clean views of an image are embedded, and how sharp it reconstructs.

  Args:
    model: the network.
    batches: of two views, as `validation_batches` makes them; the first are enough.
    layer: what is embedded; see `ConRec.representation`.

  Returns:
    `{name: number}` of `alignment`, and with a decoder of the gradient energy of reconstructions
    of corrupted views over that of the views themselves: 1 where they are as sharp.
  """
  embeddings: list[list[np.ndarray]] = [[], []]
  energies: list[list[np.ndarray]] = [[], []]
  for batch in batches:
    for side, images in zip(embeddings, tf.unstack(batch["target"], axis=1), strict=True):
      side.append(model.embed(images, layer=layer).numpy())
    if model.decoder:
      made = model.reconstruct(batch["corrupted"][:, 0])
      for side, images in zip(energies, (made, batch["target"][:, 0]), strict=True):
        side.append(gradient_energy(images.numpy()))
    if sum(map(len, embeddings[0])) >= IMAGES:
      break
  measures = {ALIGNMENT: alignment(*map(np.concatenate, embeddings))}
  if model.decoder:
    restored, whole = (float(np.mean(np.concatenate(side))) for side in energies)
    measures[SHARPNESS] = restored / max(whole, EPSILON)
  return measures


def gradient_energy(images: np.ndarray) -> np.ndarray:
  """Returns the mean squared difference of pixels from the next ones, down and to the right.

  Args:
    images: float `[B, H, W, C]`.

  Returns:
    float `[B]`; 0 for an even image.
  """
  return sum(np.mean(np.square(np.diff(images, axis=axis)), axis=(1, 2, 3)) for axis in (1, 2))
