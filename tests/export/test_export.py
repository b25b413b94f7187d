import dataclasses
import io
import json
import re
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
import tensorflow_hub as hub

import conrec_tf
from conrec_tf.commands import export as command
from conrec_tf.commands.export import export_network
from conrec_tf.commands.tasks import portable_network
from conrec_tf.config import Config
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.export import export as exporting
from conrec_tf.export import saved_model
from conrec_tf.models import build_head, build_model
from conrec_tf.pretrained.find import PretrainedModel, network_digest, resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.classifier_file import KeptClassifier, write_classifier
from conrec_tf.run_dir.run_directory import RunDirectory

LOAD = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], model(images))
assert "conrec_tf" not in sys.modules
"""


def built(**values):
  """A config, its network and head, their moving statistics as after a training."""
  config = Config(
    base_filters=4,
    unet_depth=2,
    image_size=24,
    image_channels=3,
    lineareval_while_pretraining="train_mode" not in values,
    **values,
  )
  model = build_model(config)
  head = build_head(config, model, 3, 5)
  for variable in model.variables + head.variables:
    variable.assign_add(tf.random.stateless_uniform(variable.shape, [0, 1], -0.05, 0.05))
  return config, model, head


def saved(model_dir, config, model, head, step=7):
  """Makes a folder that of a run with one checkpoint."""
  directory = RunDirectory(model_dir)
  directory.start(config)
  directory.write(
    "images.json", {"channels": 3, "center_crop": False, "class_names": list("abcde")}
  )
  directory.write(f"result_{step}.json", {"global_step": step, "eval/knn_accuracy": 0.5})
  Checkpoints(model_dir, 1, {"model": model, "head": head}).save(step)
  return directory


@pytest.fixture(scope="module")
def network():
  """(config, network, head), which are only read."""
  return built()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
  """(folder of the SavedModel, config, network, head)."""
  model_dir = tmp_path_factory.mktemp("run")
  directory = saved(model_dir, *network)
  export_network(network[0], resolve_checkpoint(model_dir), directory)
  return model_dir / "saved_model/7", *network


@pytest.fixture(scope="module")
def loaded(exported):
  """The SavedModel in memory."""
  return tf.saved_model.load(str(exported[0]))


@pytest.fixture
def images(rng):
  return rng.uniform(size=(3, 24, 24, 3)).astype(np.float32)


def test_saved_model_loads_with_tensorflow_alone(exported, tmp_path, rng):
  images = rng.uniform(size=(3, 32, 48, 3)).astype(np.float32)  # another size
  np.save(tmp_path / "images.npy", images)
  subprocess.run(
    [sys.executable, "-c", LOAD, exported[0], "images.npy", "out.npy"],
    cwd=tmp_path,
    check=True,
    env={"TF_CPP_MIN_LOG_LEVEL": "3"},
  )
  embeddings = np.load(tmp_path / "out.npy")
  assert embeddings.dtype == np.float32
  np.testing.assert_allclose(embeddings, exported[2].embed(images), atol=1e-5)


def test_saved_model_has_parts_and_signatures(loaded, exported, images):
  _, _, model, head = exported
  parts = [model.encoder, model.pooling]
  assert len(loaded.variables) == sum(len(part.variables) for part in parts)
  assert len(loaded.trainable_variables) == sum(len(part.trainable_variables) for part in parts)
  assert list(loaded.regularization_losses) == []

  outputs, features = model(images), model.encoder(images)[0]
  expected = {
    "projection": outputs.projection,
    "reconstruction": outputs.reconstruction,
    "attention": model.pooling.attention(features),
    "logits": head(outputs.embedding),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(getattr(loaded, name)(images), value, atol=1e-4, err_msg=name)
  expected["embedding"] = outputs.embedding
  for signature, name in (
    ("serving_default", "embedding"),
    ("reconstruct", "reconstruction"),
  ):
    served = loaded.signatures[signature](images=images)
    assert set(served) == {name}
    np.testing.assert_allclose(served[name], expected[name], atol=1e-4)
  served = loaded.signatures["classify"](images=images)
  assert set(served) == {"logits", "probabilities", "class"}
  logits = expected["logits"].numpy()
  np.testing.assert_allclose(served["logits"], logits, atol=1e-4)
  exponentials = np.exp(logits)
  shares = exponentials / exponentials.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(served["probabilities"], shares, atol=1e-4)
  np.testing.assert_array_equal(served["class"], logits.argmax(axis=1))
  statistics = [variable.numpy() for variable in loaded.variables]
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded(images, training=True) ** 2)
  for variable, value in zip(loaded.variables, statistics, strict=True):
    variable.assign(value)
  assert all(g is not None for g in tape.gradient(loss, loaded.trainable_variables))


def test_encoded_images_go_through_the_evaluations_preprocessing(loaded, exported, rng):
  model = exported[2]
  pixels = rng.integers(0, 256, (2, 30, 36, 3)).astype(np.uint8)
  encoded = [tf.io.encode_png(pixels[0]), tf.io.encode_png(pixels[1][..., :1])]  # grey, too
  served = loaded.signatures["encoded_images"](encoded_images=tf.stack(encoded))
  pixels[1] = pixels[1][..., :1]
  resized = tf.clip_by_value(tf.image.resize(pixels, [24, 24], "bicubic") / 255.0, 0.0, 1.0)
  np.testing.assert_allclose(served["embedding"], model.embed(resized), atol=1e-4)


def test_encoded_images_are_turned_upright(loaded, rng):
  image = Image.fromarray(rng.integers(0, 256, (36, 30, 3)).astype(np.uint8))
  exif = Image.Exif()
  exif[0x0112] = 6
  files = []
  for stored, options in (
    (image, {}),
    (image.transpose(Image.Transpose.ROTATE_90), {"exif": exif}),
  ):
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", **options)
    files.append(buffer.getvalue())
  upright, turned = loaded.signatures["encoded_images"](encoded_images=tf.constant(files))[
    "embedding"
  ]
  np.testing.assert_allclose(upright, turned, atol=1e-5)


@pytest.mark.parametrize("scaled", [True, False])
def test_encoded_images_are_what_evaluation_sees(network, tmp_path, rng, scaled):
  """Files of 12 bits in 16, of 8, and a large photograph on its side."""
  ramp = np.sort(rng.integers(0, 4096, (40, 50)).astype(np.uint16), axis=1)
  coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
  large = coarse.resize((320, 240), Image.Resampling.BICUBIC)
  exif = Image.Exif()
  exif[0x0112] = 6
  Image.fromarray(ramp).save(tmp_path / "0.png")
  large.resize((30, 40)).save(tmp_path / "1.png")
  large.save(tmp_path / "2.jpg", exif=exif.tobytes())
  config = Config(
    dataset="image_folder",
    data_dir=str(tmp_path),
    train_split="train+test",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    image_bits=12,
    scaled_decoding=scaled,
  )
  source = load_dataset(config)
  assert source.channels == 3
  [(images, _)] = evaluation_batches(source, source.train.records(), 24, 3)
  files = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
  _, model, _ = network
  metadata = exporting.metadata(config, PretrainedModel("checkpoint", ""), 3, True)
  exported = saved_model.exported_representation(model, None, metadata | {"center_crop": True})
  _, signatures = saved_model.reusable(exported, 3, 24)
  served = signatures["encoded_images"](encoded_images=tf.constant(files))["embedding"]
  np.testing.assert_allclose(served, model.representation(images), rtol=1e-6, atol=1e-6)
  levels = np.unique(images[0, ..., 0])
  assert len(levels) > 300  # 8 bits would hold 256


def test_saved_model_has_metadata(exported):
  path, config, _, _ = exported
  metadata = json.loads((path / "assets/metadata.json").read_text())
  assert metadata["class_names"] == list("abcde") and metadata["image_size"] == 24
  assert metadata["flags"] == config.settings and metadata["global_step"] == 7
  assert metadata["result"]["eval/knn_accuracy"] == 0.5
  assert {"git_revision", "versions", "channels"} <= set(metadata)


@pytest.mark.parametrize("measured, expected", [(True, 0.75), (False, 0.5)])
def test_metadata_has_the_numbers_of_the_folder_that_has_the_classifier(
  exported, tmp_path, monkeypatch, measured, expected
):
  path, config, _, _ = exported
  pretrained = resolve_checkpoint(path.parents[1])
  digest = network_digest(pretrained) if measured else "of another network"
  result = {"global_step": 7, "eval/knn_accuracy": 0.75, "measured_on": {"network": digest}}
  RunDirectory(tmp_path).write("result_7.json", result)
  described = []
  monkeypatch.setattr(command, "write_exports", lambda *args: described.append(args[2]))
  export_network(config, pretrained, RunDirectory(tmp_path))
  assert described[0]["result"]["eval/knn_accuracy"] == expected


def test_an_export_of_other_images_has_no_classifier_and_the_levels_that_are_asked_for(
  tmp_path, rng, monkeypatch
):
  config, model, head = built(representation_levels="last")
  config = dataclasses.replace(config, lineareval_while_pretraining=False)
  directory = saved(tmp_path, config, model, head)
  vectors, labels = rng.normal(size=(40, model.embed(tf.zeros([1, 24, 24, 3])).shape[1])), [0, 1]
  fitted = {False: Classes(2).fit((vectors, np.array(labels * 20)), False)}
  kept = KeptClassifier(
    "classes",
    ("a", "b"),
    model.digest(),
    fitted,
    KnownImages.of_embeddings(vectors, np.arange(40)),
    {"evaluation_size": 24, "center_crop": False},
  )
  write_classifier(directory, 7, kept)
  found, results, crops = [], [], []

  def write_exports(exported, formats, described, directory):
    found.append(exported)
    results.append(described["result"].get("eval/knn_accuracy"))
    crops.append(described["center_crop"])

  monkeypatch.setattr(command, "write_exports", write_exports)
  asked = [
    {},
    dict(eval_image_size=32),
    dict(eval_crop="center"),
    dict(representation_levels="all"),
  ]
  for changes in asked:
    export_network(dataclasses.replace(config, **changes), resolve_checkpoint(tmp_path), directory)
  assert [bool(each.classifier) for each in found] == [True, False, False, False]
  assert results == [0.5, None, None, None]  # which was measured of the first
  widths = [each.call(tf.zeros([1, 24, 24, 3]), False).shape[1] for each in found]
  assert widths[0] == widths[1] == widths[2] < widths[3]
  assert crops == [False, False, True, False]


def test_an_export_is_given_images_as_the_network_was_evaluated(exported, tmp_path, monkeypatch):
  """Where the network doesn't say it, as a file of the authors', or another way is asked for."""
  path, config, _, _ = exported
  pretrained = dataclasses.replace(resolve_checkpoint(path.parents[1]), center_crop=None)
  own = dataclasses.replace(
    config, checkpoint=str(path.parents[1]), lineareval_while_pretraining=False
  )
  directory = RunDirectory(tmp_path)
  monkeypatch.setattr(command, "write_exports", lambda *args: args[2]["center_crop"])
  found = [export_network(own, pretrained, directory)]
  data = {"network": network_digest(pretrained), "center_crop": False}
  directory.write("measured_on.json", {"measured_on": data})
  for asked in ("auto", "center", "none"):
    asked_for = dataclasses.replace(own, eval_crop=asked)
    found.append(export_network(asked_for, pretrained, directory))
  assert found == [True, False, True, False]


@pytest.mark.parametrize("trainable", [True, False])
def test_tensorflow_hub_finetunes_the_saved_model(exported, images, trainable):
  layer = hub.KerasLayer(str(exported[0]), trainable=trainable)
  model = tf.keras.Sequential([layer, tf.keras.layers.Dense(2)])
  model.compile("sgd", "mse")
  model.build([None, 24, 24, 3])
  before = [weight.numpy() for weight in layer.weights]
  history = model.fit(images, np.eye(3, 2), epochs=3, verbose=0).history["loss"]
  assert history[-1] < history[0]
  moved = [not np.array_equal(a, b) for a, b in zip(before, layer.weights, strict=True)]
  assert any(moved) == trainable and len(moved) > 20


def test_a_saved_model_is_a_checkpoint_too(exported, images):
  path, config, model, _ = exported
  pretrained = resolve_checkpoint(str(path))
  assert (pretrained.step, pretrained.channels, pretrained.values["base_filters"]) == (7, 3, 4)
  other = build_model(Config(**pretrained.values, seed=1), pretrained.channels)
  load_network(pretrained, other)
  for found, expected in zip(other(images), model(images), strict=True):
    np.testing.assert_array_equal(found, expected)
  with pytest.raises(UsageError, match="must hold the network that the flags describe"):
    load_network(pretrained, build_model(Config(**{**pretrained.values, "base_filters": 2}), 3))


def test_a_saved_model_is_read_as_it_was_exported(tmp_path, rng):
  """It may be exported otherwise than the run was read: of other levels, for another size."""
  config, model, head = built(representation_levels="last")
  config = dataclasses.replace(config, lineareval_while_pretraining=False)
  directory = saved(tmp_path, config, model, head)
  asked = dataclasses.replace(config, representation_levels="all", image_size=32)
  [path] = export_network(asked, resolve_checkpoint(tmp_path), directory)
  encoded = tf.io.encode_png(rng.integers(0, 256, (40, 44, 3)).astype(np.uint8)).numpy()
  (tmp_path / "photo.png").write_bytes(encoded)
  signature = tf.saved_model.load(str(path)).signatures["encoded_images"]
  expected = signature(encoded_images=tf.constant([encoded]))["embedding"]
  found, _ = conrec_tf.embed(path, [tmp_path / "photo.png"], mixed_precision="float32")
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_formats_compute_the_same(network, tmp_path, capfd):
  directory = saved(tmp_path, *network)
  config = dataclasses.replace(network[0], export_format="onnx,tflite")
  export_network(config, resolve_checkpoint(tmp_path), directory)
  assert {path.name for path in tmp_path.glob("*/7*")} == {
    "7.onnx",
    "7_classifier.onnx",
    "7.tflite",
    "7_classifier.tflite",
    "7_dynamic_range.tflite",
  }
  assert capfd.readouterr() == ("", "")


def test_an_export_that_computes_something_else_is_refused(network, tmp_path, monkeypatch):
  directory = saved(tmp_path, *network)
  config = dataclasses.replace(network[0], export_format="tflite")
  monkeypatch.setattr(exporting.onnx_tflite, "tflite_bytes", lambda *args: b"what it was made to")
  monkeypatch.setattr(
    exporting.onnx_tflite, "run_tflite", lambda path, images: np.ones([4, 2 * (4 + 8)])
  )
  with pytest.raises(UsageError, match="tflite must give what the network gives, to"):
    export_network(config, resolve_checkpoint(tmp_path), directory)
  assert list((tmp_path / "tflite").iterdir()) == []


def test_a_classifier_that_magnifies_rounding_is_told_and_one_without_numbers_refused(caplog):
  """What a network without learning gives hardly varies, and its exports are compared apart."""
  expected = np.array([[0.9, 0.1]])
  assert exporting._compared("onnx_classifier", expected, expected + 0.005) == pytest.approx(0.005)
  unsure = np.array([[0.5, 0.5]])
  assert exporting._compared("tflite_classifier", unsure, unsure + 0.008) == pytest.approx(0.008)
  assert not caplog.text
  assert exporting._compared("onnx_classifier", expected, expected - 0.5) == pytest.approx(0.5)
  assert "onnx_classifier gives probabilities up to 0.5 from the network's" in caplog.text
  with pytest.raises(UsageError, match="Received: nan"):
    exporting._compared("tflite_classifier", expected, expected * np.nan)


def test_portable_network_equals_the_trained_one(network, tmp_path, images):
  """Neither frozen parts nor the precision of the training are exported."""
  config, model, head = network
  model.trainable = False
  try:
    saved(tmp_path, config, model, head)
    assert not model.trainable_weights
  finally:
    model.trainable = True
  bfloat16 = dataclasses.replace(config, mixed_precision="mixed_bfloat16")
  pretrained = resolve_checkpoint(tmp_path)
  _, portable, _ = portable_network(bfloat16, pretrained)
  assert portable.trainable_weights
  np.testing.assert_array_equal(portable.embed(images), model.embed(images))


def test_old_saved_models_are_removed(tmp_path):
  for step in (5, 9, 30):
    (tmp_path / "saved_model" / str(step)).mkdir(parents=True)

  def left(keep):
    exporting.prune_exports(RunDirectory(tmp_path), 9, keep)
    return {int(path.name) for path in (tmp_path / "saved_model").iterdir()}

  assert left(0) == {5, 9, 30}
  assert left(2) == {9, 30}
  assert left(1) == {9}


def test_a_saved_model_computes_on_any_device(exported):
  """It was made and compared on the processor, which isn't written into it."""
  message = saved_model_pb2.SavedModel.FromString((exported[0] / "saved_model.pb").read_bytes())
  node = r'op: "(\w+)"(?:\s+input: "[^"]*")*(?:\s+device: "([^"]*)")?'
  placed = set(re.findall(node, str(message)))
  computing = {"Conv2D", "MatMul", "Sigmoid", "Mean", "FusedBatchNormV3"}
  devices = {device for op, device in placed if op in computing}
  assert devices == {""}


