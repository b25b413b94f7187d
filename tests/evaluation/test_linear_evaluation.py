import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.augmentation.resizing import evaluation_crops
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.evaluation import linear_evaluation as module
from conrec_tf.evaluation.embedding import all_representations, embed_split
from conrec_tf.evaluation.label_kinds import Classes, Grades, MultiLabel
from conrec_tf.models import build_model


def linear_evaluation(train, test, kind, learnt=None, **values):
  return module.linear_evaluation(train, test, kind, Config(**values), learnt=learnt)


def full_evaluation(train, test, kind, **values):
  raw = dict(standardize_embeddings=False, bootstrap_samples=0)
  return module.full_evaluation(train, test, kind, Config(**(raw | values)))


@pytest.fixture
def splits(rng):
  centres = rng.normal(size=(5, 6))
  return [
    (centres[labels] + 0.5 * rng.normal(size=(len(labels), 6)), labels)
    for labels in (rng.integers(0, 5, 200), rng.integers(0, 5, 100))
  ]


@pytest.fixture(scope="module")
def network(data_dir):
  """A small dataset and a network, which aren't changed."""
  config = Config(
    data_dir=data_dir,
    train_split="train[:48]",
    eval_split="test[:24]",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    representation_levels="all",
  )
  return load_dataset(config), build_model(config)


def test_embed_split_keeps_order_and_resizes(network):
  source, model = network
  embeddings, labels = embed_split(
    model, source, source.eval, Config(image_size=24, unet_depth=2, eval_batch_size=10)
  )
  assert embeddings.shape == (24, 2 + 4) and embeddings.dtype == np.float32
  records = list(source.eval.records())
  assert list(labels) == [int(record["label"]) for record in records]
  image = tf.image.resize(source.decode(records[13]["image"]), [24, 24], "bicubic") / 255
  expected = model.embed(tf.clip_by_value(image, 0, 1)[tf.newaxis])[0]
  np.testing.assert_allclose(embeddings[13], expected, atol=1e-6)


@pytest.mark.parametrize("crops", [1, 2, 10])
def test_embeddings_are_means_over_crops(network, crops):
  source, model = network
  config = Config(image_size=24, unet_depth=2, eval_crops=crops)
  embeddings, _ = embed_split(model, source, source.eval, config)
  [(images, _)] = evaluation_batches(source, source.eval.records(), 24, 64)
  parts = [model.embed(crop).numpy() for crop in evaluation_crops(images, crops)]
  np.testing.assert_allclose(embeddings, np.mean(parts, axis=0), atol=1e-6)
  everything, _ = all_representations(model, source, source.eval, config)
  np.testing.assert_allclose(everything["all levels"], embeddings, atol=1e-6)
  if crops > 1:
    assert np.abs(embeddings - parts[0]).max() > 1e-4


@pytest.mark.parametrize("selector, width", [(0, 6), (1, 4), (3, 128), (-1, 128)])
def test_layer_selects_what_is_embedded(network, selector, width):
  source, model = network
  embeddings, _ = embed_split(
    model, source, source.eval, Config(image_size=24, unet_depth=2, ft_proj_selector=selector)
  )
  assert embeddings.shape == (24, width)


def test_linear_evaluation_measures_raw_and_standardised(splits):
  metrics = linear_evaluation(*splits, Classes(5))
  assert set(metrics) == {
    f"eval/{kind}linear_top_{k}_accuracy" for kind in ("", "standardised_") for k in (1, 3)
  }
  assert 0.5 < metrics["eval/linear_top_1_accuracy"] < metrics["eval/linear_top_3_accuracy"] <= 1


def test_validation_share_uses_training_labels_only(splits):
  metrics = linear_evaluation(*splits, Classes(5), select_best_on="validation")
  name = "eval/validation_linear_top_1_accuracy"
  assert 0.5 < metrics[name] <= 1
  other = (splits[1][0], np.zeros(100, int))  # the evaluation labels play no part
  assert (
    linear_evaluation(splits[0], other, Classes(5), select_best_on="validation")[name]
    == metrics[name]
  )


