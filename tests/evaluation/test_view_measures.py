"""How sharp reconstructions are, by hand and of a network."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.evaluation.label_free import alignment
from conrec_tf.evaluation.view_measures import gradient_energy, view_measures
from conrec_tf.metrics import ALIGNMENT, SHARPNESS
from conrec_tf.models import build_model


def test_gradient_energy_by_hand():
  even = np.full([4, 6, 2], 0.3)
  columns = np.tile([0.0, 1.0], [4, 3])[..., np.newaxis].repeat(2, axis=-1)
  half = np.zeros([4, 6, 2])
  half[2:] = 1.0
  np.testing.assert_allclose(
    gradient_energy(np.stack([even, columns, half])), [0.0, 1.0, 1 / 3], atol=1e-12
  )


@pytest.mark.parametrize("reconstruction_weight", [0.0, 100.0])
def test_of_a_network(rng, reconstruction_weight):
  model = build_model(Config(base_filters=2, reconstruction_weight=reconstruction_weight))
  batches = [
    {
      name: tf.constant(rng.uniform(size=(3, 2, 32, 32, 1)).astype(np.float32))
      for name in ("corrupted", "target")
    }
    for _ in range(2)
  ]
  found = view_measures(model, batches, layer=0)
  views = [np.concatenate([batch["target"][:, side] for batch in batches]) for side in (0, 1)]
  aligned = alignment(*(model.embed(images).numpy() for images in views))
  assert found[ALIGNMENT] == pytest.approx(aligned, rel=1e-4)
  if not reconstruction_weight:
    assert SHARPNESS not in found
    return
  corrupted = np.concatenate([batch["corrupted"][:, 0] for batch in batches])
  made = model(corrupted).reconstruction.numpy()
  expected = gradient_energy(made).mean() / gradient_energy(views[0]).mean()
  assert found[SHARPNESS] == pytest.approx(expected, rel=1e-4)
