import pytest

from conrec_tf.metrics import (
  LINEAR_ACCURACY,
  METRICS,
  best_key,
  display_name,
  format_value,
  metric_of,
  scaling_prefix,
  selection_score,
  supervised_metric,
  untrained_key,
  validation_key,
)


def test_the_number_that_counts_of_a_head():
  assert supervised_metric(False) == "eval/label_top_1_accuracy"
  assert supervised_metric(True) == "eval/label_quadratic_weighted_kappa"
  assert scaling_prefix(True) == "eval/standardised_"


def test_variants_of_a_name():
  name = LINEAR_ACCURACY
  assert best_key(name) == "eval/best_linear_top_1_accuracy"
  assert untrained_key(name) == "eval/untrained_linear_top_1_accuracy"
  assert validation_key(name) == "eval/validation_linear_top_1_accuracy"
  assert display_name(name) == "linear top 1 accuracy"


@pytest.mark.parametrize(
  "name, value, text",
  [
    ("eval/knn_accuracy", 0.12345, "12.35%"),
    ("eval/total_loss", 1.5, "1.5000"),
    ("eval/contrast_entropy", 0.25, "0.2500"),
    ("eval/best_step", 20, "20"),
    ("eval/rank_me_std", 1.234, "1.23"),
    ("eval/one_sided_images", 2, "2"),
    ("eval/quadratic_weighted_kappa", -1e-16, "0.00%"),
    ("eval/uniformity", -0.004, "0.00"),
    ("eval/uniformity", -0.006, "-0.01"),
  ],
)
def test_values_are_shown_as_shares_losses_or_steps(name, value, text):
  assert format_value(name, value) == text


def test_a_smaller_loss_scores_higher():
  assert selection_score("eval/total_loss", 1.0) > selection_score("eval/total_loss", 2.0)
  assert selection_score("eval/knn_accuracy", 0.2) > selection_score("eval/knn_accuracy", 0.1)


@pytest.mark.parametrize(
  "key, axis, scale",
  [
    ("eval/dice", "Dice (%)", 100),
    ("eval/best_linear_auroc", "mean area under the ROC curve (%)", 100),
    (
      "eval/standardised_linear_top_1_accuracy",
      "linear accuracy, standardised embeddings (%)",
      100,
    ),
    ("eval/rank_me", "RankMe", 1),
    ("eval/knn_accuracy", "knn accuracy", 100),
    ("eval/untrained_contrast_loss", "untrained contrast loss", 1),
  ],
)
def test_an_axis_says_variant_and_unit(key, axis, scale):
  metric = metric_of(key)
  assert (metric.axis, metric.scale) == (axis, scale)


def test_every_key_has_one_record():
  assert all(key == metric.key for key, metric in METRICS.items())
  for metric in METRICS.values():  # a share's axis is in per cent
    assert not metric.axis or ("%)" in metric.axis) == (metric.scale == 100)


def test_a_group_has_charts_and_a_chart_a_group():
  for metric in METRICS.values():
    assert bool(metric.group) == bool(metric.charts), metric.key
