"""Evaluations of a network in training: which numbers each takes, and of whom."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.registry import load_dataset
from conrec_tf.metrics import (
  CHOSEN,
  CLASSIFIER,
  EVAL_TOTAL_LOSS,
  LABEL_ACCURACY,
  LABEL_FREE,
  LINEAR_ACCURACY,
  PREDICTIONS,
  RANK_ME,
  REPRESENTATIONS,
  recomputed_key,
  standardised_key,
)
from conrec_tf.models import build_model
from conrec_tf.training import evaluations
from conrec_tf.training.evaluations import (
  evaluate_head,
  evaluate_linearly,
  evaluate_recomputed,
  evaluate_without_labels,
  main_metric,
  recompute_normalization,
)
from conrec_tf.training.task import (
  finetuning_evaluation,
  pretraining_evaluation,
  pretraining_task,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Options, a network and images of two classes, dark and bright, that any network tells apart."""
  rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "images.npz"
  labels = {"train": np.arange(24) % 2, "test": np.arange(12) % 2}
  arrays = {f"y_{split}": values for split, values in labels.items()}
  for split, values in labels.items():
    level = 40 + 150 * values[:, np.newaxis, np.newaxis, np.newaxis]
    arrays[f"x_{split}"] = (level + rng.integers(0, 40, (len(values), 16, 16, 3))).astype(np.uint8)
  np.savez(path, **arrays)
  config = Config(
    **dict(dataset="npz", data_dir=str(path), image_size=16, unet_depth=2, base_filters=2),
    **dict(
      corruption="none", reconstruction_weight=0, bootstrap_samples=10, sweep_representations=True
    ),
  )
  return config, build_model(config), load_dataset(config)


def test_quick_measures_are_those_of_the_end(trained):
  config, model, source = trained
  quick = evaluate_linearly(config, model, source, full=False)
  whole = evaluate_linearly(config, model, source, full=True)
  assert main_metric(config, source) == standardised_key(LINEAR_ACCURACY)
  assert quick[standardised_key(LINEAR_ACCURACY)] == 1.0
  assert PREDICTIONS not in quick and REPRESENTATIONS not in quick
  classifiers = [each.pop(CLASSIFIER).reading(True) for each in (quick, whole)]
  np.testing.assert_array_equal(*(each.weights for each in classifiers))
  assert {name: whole[name] for name in quick} == pytest.approx(quick)
  assert list(whole[PREDICTIONS]["image"]) == list(range(12))
  assert list(whole[PREDICTIONS]["class_name"]) == ["0", "1"] * 6
  assert whole[CHOSEN + LINEAR_ACCURACY.removeprefix("eval/")] == 1.0


def test_without_labels_embeddings_of_the_evaluation_split_are_measured(trained):
  config, model, source = trained
  found = evaluate_without_labels(config, model, source)
  labelled = evaluate_linearly(config, model, source, full=False)
  assert {name: labelled[name] for name in found} == pytest.approx(found)
  assert 1 <= found[RANK_ME] <= 12


@pytest.mark.parametrize("queue_length", [0, 16])
def test_an_untrained_network_is_measured_alike_whenever_that_is(trained, queue_length):
  """Momentum contrast has a network and a queue beside it, which a training changes."""
  config, *_ = trained
  config = dataclasses.replace(
    config,
    label_mode="none",
    contrastive_method="moco",
    moco_queue_length=queue_length,
    train_batch_size=4,
    local_crops=0,
    sweep_representations=False,
  )
  source = load_dataset(config)
  task = pretraining_task(config, source, source, 10, None, config)
  before = task.evaluate_untrained()
  changed = [task.networks["queue"]] if queue_length else []
  for weight in [*task.networks["momentum"].weights, *changed]:
    weight.assign(tf.random.stateless_uniform(weight.shape, [0, 1]))
  assert task.evaluate_untrained() == before
  assert before[EVAL_TOTAL_LOSS] > 0


def test_statistics_computed_anew_are_read_under_names_of_their_own(trained):
  config, _, source = trained
  model = build_model(config)
  before = [layer.numpy() for layer in model.non_trainable_variables]
  found = evaluate_recomputed(config, model, source)
  assert found[recomputed_key(LINEAR_ACCURACY)] == 1.0
  assert not set(map(recomputed_key, LABEL_FREE)) & set(found)
  changed = zip(before, model.non_trainable_variables, strict=True)
  assert any(np.any(old != new.numpy()) for old, new in changed)


