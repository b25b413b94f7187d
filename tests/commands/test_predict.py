import csv
import dataclasses
import os
import pathlib
import shutil

import numpy as np
from PIL import Image
import pytest

from conrec_tf import files
from conrec_tf.commands import embed
from conrec_tf.commands import predict as prediction
from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.embedding import embed_split
from conrec_tf.evaluation.label_kinds import Classes, Grades, MultiLabel
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.evaluation.supervised_evaluation import classifier_of_head
from conrec_tf.models import build_head, build_model
from conrec_tf.pretrained.classifier import find_classifier
from conrec_tf.pretrained.find import PretrainedModel, network_digest, resolve_checkpoint
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.classifier_file import KeptClassifier, write_classifier
from conrec_tf.run_dir.embedding_files import Archive
from conrec_tf.run_dir.image_table import image_columns
from conrec_tf.run_dir.run_directory import RunDirectory

NAMES = ("dark", "bright")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
  """A run of dark and bright images; its config, embeddings and labels, which are only read."""
  root, rng = tmp_path_factory.mktemp("predicted"), np.random.default_rng(0)
  for index in range(24):
    folder = root / "photos" / NAMES[index % 2]
    folder.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 100, (26, 26, 3)) + 150 * (index % 2)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:02}.png")
  config = Config(
    mode="predict",
    dataset="image_folder",
    data_dir=str(root / "photos"),
    label_order="dark,bright",
    train_split="train",
    eval_split="test",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    reconstruction_weight=0.0,
    pooling="average",
    corruption="none",
    eval_batch_size=8,
    model_dir=str(root / "run"),
  )
  model = build_model(config, 3)
  Checkpoints(root / "run", 1, {"model": model}).save(5)
  source = load_dataset(config)
  return config, model, source, embed_split(model, source, source.train, config)


def with_classifier(learnt, kind, labels, folder, **given):
  """Returns the config of a run beside that network, in which a classifier of labels is kept."""
  config, model, source, (embeddings, _) = learnt
  fitted = {flag: kind.fit((embeddings, labels), flag) for flag in (False, True)}
  known = KnownImages.of_embeddings(embeddings, source.train.names)
  kept = KeptClassifier(kind.name, NAMES, model.digest(), fitted, known, given)
  folder.mkdir(exist_ok=True)
  write_classifier(RunDirectory(folder), 5, kept)
  checkpoint = str(pathlib.Path(config.model_dir) / "checkpoints/ckpt-5")
  return dataclasses.replace(config, model_dir=str(folder), checkpoint=checkpoint), kept


def columns(learnt, kept):
  """What is predicted for the training images."""
  _, _, source, (embeddings, labels) = learnt
  arrays = {"embedding": embeddings, "label": labels}
  images = np.arange(len(labels))
  archive = Archive(pathlib.Path(), images, arrays, is_new=True)
  return image_columns(source, source.train, archive, kept)


def predicted(config):
  prediction.run(config)
  with pathlib.Path(config.model_dir, "predictions/photos.csv").open() as file:
    return list(csv.DictReader(file))


def test_each_image_has_its_class_and_its_distance(learnt, tmp_path, caplog):
  caplog.set_level("INFO")
  _, _, source, (embeddings, labels) = learnt
  config, kept = with_classifier(learnt, Classes(2), labels, tmp_path)
  rows = predicted(config)
  assert len(rows) == 24 and {row["split"] for row in rows} == {"train", "test"}
  assert all(row["predicted_class_name"] == row["class_name"] for row in rows)
  expected = kept.reading(True).probabilities(embeddings)
  by_name = {row["image"]: row for row in rows}
  for name, probabilities in zip(source.train.names, expected, strict=True):
    row = by_name[name]
    assert row["nearest_image"] == name and row["unlike"] == "0"
    assert float(row["distance"]) < 2e-3
    assert float(row["probability"]) == pytest.approx(probabilities.max(), abs=1e-5)
  text = caplog.text
  assert "24 embedded now" in text and "dark 12" in text and "100.00% right of" in text
  assert predicted(config) == rows and "(0 embedded now" in caplog.text


