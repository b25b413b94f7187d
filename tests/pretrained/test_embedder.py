import dataclasses
import os
import pickle
import shutil

from foreign_networks import quarters
import numpy as np
from PIL import Image
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks
import tensorflow as tf

import conrec_tf
from conrec_tf.config import Config
from conrec_tf.data.augmentation.resizing import evaluation_image
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.run import Run
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of a small network, photos of which one is bad, and the network; all only read."""
  root, rng = tmp_path_factory.mktemp("embedder"), np.random.default_rng(0)
  config = Config(
    image_size=24,
    base_filters=2,
    unet_depth=2,
    reconstruction_weight=0.0,
    pooling="average",
    corruption="none",
  )
  model = build_model(config, 3)
  directory = RunDirectory(root / "run")
  directory.start(dataclasses.replace(config, model_dir=str(root / "run")))
  directory.write("images.json", {"channels": 3, "center_crop": False})
  Checkpoints(root / "run", 1, {"model": model}).save(5)
  (root / "photos/deep").mkdir(parents=True)
  for name in ("b.png", "a.png", "deep/c.png"):
    pixels = rng.integers(0, 256, (26, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "photos" / name)
  (root / "photos/bad.png").write_bytes(b"")
  return Run(root / "run"), root / "photos", model


@pytest.fixture(scope="module")
def embedder(run):
  """A transformer by that network, which opens it once."""
  return conrec_tf.ConRecEmbedder(run[0]).fit(np.zeros([1, 24, 24, 3], np.uint8))


def pixels_of(path):
  return np.asarray(Image.open(path))


def expected(model, paths):
  images = np.stack([evaluation_image(tf.constant(pixels_of(path)), 24, False) for path in paths])
  return model.embed(images).numpy()


def test_a_folder_and_files_are_embedded(run):
  path, photos, model = run
  embeddings, paths = conrec_tf.embed(path, photos)
  assert paths == [str(photos / name) for name in ("a.png", "b.png", "deep/c.png")]
  assert embeddings.dtype == np.float32
  np.testing.assert_allclose(embeddings, expected(model, paths), atol=1e-5)
  asked = [photos / name for name in ("deep/c.png", "bad.png", "a.png", "deep/c.png")]
  some, names = conrec_tf.embed(os.fspath(path), asked)
  assert names == [str(asked[at]) for at in (0, 2, 3)]
  np.testing.assert_allclose(some, embeddings[[2, 0, 2]], atol=1e-5)


@pytest.mark.parametrize("images", [[], "nowhere"])
def test_images_that_are_not_there_are_refused(run, images):
  with pytest.raises(UsageError, match="images must be a folder, or a list of files. Received:"):
    conrec_tf.embed(run[0], images)


def test_a_run_takes_the_place_of_its_path_and_knows_its_network(run):
  path, photos, model = run
  assert os.fspath(path) == str(path.path) and path.result == {}
  images = np.stack([pixels_of(photos / "a.png")[:24, :24] / np.float32(255)])
  np.testing.assert_array_equal(path.network.embed(images), model.embed(images))


@pytest.mark.parametrize("kind", ["paths", "uint8", "uint16", "float", "list"])
def test_the_transformer_takes_images_of_any_form(run, embedder, kind):
  _, photos, model = run
  paths = [str(photos / name) for name in ("b.png", "a.png")]
  arrays = [pixels_of(each) for each in paths]
  images = {
    "paths": paths,
    "uint8": np.stack(arrays),
    "uint16": np.stack(arrays).astype(np.uint16) * 257,
    "float": np.stack(arrays) / 255,
    "list": arrays,
  }[kind]
  found = embedder.transform(images)
  np.testing.assert_allclose(found, expected(model, paths), atol=1e-4)
  assert found.shape == (2, embedder.n_features_out_)
  assert embedder.get_feature_names_out()[0] == "conrecembedder0"


@pytest.mark.parametrize("crop", ["center", "none"])
def test_arrays_are_cropped_as_files_are(run, crop):
  path, photos, _ = run
  paths = [str(photos / name) for name in ("b.png", "a.png")]
  embedder = conrec_tf.ConRecEmbedder(path, {"eval_crop": crop, "image_size": 40}).fit(paths)
  of_arrays = embedder.transform([pixels_of(each) for each in paths])
  np.testing.assert_allclose(of_arrays, embedder.transform(paths), atol=1e-4)


@pytest.mark.parametrize("of_files", [True, False])
def test_an_image_is_embedded_alike_alone_and_beside_images_of_other_sizes(tmp_path, rng, of_files):
  """By a network that doesn't say if it takes the centre."""
  network = quarters(tmp_path / "network")
  images = [rng.integers(0, 256, shape, np.uint8) for shape in ((60, 80, 3), (50, 44, 3))]
  paths = [str(tmp_path / f"{number}.png") for number in range(2)]
  for image, path in zip(images, paths, strict=True):
    Image.fromarray(image).save(path)
  given, options = paths if of_files else images, {"image_size": 40}
  fitted = conrec_tf.ConRecEmbedder(network, options).fit(given)
  together = fitted.transform(given)
  alone = [fitted.transform([each])[0] for each in given]
  np.testing.assert_allclose(alone, together, atol=1e-6)
  cropped = conrec_tf.ConRecEmbedder(network, options | {"eval_crop": "center"}).fit(given)
  np.testing.assert_allclose(cropped.transform(given), together, atol=1e-6)
  whole = conrec_tf.ConRecEmbedder(network, options).fit(given[:1])
  assert np.abs(whole.transform(given) - together).max() > 1e-3


