"""Pre-training that starts from a trained network."""

import dataclasses
import json
import pathlib
import shutil

from command_line import as_flags, command
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands.tasks import build_training, load_dataset
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.models import build_model
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import PARTS
from conrec_tf.pretrained.warm_start import warm_start
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory

VALUES = dict(image_size=24, base_filters=2, unet_depth=3, image_channels=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A `model_dir` with a network whose weights are no seed's, and it; both are only read."""
  model = build_model(Config(**VALUES, seed=7))
  for variable in model.variables:
    variable.assign_add(tf.random.stateless_uniform(variable.shape, [0, 1], -0.05, 0.05))
  return saved(tmp_path_factory.mktemp("warm_start") / "trained", model, Config(**VALUES)), model


def saved(path, model, config):
  """Saves a network as a run of a config does; returns the run's folder."""
  directory = RunDirectory(path)
  directory.start(config)
  directory.write("images.json", {"channels": 3, "center_crop": False, "class_names": []})
  Checkpoints(directory.path, 1, {"model": model}).save(5)
  return directory.path


@pytest.fixture(scope="module")
def built():
  """The network of `VALUES`, and the weights of its seed."""
  model = build_model(Config(**VALUES))
  return model, model.get_weights()


@pytest.fixture
def new(built):
  """The network of `VALUES` before it has learnt anything."""
  model, weights = built
  model.set_weights(weights)
  return model


def started(path, channels=3, **values):
  config = Config(**VALUES | {"image_channels": channels} | values)
  model = build_model(config)
  warm_start(resolve_checkpoint(path), model, config)
  return model


def test_all_that_fits_is_taken(trained, new, caplog):
  path, expected = trained
  model = new
  with caplog.at_level("INFO", "conrec_tf"):
    warm_start(resolve_checkpoint(path), model, Config(**VALUES))
  for name in PARTS:
    weights = [getattr(each, name).get_weights() for each in (model, expected)]
    assert len(weights[0]) == len(weights[1]) > 0
    for found, wanted in zip(*weights, strict=True):
      np.testing.assert_array_equal(found, wanted, name)
  assert "starts from" in caplog.text and "step 5" in caplog.text
  assert "not taken" not in caplog.text


def test_grey_images_for_a_network_of_colour(trained, rng, caplog):
  path, colour = trained
  with caplog.at_level("INFO", "conrec_tf"):
    model = started(path, channels=1)
  grey = rng.random([2, 24, 24, 1]).astype(np.float32)
  expected = colour.embed(np.repeat(grey, 3, axis=-1))
  np.testing.assert_allclose(model.embed(grey), expected, rtol=1e-4, atol=1e-6)
  # The decoder gives as many channels as images have, so its last layer is new.
  taken = caplog.text.partition("not taken")[2]
  assert "decoder" in taken and "encoder" not in taken and "projection" not in taken
  inner = [each.decoder.get_weights()[0] for each in (model, colour)]
  np.testing.assert_array_equal(*inner)


def test_more_channels_repeat_the_first_kernel(trained, rng):
  path, colour = trained
  config = Config(**VALUES | {"image_channels": 0})
  model = build_model(config, 5)
  warm_start(resolve_checkpoint(path), model, config)
  before, after = (each.encoder.get_weights()[0] for each in (colour, model))
  np.testing.assert_allclose(after[:, :, 4], before[:, :, 1] * 3 / 5, rtol=1e-6)
  grey = np.repeat(rng.random([1, 24, 24, 1]).astype(np.float32), 5, axis=-1)
  assert model.embed(grey).shape == (1, 2 * (2 + 4 + 8))


def test_added_skip_connections_change_nothing_at_first(trained, rng, caplog):
  path, deep = trained
  with caplog.at_level("INFO", "conrec_tf"):
    model = started(path, skip_connections="all")
  assert "not taken" not in caplog.text
  assert (len(deep.decoder.skip_blocks), len(model.decoder.skip_blocks)) == (1, 2)
  images = rng.random([2, 24, 24, 3]).astype(np.float32)
  found, expected = (each.decoder(*each.encoder(images))[0] for each in (model, deep))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  kernel = model.decoder.levels[0][0].convolution.kernel
  assert not np.any(kernel[:, :, -2:]) and np.all(np.any(kernel[:, :, :-2], axis=(0, 1, 3)))


def test_other_heads_are_named_and_new(trained, caplog):
  path, expected = trained
  config = Config(**VALUES, proj_out_dim=7, skip_connections="none", num_proj_layers=2)
  model = build_model(config)
  fresh = model.projection_head.get_weights()
  with caplog.at_level("INFO", "conrec_tf"):
    warm_start(resolve_checkpoint(path), model, config)
  taken = caplog.text.partition("not taken")[2]
  assert "projection_head" in taken and "decoder" in taken
  for found, wanted in zip(model.projection_head.weights, fresh, strict=True):
    np.testing.assert_array_equal(found, wanted)
  np.testing.assert_array_equal(model.encoder.get_weights()[0], expected.encoder.get_weights()[0])


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(unet_depth=4), "must have .*unet_depth=4. Received: .*unet_depth=3 in .*trained"),
    (dict(base_filters=4), "base_filters=4, .* Received: .*base_filters=2"),
  ],
)
def test_another_encoder_is_refused(trained, values, message):
  with pytest.raises(UsageError, match=message):
    started(trained[0], **values)