def test_cross_validation_gives_mean_and_deviation(splits):
  metrics = linear_evaluation(splits[0], None, Classes(5), cv_folds=4)
  assert 0.5 < metrics["eval/linear_top_1_accuracy"] <= 1
  assert 0 < metrics["eval/linear_top_1_accuracy_std"] < 0.2
  full = full_evaluation(splits[0], None, Classes(5), cv_folds=4)
  assert set(full) == {"eval/knn_accuracy"}


@pytest.mark.parametrize("folds", [0, 3])
def test_ordinal_labels_are_measured_by_kappa(splits, folds):
  metrics = linear_evaluation(*splits, Grades(5), cv_folds=folds)
  assert not any("accuracy" in name for name in metrics)
  assert -1 <= metrics["eval/quadratic_weighted_kappa"] <= 1


def test_full_evaluation_adds_knn_predictions_and_label_fractions(splits):
  metrics = full_evaluation(*splits, Classes(5), label_fractions="0.1,1.0", num_repeats=2)
  assert {"eval/knn_accuracy", "eval/predictions", "eval/label_fractions"} <= set(metrics)
  small, whole = metrics["eval/label_fractions"]
  quick = linear_evaluation(*splits, Classes(5))
  predictions = metrics["eval/predictions"]
  np.testing.assert_array_equal(predictions["label"], splits[1][1])
  right = np.mean(predictions["prediction"] == predictions["label"])
  assert right == quick["eval/linear_top_1_accuracy"]
  assert np.all((predictions["probability"] > 0.2) & (predictions["probability"] <= 1))
  assert whole["mean"] == quick["eval/linear_top_1_accuracy"] and whole["repetitions"] == 1
  assert small["labels"] == 20 and small["mean"] < whole["mean"] and small["std"] > 0


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("kind", [Classes(5), Grades(5), MultiLabel(("a", "b", "c"))])
def test_the_end_measures_the_quick_ones_too(splits, kind, standardise):
  if isinstance(kind, MultiLabel):
    splits = [(embeddings, labels[:, None] % [2, 3, 4] % 2) for embeddings, labels in splits]
  quick = linear_evaluation(*splits, kind)
  full = full_evaluation(*splits, kind, standardize_embeddings=standardise)
  prefix = "eval/standardised_" if standardise else "eval/"
  both = {name for name in quick if name in full}
  assert both == {name for name in quick if name.startswith("eval/st") == standardise}
  assert kind.metric.replace("eval/", prefix) in both
  assert {name: full[name] for name in both} == {name: quick[name] for name in both}


@pytest.mark.parametrize("images_of_a_class", [1, 2, 3])
def test_validation_share_of_many_small_classes(rng, images_of_a_class):
  labels = np.repeat(np.arange(10), images_of_a_class)
  train = rng.normal(size=(len(labels), 4)), labels
  metrics = linear_evaluation(train, train, Classes(10), select_best_on="validation")
  assert 0 <= metrics["eval/validation_linear_top_1_accuracy"] <= 1


@pytest.mark.parametrize("standardise, prefix", [(False, "eval/"), (True, "eval/standardised_")])
def test_the_last_evaluation_has_intervals_around_its_numbers(splits, standardise, prefix):
  quick = linear_evaluation(*splits, Classes(5))
  full = full_evaluation(
    *splits, Classes(5), standardize_embeddings=standardise, bootstrap_samples=200
  )
  for name in ("top_1_accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"):
    key = f"{prefix}linear_{name}"
    low, high = full["eval/intervals"][key]
    assert low < (quick | full)[key] < high < low + 0.3, name
  assert full_evaluation(*splits, Classes(5))["eval/linear_auroc"] <= 1
  assert "eval/intervals" not in full_evaluation(*splits, Classes(5))


def test_a_class_that_is_not_learnt_from_has_probability_0(splits):
  train = tuple(part[splits[0][1] < 4] for part in splits[0])
  full = full_evaluation(train, splits[1], Classes(5))
  assert full["eval/linear_balanced_accuracy"] < 0.81  # its images are all wrong


def test_grades_have_an_interval_of_kappa(splits):
  full = full_evaluation(*splits, Grades(5), bootstrap_samples=100)
  value = linear_evaluation(*splits, Grades(5))["eval/quadratic_weighted_kappa"]
  [(name, (low, high))] = full["eval/intervals"].items()
  assert name == "eval/quadratic_weighted_kappa" and low <= value <= high