def test_statistics_are_computed_anew_from_all_of_a_split_though_it_is_sorted(
  tmp_path, monkeypatch
):
  """Of 3,000 images the darkest come first; each batch is as bright as all."""
  level = np.repeat(np.linspace(0, 250, 3000).astype(np.uint8), 16 * 16).reshape(-1, 16, 16)
  images = {split: level for split in ("x_train", "x_test")}
  np.savez(tmp_path / "images.npz", **images, y_train=np.arange(3000), y_test=np.arange(3000))
  config = Config(
    **dict(dataset="npz", data_dir=str(tmp_path / "images.npz"), image_size=16, unet_depth=2),
    **dict(base_filters=2, corruption="none", reconstruction_weight=0, eval_batch_size=7),
  )
  seen = []
  monkeypatch.setattr(
    evaluations, "recompute_statistics", lambda model, forward, batches: seen.extend(batches)
  )
  source = load_dataset(config)
  recompute_normalization(config, build_model(config, 1), source)
  assert [len(batch) for batch in seen] == [64] * 16
  expected = (level / 255).mean()
  for batch in seen:
    assert np.mean(batch) == pytest.approx(expected, abs=0.15)
  assert np.mean(seen) == pytest.approx(expected, abs=1e-3)


def test_images_without_names_that_a_head_keeps_are_called_by_their_place(trained, monkeypatch):
  for module in ("training.evaluations", "evaluation.probes"):
    monkeypatch.setattr(f"conrec_tf.{module}.MOST_KNOWN", 3)
  config, _, source = trained
  config = dataclasses.replace(config, train_mode="finetune", sweep_representations=False)
  task = finetuning_evaluation(config, source, source)
  assert list(task.evaluate(True)[CLASSIFIER].known.names) == ["0", "12", "23"]


def test_images_of_a_part_are_called_by_their_places_in_the_whole_split(trained):
  """As in embeddings of all images: whether of a fold, a share, or of what has a label."""
  config, model, source = trained
  train, test = source.train.part(np.arange(3, 23)), source.eval.part(np.arange(2, 12))
  source = dataclasses.replace(source, train=train.part(np.arange(1, 19)), eval=test)
  config = dataclasses.replace(config, sweep_representations=False)
  found = evaluate_linearly(config, model, source, full=True)
  assert list(found[PREDICTIONS]["image"]) == list(range(2, 12))
  assert list(found[CLASSIFIER].known.names) == [str(number) for number in range(4, 22)]
  config = dataclasses.replace(config, train_mode="finetune")
  of_head = finetuning_evaluation(config, source, source).evaluate(True)
  assert list(of_head[PREDICTIONS]["image"]) == list(range(2, 12))
  assert list(of_head[CLASSIFIER].known.names) == list(found[CLASSIFIER].known.names)


def test_a_head_beside_pretraining_is_measured_on_images_that_have_a_label(trained):
  config, _, source = trained
  options = dict(lineareval_while_pretraining=True, sweep_representations=False)
  config, count = dataclasses.replace(config, **options), 6
  labels = np.where(np.arange(12) < count, source.eval.labels(), -1)
  partly = dataclasses.replace(
    source.eval, rows=source.eval.rows.with_column("label", labels), labels=lambda: labels
  )
  partly = dataclasses.replace(source, eval=partly)
  task = pretraining_evaluation(config, partly, partly.labelled)
  labelled = dataclasses.replace(source, eval=source.eval.part(np.arange(count)))
  expected = evaluate_head(config, task.model, task.networks["head"], labelled, full=False)
  found = task.evaluate(False)
  assert expected and {name: found[name] for name in expected} == expected
  none = np.full(12, -1)
  rows = source.eval.rows.with_column("label", none)
  without = dataclasses.replace(source.eval, rows=rows, labels=lambda: none)
  task = pretraining_evaluation(config, dataclasses.replace(source, eval=without), source)
  assert LABEL_ACCURACY in expected and LABEL_ACCURACY not in task.evaluate(False)
