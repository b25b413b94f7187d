"""Segmentation from a folder of images and masks to masks of other images."""

import dataclasses
import json
import os
import re
import signal

from command_line import as_flags, command, start
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands.tasks import build_training, load_dataset
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.metrics import CLASSES, DICE, INTERVALS, PIXEL_AUROC
from conrec_tf.models import build_model
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.segmentation.batches import segmentation_batches

SIZES = [(41, 50), (40, 48), (50, 41)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Bright discs on noise, with masks: six images to learn from, three to be tested on."""
  root, rng = tmp_path_factory.mktemp("discs"), np.random.default_rng(0)
  for split, count in (("train", 6), ("test", 3)):
    for number in range(count):
      height, width = SIZES[number % 3]
      y, x = np.mgrid[:height, :width]
      top, left = rng.integers(12, 30, 2)
      mask = ((y - top) ** 2 + (x - left) ** 2 < 80).astype(np.uint8)
      image = rng.normal(70, 15, (height, width, 3)) + 100 * mask[..., np.newaxis]
      for kind, pixels in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", mask)):
        path = root / split / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
  return root


def config_of(folder, model_dir, **values):
  return Config(
    **{
      **dict(train_mode="segment", dataset="image_folder", data_dir=str(folder)),
      **dict(image_size=24, base_filters=4, unet_depth=2, train_batch_size=8),
      **dict(crops_per_image=16, report=False, model_dir=str(model_dir)),
      **values,
    }
  )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
  """The folder of a run that learnt to segment, with its report."""
  model_dir = tmp_path_factory.mktemp("runs") / "discs"
  commands.run(config_of(folder, model_dir, train_steps=60, learning_rate=0.01, report=True))
  return model_dir


def test_it_learns_and_is_measured_and_drawn(run):
  result = json.loads((run / "result.json").read_text())
  assert result[DICE] > 0.6 and result[PIXEL_AUROC] > 0.9
  low, high = result[INTERVALS][DICE]
  assert low <= result[DICE] <= high
  assert [row["class"] for row in result[CLASSES]] == ["0", "1"]
  page = (run / "report/index.html").read_text()
  assert "Classes of the masks" in page
  assert (run / "report/segmentations.png").exists()
  assert any(run.glob("events.out.tfevents.*"))


def test_images_have_no_label_where_pixels_have_classes(folder, tmp_path):
  assert load_dataset(config_of(folder, tmp_path)).class_names == ("0", "1")
  for mode in ("embed", "explore"):
    alone = load_dataset(config_of(folder, tmp_path, mode=mode))
    assert not alone.class_names and alone.train.num_examples == 6
    plain = load_dataset(config_of(folder / "test/images", tmp_path, mode=mode))  # without masks
    assert len(plain.train.own_index) + len(plain.eval.own_index) == 3 and not plain.center_crop


def test_masks_of_other_images_are_written_as_the_saved_model_says(run, folder, tmp_path):
  network = tf.saved_model.load(str(run / "saved_model/60"))
  config = Config(
    mode="segment",
    dataset="image_folder",
    data_dir=str(folder / "test"),
    checkpoint=str(run),
    model_dir=str(tmp_path),
    write_probabilities=True,
  )
  commands.run(config)
  paths = sorted((tmp_path / "segmentations").rglob("*.png"))
  assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]  # none of the masks
  for path in paths:
    pixels = np.asarray(Image.open(folder / "test/images" / path.name))
    images = tf.constant(pixels[np.newaxis] / 255, tf.float32)
    expected = network.signatures["segment"](images=images)["probabilities"][0].numpy()
    mask = Image.open(path)
    assert mask.mode == "P" and mask.getpalette()[3:6] == [128, 0, 0]
    np.testing.assert_array_equal(np.asarray(mask), expected.argmax(axis=-1))
    made = np.load(path.with_suffix(".npz"))["probabilities"]
    assert made.dtype == np.float16
    np.testing.assert_allclose(made, expected, atol=1e-3)
  paths[1].unlink()
  times = [path.stat().st_mtime_ns for path in (paths[0], paths[2])]
  commands.run(config)  # what is there stays
  assert paths[1].exists()
  assert [path.stat().st_mtime_ns for path in (paths[0], paths[2])] == times
  with pytest.raises(UsageError, match="Received: test_time_flips: False -> True"):
    commands.run(dataclasses.replace(config, test_time_flips=True))  # masks aren't mixed


def test_grey_images_are_given_to_a_network_of_colours_as_such(run, folder, tmp_path):
  made = []
  for name, mode in (("grey", "L"), ("colours", "RGB")):
    (tmp_path / name).mkdir()
    image = Image.open(folder / "test/images/0.png").convert("L").convert(mode)
    image.save(tmp_path / name / "0.png")
    values = dict(mode="segment", dataset="image_folder", data_dir=str(tmp_path / name))
    out = tmp_path / f"{name}_out"
    commands.run(Config(**values, checkpoint=str(run), model_dir=str(out)))
    made.append(np.asarray(Image.open(out / "segmentations/0.png")))
  np.testing.assert_array_equal(*made)
  values |= dict(image_channels=1, checkpoint=str(run), model_dir=str(tmp_path / "other"))
  with pytest.raises(UsageError, match="must hold images of 3 channels.* Received: 1 in"):
    commands.run(Config(**values))


def test_masks_of_somebody_else_are_neither_taken_nor_written_over(run, folder, tmp_path):
  drawn = tmp_path / "segmentations/0.png"
  drawn.parent.mkdir()
  drawn.write_bytes(b"by hand")
  values = dict(mode="segment", dataset="image_folder", data_dir=str(folder / "test/images"))
  with pytest.raises(UsageError, match="of somebody else.* with 0.png, without description.json"):
    commands.run(Config(**values, checkpoint=str(run), model_dir=str(tmp_path)))
  assert [*drawn.parent.iterdir()] == [drawn] and drawn.read_bytes() == b"by hand"


def test_images_of_one_name_and_two_endings_are_refused(run, folder, tmp_path):
  image = Image.open(folder / "test/images/0.png")
  (tmp_path / "images").mkdir()
  for ending in ("jpg", "png"):
    image.save(tmp_path / f"images/0.{ending}")
  values = dict(mode="segment", dataset="image_folder", data_dir=str(tmp_path / "images"))
  with pytest.raises(UsageError, match="differ in more than their endings. Received: 0.jpg and"):
    commands.run(Config(**values, checkpoint=str(run), model_dir=str(tmp_path / "out")))


def test_masks_are_called_as_their_images_whatever_those_are_called(run, folder, tmp_path):
  images = tmp_path / "images"
  (images / "v1.5").mkdir(parents=True)
  names = [
    "1.2.840.0",
    "1.2.840.1",
    "v1.5/x.y.png",
    247 * "n" + ".png",
    251 * "m",
    120 * "é" + ".png",
  ]
  for name in [*map(os.fsencode, names), b"caf\xe9.png"]:
    with open(os.fsencode(images) + b"/" + name, "wb") as file:
      Image.open(folder / "test/images/0.png").save(file, "PNG")
  values = dict(mode="segment", dataset="image_folder", data_dir=str(images))
  values.update(checkpoint=str(run), model_dir=str(tmp_path / "out"), write_probabilities=True)
  for _ in range(2):  # under the same names again
    commands.run(Config(**values))
    masks_in = tmp_path / "out/segmentations"
    made = {path.relative_to(masks_in) for path in masks_in.rglob("*.*")}
    masks = sorted(str(path) for path in made if path.suffix == ".png")
    assert (
      len(masks) == len(names) + 1 and len(made) == 2 * len(masks) + 3
    )  # a folder, and what they are of
    assert {"1.2.840.0.png", "1.2.840.1.png", "v1.5/x.y.png", "caf\\xe9.png"} < set(masks)
    for letter in "nmé":
      [mask] = [mask for mask in masks if mask.startswith(20 * letter)]
      assert len(mask.encode()) <= 240


def test_a_network_that_does_not_segment_is_refused(folder, tmp_path):
  config = Config(image_size=24, base_filters=2, unet_depth=2, image_channels=3)
  RunDirectory(tmp_path / "run").start(config)
  Checkpoints(tmp_path / "run", 1, {"model": build_model(config)}).save(1)
  with pytest.raises(UsageError, match="must be of a training with train_mode=segment"):
    commands.run(
      Config(
        mode="segment",
        dataset="image_folder",
        data_dir=str(folder / "test/images"),
        checkpoint=str(tmp_path / "run"),
        model_dir=str(tmp_path / "out"),
      )
    )


def test_data_with_masks_is_checked(folder, tmp_path, caplog):
  caplog.set_level("INFO", "conrec_tf")
  commands.run(config_of(folder, tmp_path, mode="check_data", report=True))
  page = (tmp_path / "data/index.html").read_text()
  assert "There are no labels: Dice is measured on the held-out split." in page
  assert "Classes of masks: 0 " in caplog.text and "6 images" in caplog.text


def test_crops_are_not_called_images(folder, tmp_path, caplog):
  caplog.set_level("INFO", "conrec_tf")
  commands.run(config_of(folder, tmp_path / "run", mode="train", train_steps=1))
  assert f", {6 * 16} training crops, 1 steps" in caplog.text


def test_as_many_weights_as_classes_are_asked_for(folder, tmp_path):
  config = config_of(folder, tmp_path / "run", class_weights="1,2,3")
  with pytest.raises(UsageError, match="one for each class, 0, 1. Received: 1,2,3"):
    build_training(
      config, config, RunDirectory(config.run_directory), source := load_dataset(config), source, 10
    )


def test_outlines_reach_the_decoder_and_colours_hardly_change(tmp_path):
  for kind, value in (("images", 128), ("masks", 1)):
    (tmp_path / kind).mkdir()
    for number in range(10):
      pixels = np.full((30, 30), value, np.uint8)
      pixels[:15] -= kind == "masks"
      Image.fromarray(pixels).convert("RGB" if kind == "images" else "L").save(
        tmp_path / kind / f"{number}.png"
      )
  config = config_of(tmp_path, tmp_path / "run", train_batch_size=64)
  source = load_dataset(config)
  model = build_training(
    config, config, RunDirectory(config.run_directory), source, source, 10
  ).model
  assert len(model.decoder.skip_blocks) == config.unet_depth - 1
  assert config.skip_connections == "deep" and config.segment_color_jitter == 0.25
  levels = next(iter(segmentation_batches(config, source)))["image"].numpy().mean(axis=(1, 2, 3))
  assert np.all(abs(levels / (128 / 255) - 1) < 0.2) and np.ptp(levels) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoder", "both"])
def test_it_starts_from_what_was_asked_for(folder, tmp_path, part):
  """From a pre-training on the images without their masks."""
  origin = Config(
    dataset="image_folder",
    data_dir=str(folder),
    label_mode="none",
    mode="train",
    image_size=24,
    base_filters=4,
    unet_depth=2,
    skip_connections="all",
    local_crops=0,
    train_steps=2,
    train_batch_size=4,
    model_dir=str(tmp_path / "origin"),
  )
  commands.run(origin)
  config = config_of(folder, tmp_path / "run", checkpoint=origin.model_dir, segment_from=part)
  model = build_training(
    config, config, RunDirectory(config.run_directory), source := load_dataset(config), source, 10
  ).model
  reader = tf.train.load_checkpoint(str(tmp_path / "origin/checkpoints"))
  for name, is_taken in (("encoder", True), ("decoder", part == "both")):
    stored = [
      reader.get_tensor(key)
      for key in reader.get_variable_to_shape_map()
      if key.startswith(f"model/{name}/") and key.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")
    ]
    kernels = [weight.numpy() for weight in getattr(model, name).weights if "kernel" in weight.name]
    assert len(kernels) == len(stored) > 3
    found = [
      any(kernel.shape == other.shape and np.array_equal(kernel, other) for other in stored)
      for kernel in kernels
    ]
    assert all(found) if is_taken else not any(found)


@pytest.mark.slow
def test_a_network_is_measured_on_other_masks_apart_from_its_own_results(
  run, folder, tmp_path, rng
):
  files = [run / "result.json", run / "result_60.json", *(run / "best").glob("*.index")]
  before = [path.read_bytes() for path in files]
  asked = dict(train_steps=60, learning_rate=0.01, mode="eval", export_format="")
  commands.run(config_of(folder, run, **asked, test_time_flips=True))
  assert [path.read_bytes() for path in files] == before
  [flipped] = run.glob("evaluations/*/result.json")
  assert json.loads(flipped.read_text())["evaluated_with"]["test_time_flips"]
  new = tmp_path / "new"
  done = command(
    *("--mode=eval", "--mixed_precision=float32", "--dataset=image_folder"),
    *(f"--checkpoint={run}", f"--model_dir={new}", f"--data_dir={folder}"),
  )
  assert done.returncode == 0, done.stderr
  own, other = (json.loads((path / "result.json").read_text()) for path in (run, new))
  assert other["eval/dice"] == own["eval/dice"]


WORKER = """
import os, signal
from conrec_tf import cli
from conrec_tf.commands import segment
from conrec_tf.distribute import shards

write = segment._write
def write_and_die(*args):
  write(*args)
  os.kill(os.getpid(), signal.SIGKILL)

if "DIES" in os.environ:
  shards.SECONDS_BETWEEN_BEATS, shards.SECONDS_WITHOUT_BEAT = 0.2, 1.0
  if os.environ["DIES"] in os.environ["TF_CONFIG"]:
    segment._write = write_and_die
cli.main()
"""


@pytest.mark.slow
def test_two_workers_leave_the_masks_of_one_though_one_is_killed(run, folder, tmp_path):
  """The second dies after the first of its four masks of nine."""
  values = dict(mode="segment", dataset="image_folder", data_dir=str(folder))
  values.update(checkpoint=str(run), write_probabilities=True)
  done = command(*as_flags({**values, "model_dir": tmp_path / "one"}))
  assert done.returncode == 0, done.stderr
  (tmp_path / "worker.py").write_text(WORKER)

  def both(**environment):
    workers = []
    for index in range(2):
      tasks = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}
      flags = as_flags({**values, "model_dir": tmp_path / "two"})
      environment |= {"TF_CONFIG": json.dumps(tasks)}
      workers.append(start(*flags, script=tmp_path / "worker.py", **environment))
    return [(worker.communicate()[1], worker.returncode) for worker in workers]

  def contents(name):
    masks = tmp_path / name / "segmentations"
    return {
      path.relative_to(masks): path.read_bytes() for path in masks.rglob("*") if path.is_file()
    }

  (error, code), (_, second) = both(DIES='"index": 1')
  assert code == 1 and re.search("Received: worker 1 of 2 lost, [34] files missing", error), error
  assert second == -signal.SIGKILL
  assert sum(path.suffix == ".png" for path in contents("two")) == 5 + 1
  assert [code for _, code in both()] == [0, 0]
  assert contents("two") == contents("one")
