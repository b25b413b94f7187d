"""Whether a run was worth it: the command, on tiny runs."""

import dataclasses
import json
import pathlib
import signal
import time

from command_line import as_flags, command, start
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import commands
from conrec_tf.commands import verdict
from conrec_tf.commands.contenders import EMBEDDING, Network, trained_network, untrained_network
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.run_directory import RunDirectory

ASKED = dict(label_fractions="0.5", few_shots="1,2", num_repeats=2)


def read(path):
  return json.loads(path.read_text())


@pytest.fixture
def run(simclr):
  """The options of a training of two steps, which is done, and its folder."""
  values = {**simclr, "train_steps": 2}
  commands.run(Config(**values, mode="train"))
  return values, pathlib.Path(values["model_dir"])


def written_down(values):
  """Makes a folder that looks like that of a training of one step; returns it."""
  config = Config(**values, mode="train")
  folder = RunDirectory(config.model_dir)
  folder.start(config)
  (folder.path / "checkpoints").mkdir()
  (folder.path / "checkpoints/ckpt-1.index").touch()
  return folder.path


@pytest.fixture
def stranger(tmp_path):
  """A network of somebody else, for RGB of bytes: sums of colour and place."""

  def function(images):
    return tf.reshape(tf.nn.avg_pool2d(images, 8, 8, "VALID"), [-1, 27])

  module, spec = tf.Module(), tf.TensorSpec([None, 24, 24, 3], name="images")
  module.function = tf.function(function, input_signature=[spec])
  path = str(tmp_path / "stranger")
  tf.saved_model.save(module, path, signatures=module.function)
  return path


def test_a_verdict_goes_on_where_it_was_and_measures_nothing_twice(
  run, stranger, monkeypatch, caplog
):
  values, folder = run
  measured, predict = [], verdict.predictions_by_labels

  def interrupted(train, *others):
    if len(measured) == 1:
      measured.append("interrupted")
      raise KeyboardInterrupt
    measured.append(sorted(train))
    return predict(train, *others)

  monkeypatch.setattr(verdict, "predictions_by_labels", interrupted)
  config = Config(
    **{**values, **ASKED, "label_fractions": "0.05,0.5", "few_shots": "1,99"},
    mode="verdict",
    compare_with=stranger,
    external_scaling="bytes",
  )
  with pytest.raises(KeyboardInterrupt):
    commands.run(config)
  assert not (folder / "verdict/verdict.json").exists()
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(config)
  of_untrained = ["embedding", "embedding after recomputed batch norm"]
  assert measured == [["embedding"], "interrupted", of_untrained, ["embedding"]]
  assert "Training from scratch, supervised: 3 times 2 steps" in caplog.text
  assert "Label fraction 0.05 has 4 labels instead of 2" in caplog.text
  assert "99 images a class: 48 labels instead of 396" in caplog.text
  result = read(folder / "verdict/verdict.json")
  assert caplog.text.count(result["sentence"]) == 1
  assert [method["name"] for method in result["methods"]] == [
    "this run",
    "untrained",
    "stranger",
    "supervised from scratch",
  ]
  amounts = ["shots_1", "shots_99", "fraction_0.05", "fraction_0.5", "fraction_1"]
  assert [amount["amount"] for amount in result["amounts"]] == amounts
  assert [amount["labels"] for amount in result["amounts"]] == [4, 48, 4, 24, 48]
  pairs = [(row["amount"], row["against"]) for row in result["differences"]]
  assert len(pairs) == len(set(pairs)) == 2 * len(amounts) + 3
  assert result["answer"] == "can't be told" and result["margin"] == 0.01
  ours, untrained = (method["reached"] for method in result["methods"][:2])
  [row] = [
    row
    for row in result["differences"]
    if (row["amount"], row["against"]) == ("fraction_0.5", "untrained")
  ]
  assert row["value"] == pytest.approx(
    ours["fraction_0.5"]["mean"] - untrained["fraction_0.5"]["mean"]
  )
  page = (folder / "verdict/page/index.html").read_text()
  assert result["sentence"].split(":")[1] in page
  assert not (folder / "result.json").exists()  # nothing of the run itself changes

  caplog.clear()
  with caplog.at_level("INFO", "conrec_tf"):
    commands.run(config)
  assert len(measured) == 4 and "Training from scratch" not in caplog.text
  assert read(folder / "verdict/verdict.json") == result