def test_only_what_the_output_depends_on_is_trainable(network, images):
  _, model, _ = network
  statistics = model.get_weights()
  exported = saved_model.exported_representation(
    model, None, {"channels": 3, "image_size": 24, "center_crop": False, "layer": 1}
  )
  root, _ = saved_model.reusable(exported, 3, 24)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(root.__call__(images, training=True) ** 2)
  gradients = tape.gradient(loss, root.trainable_variables)
  model.set_weights(statistics)
  assert all(gradient is not None for gradient in gradients)
  assert (
    len(gradients)
    == len(model.encoder.trainable_weights) + len(model.pooling.trainable_weights) + 3
  )  # a kernel, a scale, an offset


@pytest.mark.slow
def test_a_finetuned_network_keeps_its_head(tmp_path, images):
  """Also when its checkpoint is named, and with the settings of its training."""
  config, model, head = built(train_mode="finetune", temperature=0.3)
  directory = saved(tmp_path, config, model, head)
  pretrained = resolve_checkpoint(tmp_path / "checkpoints/ckpt-7.index")
  export_network(
    Config(mode="export", **{**pretrained.values, "image_size": 24}), pretrained, directory
  )
  loaded = tf.saved_model.load(str(tmp_path / "saved_model/7"))
  np.testing.assert_allclose(loaded.logits(images), head(model.embed(images)), atol=1e-5)
  metadata = json.loads((tmp_path / "saved_model/7/assets/metadata.json").read_text())
  assert metadata["flags"]["train_mode"] == "finetune"
  assert metadata["flags"]["temperature"] == 0.3


@pytest.mark.parametrize(
  "which, message",
  [
    ("last", "checkpoint must be a model_dir with a checkpoint in it.* Received: .*empty"),
    ("best", "checkpoint must be a model_dir with a checkpoint in it.* Received: .*empty"),
  ],
)
def test_a_path_without_a_network_is_refused(tmp_path, which, message):
  with pytest.raises(UsageError, match=message):
    resolve_checkpoint(tmp_path / "empty", which)


def test_the_best_of_a_run_without_evaluations_is_refused(network, tmp_path):
  saved(tmp_path, *network)
  with pytest.raises(UsageError, match="export_checkpoint must be last .* Received: best for"):
    resolve_checkpoint(tmp_path, "best")