def test_images_like_nothing_learnt_are_told(learnt, tmp_path):
  _, kept = with_classifier(learnt, Classes(2), learnt[3][1], tmp_path)
  _, _, source, (embeddings, labels) = learnt
  dark = labels == 0
  known = KnownImages.of_embeddings(embeddings[dark], source.train.names[dark])
  table = columns(learnt, dataclasses.replace(kept, known=known))
  np.testing.assert_array_equal(table["unlike"], labels)
  np.testing.assert_array_equal(table["distance"] > known.limit, labels == 1)
  assert all(name.startswith("dark/") for name in table["nearest_image"])


@pytest.mark.slow
def test_another_set_of_images_is_predicted_anew(learnt, tmp_path):
  config, _ = with_classifier(learnt, Classes(2), learnt[3][1], tmp_path / "run")
  shutil.copytree(pathlib.Path(config.data_dir) / "dark", tmp_path / "photos")
  all_of_it = dict(data_dir=str(tmp_path / "photos"), train_split="all", eval_split="all")
  config = dataclasses.replace(config, **all_of_it, label_order="")
  rows = predicted(config)
  assert len(rows) == 12 and "class_name" not in rows[0]
  assert {row["predicted_class_name"] for row in rows} == {"dark"}
  (tmp_path / "photos/00.png").unlink()
  left = {row["image"]: row["predicted_class_name"] for row in predicted(config)}
  assert left == {f"{index:02}.png": "dark" for index in range(2, 24, 2)}


@pytest.mark.parametrize("kind", [Grades(2), MultiLabel(NAMES)])
def test_other_kinds_of_labels(learnt, tmp_path, kind):
  labels = learnt[3][1]
  several = np.stack([labels == 0, np.ones_like(labels)], axis=1).astype(int)
  labels = several if isinstance(kind, MultiLabel) else labels
  _, kept = with_classifier(learnt, kind, labels, tmp_path)
  table = columns(learnt, kept)
  is_dark = table["class_name"] == "dark"
  if isinstance(kind, MultiLabel):
    expected = np.where(is_dark, "dark, bright", "bright")
    assert np.all(table["bright probability"] == 1) and "probability" not in table
    np.testing.assert_array_equal(table["dark probability"] > 0.5, is_dark)
  else:
    expected = table["class_name"]
    assert np.all((table["probability"] > 0.5) & (table["probability"] <= 1))
  np.testing.assert_array_equal(table["predicted_class_name"], expected)


def test_a_network_from_which_nothing_was_learnt_is_refused(learnt, tmp_path):
  config = learnt[0]
  with pytest.raises(UsageError, match="must have a classifier, for mode=predict: evaluate"):
    prediction.run(config)
  other, _ = with_classifier(learnt, Classes(2), learnt[3][1], tmp_path)
  model = build_model(dataclasses.replace(config, seed=1), 3)
  Checkpoints(tmp_path, 1, {"model": model}).save(5)  # the classifier beside it is of another one
  with pytest.raises(UsageError, match="from whose embeddings nothing was learnt"):
    prediction.run(dataclasses.replace(other, checkpoint=""))


@pytest.mark.parametrize(
  "name, learnt_from, asked",
  [("evaluation_size", 24, dict(eval_image_size=48)), ("eval_crops", 1, dict(eval_crops=2))],
)
def test_a_classifier_of_images_that_were_given_otherwise_predicts_nothing(
  learnt, tmp_path, caplog, name, learnt_from, asked
):
  config, _ = with_classifier(
    learnt, Classes(2), learnt[3][1], tmp_path, **{name: learnt_from}, center_crop=False
  )
  assert len(predicted(config)) == 24
  with pytest.raises(UsageError, match="must have a classifier, for mode=predict"):
    prediction.run(dataclasses.replace(config, **asked))
  assert f"classifier_5.npz learnt from images that were given otherwise than now ({name}: " in (
    caplog.text
  )