def test_networks_are_told_apart_and_what_does_not_fit_is_refused(tmp_path, stranger):
  values = dict(image_size=24, unet_depth=2, model_dir=str(tmp_path / "run"))
  folder = written_down(values)
  config = Config(**values, mode="verdict", external_scaling="bytes")
  ours = trained_network(str(folder), config, config.settings, 1, "model_dir")
  theirs = trained_network(stranger, config, config.settings, 1, "compare_with")
  first = untrained_network(str(folder), config.settings, 1)
  records = [json.dumps(each.record, sort_keys=True) for each in (ours, theirs, first)]
  assert len(set(records)) == 3 and first.path == ""
  evaluated = folder / "evaluated"  # which says itself how its network is called
  evaluated.mkdir()
  settings = dict(encoder="external", checkpoint=stranger, external_scaling="unit", image_size=24)
  (evaluated / "config.json").write_text(json.dumps({**settings, "mode": "eval"}))
  again = trained_network(str(evaluated), config, config.settings, 1, "compare_with")
  assert again.record["network"] == theirs.record["network"]
  scalings = [each.record["read"]["external_scaling"] for each in (theirs, again)]
  assert scalings == ["bytes", "unit"]
  with pytest.raises(UsageError, match="compare_with must take images of 2 channels.*takes 3"):
    trained_network(stranger, config, config.settings, 2, "compare_with")
  with pytest.raises(UsageError, match="Of compare_with=nowhere: checkpoint must be a model_dir"):
    trained_network("nowhere", config, config.settings, 1, "compare_with")


def test_each_network_is_read_as_it_is_asked_or_as_it_was_evaluated(tmp_path, stranger):
  values = dict(image_size=24, unet_depth=2, model_dir=str(tmp_path / "run"), ft_proj_selector=1)
  folder = str(written_down(values))
  reading = dict(eval_image_size=48, eval_crops=2, representation_levels="all", ft_proj_selector=2)
  asked = Config(**{**values, **reading}, mode="verdict")
  evaluated = tmp_path / "evaluated"  # what another evaluation of the same network left
  evaluated.mkdir()
  settings = {**asked.settings, "checkpoint": folder, "mode": "eval", "eval_crops": 10}
  (evaluated / "config.json").write_text(json.dumps(settings))

  def read_of(path, read_as_asked=False):
    one = trained_network(path, asked, asked.settings, 3, "compare_with", read_as_asked)
    names = "evaluation_size", "eval_crops", "representation_levels", "ft_proj_selector"
    return tuple(one.record["read"][name] for name in names)

  assert read_of(folder, read_as_asked=True) == (48, 2, "all", 2)
  first = untrained_network(folder, asked.settings, 3).record["read"]
  assert (first["evaluation_size"], first["eval_crops"]) == (48, 2)
  assert read_of(folder) == (24, 1, "all_with_deviations", 1)
  assert read_of(str(evaluated)) == (48, 10, "all", 2)
  with pytest.raises(UsageError, match="image_size must be 24, for .*stranger"):
    read_of(stranger)
  at_its_size = dataclasses.replace(asked, eval_image_size=0)
  theirs = trained_network(stranger, at_its_size, at_its_size.settings, 3, "compare_with")
  assert theirs.record["read"]["ft_proj_selector"] == 0  # it has no layers to choose from


def test_networks_with_weights_of_imagenet_are_told_apart(tmp_path):
  records, config = [], Config(mode="verdict", model_dir=str(tmp_path))
  (tmp_path / "weights.h5").write_bytes(b"some")
  values = dict(encoder="resnet50", encoder_weights=str(tmp_path / "weights.h5"), mode="eval")
  folder = tmp_path / "evaluated"
  folder.mkdir()
  for levels, weights in (("last", b"some"), ("all", b"some"), ("all", b"others")):
    pathlib.Path(values["encoder_weights"]).write_bytes(weights)
    settings = {**config.settings, **values, "representation_levels": levels}
    (folder / "config.json").write_text(json.dumps(settings))
    found = trained_network(str(folder), config, config.settings, 3, "compare_with")
    records.append(json.dumps(found.record, sort_keys=True))
  assert len(set(records)) == 3