def write_run(path, channels, **values):
  """Writes the folder of a run of images of so many channels, with an untrained network."""
  sizes = dict(image_size=24, base_filters=2, unet_depth=2)
  config = Config(
    model_dir=str(path), reconstruction_weight=0.0, corruption="none", **sizes, **values
  )
  directory = RunDirectory(path)
  directory.start(config)
  directory.write("images.json", {"channels": channels, "center_crop": False})
  Checkpoints(path, 1, {"model": build_model(config, channels)}).save(5)


def test_arrays_of_12_bits_are_taken_as_files_of_them(tmp_path, rng):
  write_run(tmp_path / "run", 1, image_bits=12, image_channels=1, eval_image_size=32)
  arrays = [rng.integers(0, 2**12, (26, 30)).astype(np.uint16) for _ in range(2)]
  paths = [str(tmp_path / f"{number}.png") for number in range(2)]
  for path, array in zip(paths, arrays, strict=True):
    Image.fromarray(array).save(path)
  embedder = conrec_tf.ConRecEmbedder(tmp_path / "run")
  of_files = embedder.fit(paths).transform(paths)
  np.testing.assert_allclose(embedder.transform(arrays), of_files, rtol=1e-4)
  # The size that the network is read at goes with its own, and not with another one.
  as_given, _ = conrec_tf.embed(tmp_path / "run", paths, image_size=40)
  at_its_size, _ = conrec_tf.embed(tmp_path / "run", paths, eval_image_size=40)
  np.testing.assert_allclose(as_given, at_its_size, rtol=1e-4)
  assert np.abs(as_given - of_files).max() > 1e-4 * np.abs(of_files).max()


def test_the_transformer_works_in_a_pipeline_that_is_pickled(run, rng):
  shades = np.arange(12) % 2
  images = (0.5 * shades[:, None, None] + 0.4 * rng.random([12, 24, 24])).astype(np.float32)  # grey
  pipeline = make_pipeline(conrec_tf.ConRecEmbedder(run[0].path), LogisticRegression(C=1e6))
  pipeline.fit(images, shades)
  again = pickle.loads(pickle.dumps(pipeline))
  np.testing.assert_array_equal(again.predict(images), shades)
  np.testing.assert_array_equal(again.predict_proba(images), pipeline.predict_proba(images))


@pytest.mark.parametrize(
  "images, message",
  [
    (np.zeros([3, 5]), r"images, \[height, width, channels\].* Received: \[5\]"),
    (np.zeros([2, 8, 8, 4]), "images of 3 channels. Received: 4"),
    (np.full([2, 8, 8, 3], 2.0), "floats from 0 to 1. Received: float64 from 2.0"),
    (np.zeros([0, 8, 8, 3]), "must hold images. Received: 0"),
  ],
)
def test_the_transformer_refuses_what_is_no_image(run, images, message):
  with pytest.raises(ValueError, match=message):
    conrec_tf.ConRecEmbedder(run[0]).fit(images)


def test_a_bad_file_is_refused(run, embedder):
  files = [str(run[1] / name) for name in ("bad.png", "a.png")]
  with pytest.raises(UsageError, match="files that can be decoded. Received: .*bad.png"):
    embedder.transform(files)


@pytest.mark.parametrize(
  "check",
  [
    checks.check_parameters_default_constructible,
    checks.check_no_attributes_set_in_init,
    checks.check_get_params_invariance,
    checks.check_set_params,
    checks.check_estimator_repr,
    checks.check_valid_tag_types,
    checks.check_mixin_order,
  ],
)
def test_the_transformer_passes_checks_of_scikit_learn(check):
  """Those that make no tables of numbers; `check_estimator` leaves most out for such estimators."""
  check("ConRecEmbedder", conrec_tf.ConRecEmbedder("runs/flowers"))


@pytest.mark.filterwarnings("ignore:Can.t test estimator")
def test_scikit_learn_checks_what_it_can():
  results = checks.check_estimator(conrec_tf.ConRecEmbedder("runs/flowers"), on_skip=None)
  assert {row["status"] for row in results} == {"passed"}


def test_floats_of_half_precision_are_taken_as_others(embedder, rng):
  images = rng.integers(0, 9, [2, 24, 24, 3]) / 8
  found = embedder.transform(images.astype(np.float16))
  np.testing.assert_array_equal(found, embedder.transform(images))


def test_paths_may_be_a_column_of_a_table_that_begins_anywhere(run, embedder):
  pandas = pytest.importorskip("pandas")
  paths = [str(run[1] / name) for name in ("b.png", "a.png")]
  found = embedder.transform(pandas.Series(paths, index=[7, 3]))
  np.testing.assert_array_equal(found, embedder.transform(paths))
  with pytest.raises(ValueError, match="must hold images. Received: 0"):
    embedder.transform([])


def test_fitted_again_it_takes_the_network_of_now(run, tmp_path, rng):
  path, images = tmp_path / "run", rng.random([2, 24, 24, 3])
  shutil.copytree(run[0].path, path)
  embedder = conrec_tf.ConRecEmbedder(path).fit(images)
  before = embedder.transform(images)
  other = build_model(Config(**resolve_checkpoint(path).values, seed=1), 3)
  Checkpoints(path, 1, {"model": other}).save(6)
  np.testing.assert_array_equal(embedder.transform(images), before)
  assert np.abs(embedder.fit(images).transform(images) - before).max() > 1e-3


def test_images_of_other_channels_than_a_network_of_several_takes_are_refused(run, tmp_path):
  write_run(tmp_path / "run", 2)
  with pytest.raises(UsageError, match="images must have 2 channels, .* Received: 3 in .*photos"):
    conrec_tf.embed(tmp_path / "run", run[1])