def test_a_finetuned_network_predicts_by_its_head_whatever_its_images(learnt, tmp_path, caplog):
  config, model, _, (_, labels) = learnt
  _, kept = with_classifier(learnt, Classes(2), labels, tmp_path, evaluation_size=24)
  head = build_head(config, model, 3, 2)
  own = dataclasses.replace(kept, readings={False: classifier_of_head(head, ordinal=False)})
  write_classifier(RunDirectory(tmp_path), 5, own)
  settings = {"train_mode": "finetune"}
  pretrained = PretrainedModel("checkpoint", "none", settings=settings, class_names=NAMES)
  same, other = (
    find_classifier(pretrained, model, 0, head, tmp_path, {"evaluation_size": size})
    for size in (24, 48)
  )
  assert same.readings.keys() == other.readings.keys() == {False}
  assert len(same.known.names) and not len(other.known.names)
  assert "(evaluation_size: 24 -> 48): how far others are from those isn't known" in caplog.text
  assert "nothing is predicted" not in caplog.text


def test_a_network_that_says_nothing_of_crops_is_given_images_as_where_it_was_evaluated(
  learnt, tmp_path
):
  config, _ = with_classifier(learnt, Classes(2), learnt[3][1], tmp_path, center_crop=True)
  directory = RunDirectory(tmp_path)
  with pytest.raises(UsageError, match="must have a classifier"):  # images of one size: whole
    prediction.run(config)
  network = network_digest(resolve_checkpoint(config.checkpoint))
  noted = {"network": network, "center_crop": True}
  directory.write("measured_on.json", {"measured_on": noted})
  _, _, source = embed.opened_images(config, directory)
  assert source.center_crop and len(predicted(config)) == 24
  Checkpoints(tmp_path, 1, {"model": learnt[1]}).save(5)  # a run's own, of an earlier version
  directory.write("measured_on.json", {"measured_on": {"center_crop": True}})
  _, _, source = embed.opened_images(dataclasses.replace(config, checkpoint=""), directory)
  assert source.center_crop


def test_a_table_that_a_killed_process_was_writing_is_removed(learnt, tmp_path):
  _, _, _, (_, labels) = learnt
  config, _ = with_classifier(learnt, Classes(2), labels, tmp_path / "run")
  leftover = tmp_path / f"run/predictions/.conrec_tf.{os.getpid()}.1.0.{files._machine()}"
  leftover.parent.mkdir()
  leftover.touch()
  prediction.run(config)
  assert not leftover.exists() and list(leftover.parent.glob("*.csv"))


def test_a_checkpoint_is_of_its_run_wherever_it_is_named_from(tmp_path, monkeypatch):
  (tmp_path / "checkpoints").mkdir()
  (tmp_path / "checkpoints/ckpt-3.index").touch()
  RunDirectory(tmp_path).write("config.json", Config(image_size=48).settings)
  for folder, name in (("checkpoints", "ckpt-3"), ("", "checkpoints/ckpt-3"), ("", ".")):
    monkeypatch.chdir(tmp_path / folder)
    assert resolve_checkpoint(name).values["image_size"] == 48


def test_what_an_evaluation_kept_apart_learnt_is_told(learnt, tmp_path, caplog):
  """As of more labels: the same command leaves it in a folder of its own."""
  caplog.set_level("INFO")
  labels, run = learnt[3][1], tmp_path / "run"
  run.mkdir()
  apart = run / "evaluations/photos-test-0123"
  apart.mkdir(parents=True)
  config, _ = with_classifier(learnt, Classes(2), labels, apart)
  config = dataclasses.replace(config, model_dir=str(run))
  with pytest.raises(UsageError) as error:
    prediction.run(config)
  said = f"mode=eval kept apart, {apart}: name one as model_dir, with --checkpoint"
  assert said in str(error.value)
  with_classifier(learnt, Classes(2), labels, run)
  predicted(config)
  assert said in caplog.text
  caplog.clear()
  predicted(dataclasses.replace(config, model_dir=str(apart)))
  assert said not in caplog.text
