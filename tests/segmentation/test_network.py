"""Whole images through the network: tiles, odd sizes, mirror images."""

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.export.onnx_tflite import onnx_bytes, run_onnx
from conrec_tf.models import build_model
from conrec_tf.segmentation.network import (
  Segmenter,
  build_segmentation_head,
  segment_images,
  segmentation_logits,
)
from conrec_tf.segmentation.tiling import predict_image


def make_segmenter(depth=2, **values):
  config = Config(train_mode="segment", dataset="image_folder", base_filters=3, unet_depth=depth)
  model = build_model(config, 3)
  head = build_segmentation_head(model, 3, 4)
  for number, variable in enumerate(model.variables + head.variables):
    variable.assign_add(tf.random.stateless_uniform(variable.shape, [number, 0], 0.0, 0.2))
  return model, head, Segmenter(model, head, **values)


def test_pixels_of_which_nothing_is_known_are_no_background():
  _, head, segmenter = make_segmenter()
  head.convolution.bias.assign(np.full(4, np.nan))
  with pytest.raises(UsageError, match="finite numbers for each pixel. Received: .* of 16 x 24"):
    segmenter(np.zeros([16, 24, 3], np.float32))


@pytest.mark.parametrize("size", [(64, 64), (200, 97), (131, 255), (33, 300)])
@pytest.mark.parametrize("depth", [2, 3])
def test_tiles_say_what_the_whole_says(rng, size, depth):
  image = rng.uniform(size=(*size, 3)).astype(np.float32)
  model, head, tiled = make_segmenter(depth, tile=64)
  whole = Segmenter(model, head, tile=1024)(image)
  assert whole.shape == (*size, 4)
  np.testing.assert_allclose(whole.sum(axis=-1), 1.0, rtol=1e-5)
  assert whole.std() > 0.01
  # Logits are tens here: their last bits, which differ by kernel, are the fourth digit.
  np.testing.assert_allclose(tiled(image), whole, atol=1e-3)


def test_a_fitting_image_is_the_network_itself(rng):
  image = rng.uniform(size=(32, 48, 3)).astype(np.float32)
  model, head, segmenter = make_segmenter()
  expected = tf.nn.softmax(segmentation_logits(model, head, image[np.newaxis]))[0]
  np.testing.assert_allclose(segmenter(image), expected, atol=1e-3)


def test_an_onnx_file_takes_images_of_any_size(rng, tmp_path):
  pytest.importorskip("tf2onnx", reason="needs requirements-onnx.txt")
  model, head, segmenter = make_segmenter(3)
  spec = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
  compute = lambda images: segment_images(model, head, images)
  (tmp_path / "network.onnx").write_bytes(onnx_bytes(compute, spec, ["probabilities"]))
  for size in ((16, 24), (17, 31), (3, 45)):
    image = rng.uniform(size=(*size, 3)).astype(np.float32)
    made = run_onnx(tmp_path / "network.onnx", image[np.newaxis], "probabilities")[0]
    assert made.shape == (*size, 4)
    np.testing.assert_allclose(made, segmenter(image), atol=1e-3)


def test_mirror_images_are_averaged(rng):
  image = rng.uniform(size=(32, 48, 3)).astype(np.float32)
  _, _, segmenter = make_segmenter(flips=True)
  np.testing.assert_allclose(segmenter(image[:, ::-1]), segmenter(image)[:, ::-1], atol=1e-5)


def test_seams_are_blended_linearly():
  """A network that says in which call it was."""
  calls = []

  def predict(tiles):
    calls.append(None)
    return np.full([*tiles.shape[:3], 1], float(len(calls)), np.float32)

  made = predict_image(
    predict, np.zeros([8, 80, 1], np.float32), stride=4, context=16, tile=40, outputs=1
  )
  assert len(calls) == 3
  assert np.all(made[:, :24] == 1.0) and np.all(made[:, 64:] == 3.0)
  assert np.all(np.diff(made[0, :, 0]) >= 0) and np.abs(np.diff(made[0, :, 0])).max() < 0.15