def test_no_two_methods_have_one_name():
  paths = ["runs/untrained", "runs/a", "others/a", "runs/a", "runs/b"]
  names = [name for name, _ in verdict._compared_with(paths)]
  assert names == ["untrained (runs/untrained)", "a (runs/a)", "a (others/a)", "b"]


def test_what_was_measured_otherwise_is_measured_again(simclr, rng):
  config = Config(**simclr, mode="verdict", few_shots="1", label_fractions="0.5")
  source = load_dataset(config)
  pathlib.Path(config.model_dir).mkdir()
  measured = []

  def represent(source):
    measured.append("once")
    labels = np.arange(48) % 4
    vectors = labels[:, np.newaxis] + rng.normal(0, 0.1, (48, 3))
    return ({EMBEDDING: vectors}, labels), ({EMBEDDING: vectors[:24]}, labels[:24])

  network, folders = Network("", {"network": "one"}, represent), []
  for changes in ({}, {"ordinal_labels": True}, {"eval_image_size": 48}, {}):
    asked = dataclasses.replace(config, **changes)
    bench = verdict._Bench(asked, source, source, pathlib.Path(config.model_dir))
    bench.measured("one", [network])
    folders.append(bench._from_scratch(2, 1.0, 48).model_dir)
  assert len(measured) == 2  # of grades anew; of what size it sees images a network itself tells
  assert len(set(folders[:3])) == 3 and folders[3] == folders[0]


def test_seeds_of_different_steps_are_no_method(simclr):
  config, folder = Config(**simclr, seeds="0,1"), pathlib.Path(simclr["model_dir"])
  RunDirectory(folder).start(config)
  RunDirectory(folder).write("result.json", {"seeds": [0, 1]})
  for seed, step in ((0, 1), (1, 3)):
    (folder / f"seed_{seed}/checkpoints").mkdir(parents=True)
    (folder / f"seed_{seed}/checkpoints/ckpt-{step}.index").touch()
  with pytest.raises(UsageError, match="as many steps, .* Received: 1, 3 in .*seed_0, .*seed_1"):
    commands.run(dataclasses.replace(config, mode="verdict"))


def test_what_a_verdict_needs(tmp_path, unlabelled):
  with pytest.raises(UsageError, match="folder of a run, for mode=verdict"):
    commands.run(Config(mode="verdict", model_dir=str(tmp_path / "empty")))
  written_down(unlabelled)
  with pytest.raises(UsageError, match="mode=verdict needs labels.*Received: images without"):
    commands.run(Config(**unlabelled, mode="verdict"))


@pytest.mark.slow
def test_a_killed_verdict_ends_as_one_that_was_not(run, tmp_path):
  values, folder = run
  flags = ["--mode=verdict", f"--model_dir={folder}", *as_flags(ASKED)]
  began = time.monotonic()
  done = command(*flags)
  seconds = time.monotonic() - began
  assert done.returncode == 0, done.stderr
  whole = read(folder / "verdict/verdict.json")
  (folder / "verdict").rename(tmp_path / "before")
  for share in (0.4, 0.6, 0.8):
    process = start(*flags)
    time.sleep(share * seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
  done = command(*flags)
  assert done.returncode == 0, done.stderr
  assert read(folder / "verdict/verdict.json") == whole


@pytest.mark.slow
def test_seeds_are_trainings_of_one_method(simclr):
  values = {**simclr, "train_steps": 2, "export_format": "", "bootstrap_samples": 0}
  commands.run(Config(**values, seeds="0,1"))
  config = Config(**values, **ASKED, seeds="0,1", mode="verdict", verdict_supervised=False)
  commands.run(config)
  result = read(pathlib.Path(config.model_dir) / "verdict/verdict.json")
  assert [method["trainings"] for method in result["methods"]] == [2, 2]
  assert [len(method["networks"]) for method in result["methods"]] == [2, 0]


def test_a_verdict_on_other_images_than_the_run_learnt_from_says_so(simclr, caplog):
  """What was held out of a folder is drawn anew where images are added."""
  folder = written_down(simclr)
  RunDirectory(folder).write("images.json", {"digest": "other images"})
  with pytest.raises(UsageError):  # whose checkpoint is empty
    commands.run(Config(**simclr, mode="verdict"))
  assert f"{folder} learnt from other images or labels than those of now" in caplog.text
