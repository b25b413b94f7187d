"""Somebody else's network: a SavedModel or an ONNX file."""

import csv
import json
import pathlib

from foreign_networks import saved
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.external import ExternalNetwork
from conrec_tf.pretrained.find import resolve_checkpoint

SIDE = 32


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """The first blocks of MobileNetV2, random, as SavedModel and ONNX file, and themselves."""
  tf2onnx = pytest.importorskip("tf2onnx")
  folder = tmp_path_factory.mktemp("external")
  tf.keras.utils.set_random_seed(1)
  whole = tf.keras.applications.MobileNetV2(
    (SIDE, SIDE, 3), alpha=0.35, include_top=False, weights=None
  )
  maps = whole.get_layer("block_2_add").output
  model = tf.keras.Model(whole.input, tf.keras.layers.GlobalAveragePooling2D()(maps))
  model.export(str(folder / "mobilenet"))
  tf2onnx.convert.from_keras(
    model,
    [tf.TensorSpec([None, SIDE, SIDE, 3])],
    opset=17,
    inputs_as_nchw=[model.inputs[0].name],
    output_path=str(folder / "mobilenet.onnx"),
  )
  return folder / "mobilenet", folder / "mobilenet.onnx", model


@pytest.mark.parametrize(
  "scaling, scaled",
  [
    ("unit", lambda images: images),
    ("symmetric", lambda images: 2 * images - 1),
    ("bytes", lambda images: 255 * images),
    ("imagenet", lambda images: (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
  ],
)
def test_both_files_give_what_the_network_gives(files, rng, scaling, scaled):
  *paths, model = files
  images = rng.random([5, SIDE, SIDE, 3]).astype(np.float32)
  expected = model(scaled(images).astype(np.float32)).numpy()
  for path in paths:
    network = ExternalNetwork(str(path), scaling, "", SIDE)
    assert network.channels == 3
    np.testing.assert_allclose(network.embed(tf.constant(images)), expected, atol=1e-4)


def test_a_graph_calls_both_files_alike(files, rng):
  images = rng.random([5, SIDE, SIDE, 3]).astype(np.float32)
  networks = [ExternalNetwork(str(path), "symmetric", "", 0) for path in files[:2]]
  assert [(network.image_size, network.width) for network in networks] == [(SIDE, 8)] * 2
  vectors = [tf.function(network.embed)(tf.constant(images)) for network in networks]
  np.testing.assert_allclose(*vectors, atol=1e-5)
  np.testing.assert_allclose(vectors[1], networks[1].embed(images), atol=1e-6)


@pytest.mark.slow
def test_a_file_is_evaluated_and_embedded_as_our_networks_are(files, tmp_path, rng):
  images = rng.random([60, SIDE, SIDE, 3], np.float32)
  labels = np.arange(60) % 3
  images[..., 0] *= labels[:, None, None] / 2
  data = {"x_train": images[:40], "y_train": labels[:40]}
  np.savez(tmp_path / "data.npz", **data, x_test=images[40:], y_test=labels[40:])
  results, vectors = [], []
  for place, path in enumerate(files[:2]):
    config = Config(
      **resolve_checkpoint(path).values,
      mode="eval",
      checkpoint=str(path),
      dataset="npz",
      data_dir=str(tmp_path / "data.npz"),
      image_size=SIDE,
      external_scaling="symmetric",
      model_dir=str(tmp_path / str(place)),
    )
    commands.run(config)
    folder = pathlib.Path(config.model_dir)
    results.append(json.loads((folder / "result.json").read_text()))
    assert len((folder / "predictions_0.csv").read_text().splitlines()) == 21
    for mode in ("embed", "explore", "predict"):
      commands.run(Config(**{**vars(config), "mode": mode}))
    with (folder / "predictions/data.csv").open() as file:
      rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    right = [row["predicted_class_name"] == row["class_name"] for row in rows]
    assert np.mean(right) == results[-1]["eval/standardised_linear_top_1_accuracy"]
    assert (folder / "explore/data/index.html").exists()
    with np.load(folder / "embeddings/data/train-00000-of-00001.npz") as archive:
      vectors.append(archive["embedding"])
  with pytest.raises(UsageError, match="--compare_with takes that of an evaluation"):
    commands.run(Config(**{**vars(config), "mode": "report"}))
  for name in ("eval/linear_top_1_accuracy", "eval/knn_accuracy"):
    assert results[0][name] == pytest.approx(results[1][name], abs=0.051), name
  assert vectors[0].shape == (40, 8)
  np.testing.assert_allclose(*vectors, atol=1e-4)


def test_what_a_network_takes_and_gives(tmp_path, rng):
  images = rng.random([5, 8, 8, 3], np.float32)
  fixed = saved(  # batches of 2, channels first, maps
    tmp_path / "fixed", lambda images: images[:, :, ::2], tf.TensorSpec([2, 3, 8, 8])
  )
  network = ExternalNetwork(fixed, "unit", "", 8)
  expected = images[:, ::2].mean(axis=(1, 2))
  np.testing.assert_allclose(network.embed(tf.constant(images)), expected, atol=1e-6)
  swapped = saved(  # channels first, but maps with channels last
    tmp_path / "swapped",
    lambda images: tf.transpose(images, [0, 2, 3, 1])[:, ::2, ::2],
    tf.TensorSpec([None, 3, 8, 8]),
  )
  network = ExternalNetwork(swapped, "unit", "", 8)
  expected = images[:, ::2, ::2].mean(axis=(1, 2))
  np.testing.assert_allclose(network.embed(tf.constant(images)), expected, atol=1e-6)
  assert network.width == 3
  free = saved(  # whole numbers, channels last by its kernel alone, a sequence
    tmp_path / "free",
    lambda images: tf.reshape(
      tf.nn.conv2d(tf.cast(images, tf.float32), tf.ones([1, 1, 3, 4]), 1, "SAME"), [-1, 64, 4]
    ),
    tf.TensorSpec([None, None, None, None], tf.uint8),
  )
  network = ExternalNetwork(free, "bytes", "", 8)
  first = np.rint(255 * images[:, 0, 0]).sum(axis=1, keepdims=True)
  np.testing.assert_allclose(network.embed(tf.constant(images)), np.repeat(first, 4, 1))
  two = saved(
    tmp_path / "two",
    lambda images: {"a": images[:, 0, 0], "b": images[:, 1, 1]},
    tf.TensorSpec([None, 8, 8, 3]),
  )
  network = ExternalNetwork(two, "unit", "b", 8)
  np.testing.assert_allclose(network.embed(tf.constant(images)), images[:, 1, 1])


def test_what_is_chosen_without_being_asked_for_is_said(tmp_path, caplog):
  caplog.set_level("INFO", "conrec_tf")
  two = saved(
    tmp_path / "two",
    lambda images: {"b": images[:, 0, 0], "a": images[:, 1, 1]},
    tf.TensorSpec([None, None, None, 3]),
  )
  ExternalNetwork(two, "unit", "b", 8)
  assert "--external_output" not in caplog.text and "here of 8 pixels (--image_size)" in caplog.text
  ExternalNetwork(two, "unit", "", 8)
  assert "Of the outputs a, b of" in caplog.text and "--external_output" in caplog.text


@pytest.mark.parametrize(
  "sides, message",
  [
    ((8, 6), "checkpoint must take square images, for .*net, which takes .any, 8, 6, 3."),
    ((None, 6), "image_size must be 6, for .*net, which takes .any, any, 6, 3.. Received: 8"),
  ],
)
def test_images_that_are_not_square_are_refused(tmp_path, sides, message):
  spec = tf.TensorSpec([None, *sides, 3])
  path = saved(tmp_path / "net", lambda images: images[:, 0, 0], spec)
  with pytest.raises(UsageError, match=message):
    ExternalNetwork(path, "unit", "", 8)


@pytest.mark.parametrize(
  "kind, expected",
  [("DOUBLE", 76.5), ("FLOAT16", 76.5), ("INT32", 76.0), ("UINT8", 76.0), ("INT8", None)],
)
def test_onnx_files_that_take_other_numbers(tmp_path, kind, expected):
  onnx = pytest.importorskip("onnx")
  taken, numbers = getattr(onnx.TensorProto, kind), onnx.TensorProto.FLOAT
  nodes = [
    onnx.helper.make_node("Cast", ["images"], ["floats"], to=numbers),
    onnx.helper.make_node("GlobalAveragePool", ["floats"], ["means"]),
    onnx.helper.make_node("Flatten", ["means"], ["vectors"]),
  ]
  ends = [
    onnx.helper.make_tensor_value_info(name, type_, shape)
    for name, type_, shape in (("images", taken, [None, 3, 8, 8]), ("vectors", numbers, [None, 3]))
  ]
  graph = onnx.helper.make_graph(nodes, "means", ends[:1], ends[1:])
  model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
  model.ir_version = 9
  onnx.save(model, tmp_path / "means.onnx")
  if expected is None:
    with pytest.raises(UsageError, match="whole numbers up to 255. Received: .*onnx, .* int8"):
      ExternalNetwork(str(tmp_path / "means.onnx"), "bytes", "", 8)
    return
  network = ExternalNetwork(str(tmp_path / "means.onnx"), "bytes", "", 8)
  vectors = network.embed(tf.fill([2, 8, 8, 3], 0.3))  # 76.5 of 255, rounded to even
  np.testing.assert_allclose(vectors, np.full([2, 3], expected), rtol=1e-3)


def test_what_is_refused(files, tmp_path):
  path = saved(tmp_path / "net", lambda images: images[:, 0, 0], tf.TensorSpec([None, 8, 8, 3]))
  for arguments, message in (
    (("unit", "", 16), "image_size must be 8, for .*net, which takes .any, 8, 8, 3.. Received: 16"),
    (("unit", "x", 8), "external_output must be one of output_0, for .*net. Received: x"),
  ):
    with pytest.raises(UsageError, match=message):
      ExternalNetwork(path, *arguments)
  signed = saved(
    tmp_path / "signed",
    lambda images: tf.cast(images[:, 0, 0], tf.float32),
    tf.TensorSpec([None, 8, 8, 3], tf.int8),
  )
  with pytest.raises(UsageError, match="whole numbers up to 255. Received: .*signed, .* int8"):
    ExternalNetwork(signed, "bytes", "", 8)
  with pytest.raises(UsageError, match="image_channels must be 3 for .*net. Received: 1"):
    ExternalNetwork(path, "unit", "", 8).embed(tf.zeros([2, 8, 8, 1]))
  with pytest.raises(UsageError, match="image_size must be 32, for .*onnx"):
    ExternalNetwork(str(files[1]), "unit", "", 64)
  grey = saved(tmp_path / "grey", lambda images: images[:, 0, 0], tf.TensorSpec([None, 8, 8, 1]))
  with pytest.raises(UsageError, match="external_scaling must not be imagenet, which is for RGB"):
    ExternalNetwork(grey, "imagenet", "", 8)
  whole = saved(
    tmp_path / "whole", lambda images: images[:, 0, 0], tf.TensorSpec([None, 8, 8, 3], tf.uint8)
  )
  with pytest.raises(UsageError, match="external_scaling must be bytes for .*whole.* Received: un"):
    ExternalNetwork(whole, "unit", "", 8)
  vectors = saved(tmp_path / "vectors", lambda vectors: vectors, tf.TensorSpec([None, 8]))
  with pytest.raises(UsageError, match=r"must take images, .*which takes \[any, 8\]"):
    ExternalNetwork(vectors, "unit", "", 8)
  pair = saved(tmp_path / "pair", tf.add, *[tf.TensorSpec([None, 8, 8, 3])] * 2)
  with pytest.raises(UsageError, match="must take one input, images. Received: .*pair"):
    ExternalNetwork(pair, "unit", "", 8)
  broken = tmp_path / "broken.onnx"
  broken.write_bytes(b"no network")
  with pytest.raises(UsageError, match="must be an ONNX file that can be read .*broken.onnx"):
    ExternalNetwork(str(broken), "unit", "", 8)
  (tmp_path / "net/saved_model.pb").write_bytes(b"no network")
  with pytest.raises(UsageError, match="must be a SavedModel that can be read .*net"):
    ExternalNetwork(path, "unit", "", 8)


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(mode="export"), "checkpoint must be a network of this package"),
    (dict(mode="train"), "checkpoint must be a network of this package"),
    (dict(mode="eval", ft_proj_selector=1), "ft_proj_selector must be 0 for an external"),
  ],
)
def test_what_an_external_network_is_not_for(tmp_path, values, message):
  file = tmp_path / "net.onnx"
  file.write_bytes(b"")
  with pytest.raises(UsageError, match=message):
    Config(**resolve_checkpoint(file).values, checkpoint=str(file), **values)