@pytest.mark.slow
def test_a_training_from_a_trained_network(trained, tiny, tmp_path):
  path = shutil.copytree(trained[0], tmp_path / "trained")
  flags = [
    *as_flags({**tiny, "unet_depth": 3}),
    f"--checkpoint={path}",
    "--train_steps=3",
    "--export_format=saved_model",
  ]
  done = command(*flags, "--image_channels=1", "--eval_every_epochs=0")
  assert done.returncode == 0, done.stderr
  assert f"Training starts from {path}" in done.stdout
  folder = pathlib.Path(tiny["model_dir"])
  first = json.loads((folder / "result_0.json").read_text())
  result = json.loads((folder / "result.json").read_text())
  name = "eval/standardised_linear_top_1_accuracy"
  # The network that it starts from is no untrained one; that is measured beside it.
  assert name in first and first["eval/rank_me"] != first["eval/untrained_rank_me"]
  assert result["eval/best_step"] in (0, 3) and "eval/untrained_strongest" in result
  assert json.loads((folder / "config.json").read_text())["checkpoint"] == str(path)
  metadata = json.loads((folder / "saved_model/3/assets/metadata.json").read_text())
  assert metadata["flags"]["checkpoint"] == str(path)

  # Evaluated again it is this run that is evaluated; and it goes on without what it began from.
  (folder / "result_3.json").unlink()
  done = command("--mode=eval", f"--model_dir={folder}", f"--data_dir={tiny['data_dir']}")
  assert done.returncode == 0, done.stderr
  assert json.loads((folder / "result_3.json").read_text())[name] == result[name]
  path.rename(tmp_path / "gone")
  done = command(*flags, "--image_channels=1", "--eval_every_epochs=0")
  assert done.returncode == 0 and "Nothing to train" in done.stdout, done.stderr


def test_a_first_checkpoint_that_was_not_finished_is_not_gone_on_from(trained, unlabelled):
  path, expected = trained
  config = Config(
    **unlabelled | VALUES, checkpoint=str(path), train_mode="pretrain", corruption="none"
  )
  directory = saved(config.run_directory, expected, config) / "checkpoints"
  (directory / "checkpoint").unlink()  # it is listed after it is written
  index = directory / "ckpt-5.index"
  index.write_bytes(index.read_bytes()[:20])
  source, run = load_dataset(config), RunDirectory(config.run_directory)
  training = build_training(config, config, run, source, source, 10)
  for found, wanted in zip(training.model.get_weights(), expected.get_weights(), strict=True):
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_the_weights_after_a_kill_are_those_without(trained, tiny, tmp_path):
  path, _ = trained
  weights = []
  for place, steps in ((1, (4,)), (2, (2, 4))):
    for last in steps:
      config = Config(
        **{**tiny, "unet_depth": 3, "image_channels": 1, "model_dir": str(tmp_path / str(place))},
        checkpoint=str(path),
        mode="train",
        train_steps=last,
      )
      commands.run(config)
    reader = tf.train.load_checkpoint(f"{config.model_dir}/checkpoints/ckpt-4")
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    weights.append({name: reader.get_tensor(name) for name in names})
  assert len(weights[0]) > 50 and set(weights[0]) == set(weights[1])
  for name, value in weights[0].items():
    np.testing.assert_array_equal(value, weights[1][name], name)


@pytest.fixture(
  scope="module",
  params=[
    dict(reconstruction_weight=0.0, corruption="none", pooling="average"),
    dict(contrastive_weight=0.0),
  ],
  ids=["simclr", "reconstruction"],
)
def learnt_by_less(request, tmp_path_factory):
  """A `model_dir` with a network of fewer parts than that of `VALUES`, and its encoder's values."""
  model = build_model(Config(**VALUES, **request.param, seed=7))
  path = saved(tmp_path_factory.mktemp("less"), model, Config(**VALUES, **request.param))
  return path, model.encoder.get_weights()


@pytest.mark.parametrize(
  "of_run",
  [
    dict(adversarial_weight=0.5, adversarial_loss="hinge"),
    dict(multi_level_reconstruction_weight=10.0, multi_level_contrastive_weight=0.5),
    dict(contrastive_method="moco", moco_momentum=0.9, moco_queue_length=32),
  ],
  ids=["adversarial", "levels", "moco"],
)
def test_a_start_from_a_network_that_learnt_by_less(learnt_by_less, new, of_run):
  path, expected = learnt_by_less
  assert not np.array_equal(new.encoder.get_weights()[0], expected[0])
  warm_start(resolve_checkpoint(path), new, Config(**VALUES, **of_run))
  for found, wanted in zip(new.encoder.get_weights(), expected, strict=True):
    np.testing.assert_array_equal(found, wanted)


def test_a_segmentation_starts_from_all_of_another_but_its_head(tmp_path, caplog):
  config = Config(**VALUES, train_mode="segment", dataset="image_folder")
  expected = build_model(dataclasses.replace(config, seed=7))
  path = saved(tmp_path / "run", expected, config)
  model = build_model(config)
  with caplog.at_level("INFO", "conrec_tf"):
    warm_start(resolve_checkpoint(path), model, config, ("encoder", "decoder"))
  assert "not taken" not in caplog.text
  for name in ("encoder", "decoder"):
    weights = [getattr(each, name).get_weights() for each in (model, expected)]
    for found, wanted in zip(*weights, strict=True):
      np.testing.assert_array_equal(found, wanted, name)
