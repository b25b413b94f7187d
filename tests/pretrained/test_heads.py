"""A supervised head says nothing of another representation than it learnt from, nor as grades."""

import dataclasses

import numpy as np
import pytest

from conrec_tf import commands
from conrec_tf.commands.tasks import portable_network
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.label_kinds import Classes
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.evaluation.supervised_evaluation import classifier_of_head
from conrec_tf.models import build_head, build_model
from conrec_tf.pretrained.classifier import find_classifier
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import open_network
from conrec_tf.run_dir.checkpoints import Checkpoints
from conrec_tf.run_dir.classifier_file import KeptClassifier, write_classifier
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory

OTHERWISE = [dict(ft_proj_selector=1), dict(representation_levels="all")]


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
  """The options of a run whose head takes the second of two layers that are equally wide."""
  root, images = tmp_path_factory.mktemp("run"), np.zeros([8, 16, 16, 1], np.uint8)
  labels = np.arange(8) % 2
  np.savez(root / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
  config = Config(
    **dict(train_mode="finetune", dataset="npz", data_dir=str(root / "data.npz")),
    **dict(model_dir=str(root / "run"), image_size=16, base_filters=2, unet_depth=2),
    **dict(representation_levels="last", ft_proj_selector=2, train_batch_size=4, train_steps=1),
  )
  model = build_model(config, 1)
  head = build_head(config, model, 1, 2)
  directory = RunDirectory(config.model_dir)
  Checkpoints(directory.path, 1, {"model": model, "head": head}).save(1)
  directory.write("config.json", config.settings)
  directory.write(IMAGES, {"channels": 1, "center_crop": False, "class_names": ["0", "1"]})
  return config


@pytest.mark.parametrize("values", OTHERWISE)
def test_it_is_left_out_where_images_are_embedded(finetuned, values, caplog):
  caplog.set_level("INFO", "conrec_tf")
  pretrained = resolve_checkpoint(finetuned.model_dir)
  config = dataclasses.replace(finetuned, mode="predict")
  assert open_network(config, pretrained, 1)[1] and "says nothing" not in caplog.text
  assert open_network(dataclasses.replace(config, **values), pretrained, 1)[1] is None
  [name] = values
  assert f"head, which learnt from {name}={getattr(config, name)}, says nothing" in caplog.text


@pytest.mark.parametrize("values", OTHERWISE)
def test_it_is_not_exported(finetuned, values):
  pretrained = resolve_checkpoint(finetuned.model_dir)
  config = dataclasses.replace(finetuned, mode="export")
  assert portable_network(config, pretrained)[2]
  [name] = values
  with pytest.raises(UsageError, match=f"{name} must be .*, as the supervised head learnt. Rec"):
    portable_network(dataclasses.replace(config, **values), pretrained)


@pytest.mark.parametrize("values", [*OTHERWISE, dict(ordinal_labels=True)])
def test_it_is_not_measured(finetuned, tmp_path, values):
  [name] = values
  message = f"{name} must be .*, as the supervised head learnt. Received: {values[name]}"
  config = dataclasses.replace(finetuned, mode="eval", **values)
  with pytest.raises(UsageError, match=message):
    commands.run(config)
  elsewhere = dict(checkpoint=finetuned.model_dir, model_dir=str(tmp_path))
  with pytest.raises(UsageError, match=message):
    commands.run(dataclasses.replace(config, **elsewhere))


def test_labels_that_its_embeddings_were_evaluated_on_since_come_before_it(finetuned, tmp_path):
  """In the folder of that evaluation; elsewhere it predicts what it learnt."""
  pretrained = resolve_checkpoint(finetuned.model_dir)
  model, head = open_network(finetuned, pretrained, 1)
  vectors = np.random.default_rng(0).normal(size=(6, head.get_weights()[0].shape[0]))
  train = vectors, np.arange(6) % 3
  learnt = {each: Classes(3).fit(train, each) for each in (False, True)}
  known = KnownImages.of_embeddings(vectors, np.arange(6))
  kept = KeptClassifier("classes", ("a", "b", "c"), model.digest(2), learnt, known)
  write_classifier(RunDirectory(tmp_path), 1, kept)
  found = find_classifier(pretrained, model, 2, head, tmp_path)
  assert found.class_names == ("a", "b", "c") and set(found.readings) == {False, True}
  own = dataclasses.replace(
    kept, class_names=("0", "1"), readings={False: classifier_of_head(head, False)}
  )
  write_classifier(RunDirectory(tmp_path), 1, own)
  for folder in (tmp_path, ""):
    found = find_classifier(pretrained, model, 2, head, folder)
    assert found.class_names == ("0", "1")
    np.testing.assert_array_equal(found.reading(True).weights, head.get_weights()[0])
    assert len(found.known.names) == (6 if folder else 0)