@pytest.mark.parametrize("mode", ["eval", "embed", "explore", "predict"])
def test_what_an_external_network_is_for(tmp_path, mode):
  file = tmp_path / "net.onnx"
  file.write_bytes(b"")
  values = resolve_checkpoint(file).values
  assert Config(**values, checkpoint=str(file), mode=mode).encoder == "external"


def test_its_options_are_its_own():
  with pytest.raises(UsageError, match="external_scaling must be left out unless"):
    Config(external_scaling="bytes")


@pytest.mark.parametrize("mode", ["eval", "embed"])
def test_an_image_without_finite_numbers_is_refused_by_name(tmp_path, rng, mode):
  path = saved(  # 0 by 0 of a black image
    tmp_path / "net",
    lambda images: images[:, 0, 0] / tf.reduce_max(images, axis=[1, 2, 3])[:, tf.newaxis],
    tf.TensorSpec([None, 8, 8, 3]),
  )
  images = rng.integers(1, 256, (20, 8, 8, 3)).astype(np.uint8)
  images[[17, 19]] = 0
  arrays = dict(x_train=images[:16], x_test=images[16:])
  labels = dict(y_train=np.arange(16) % 2, y_test=np.arange(4) % 2)
  np.savez(tmp_path / "images.npz", **arrays, **labels)
  config = Config(
    **resolve_checkpoint(path).values,
    **dict(dataset="npz", data_dir=str(tmp_path / "images.npz"), image_size=8),
    **dict(checkpoint=path, model_dir=str(tmp_path / "run"), mode=mode),
  )
  with pytest.raises(UsageError, match=r"finite numbers .* others for 2 of 4 of test, e\.g\. 1$"):
    commands.run(config)
