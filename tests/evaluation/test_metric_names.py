import pytest

from conrec_tf.evaluation import metric_names


@pytest.mark.parametrize(
  "values, name",
  [
    (dict(ordinal=False), "eval/linear_top_1_accuracy"),
    (dict(ordinal=True), "eval/quadratic_weighted_kappa"),
    (dict(ordinal=False, supervised=True), "eval/label_top_1_accuracy"),
    (dict(ordinal=True, supervised=True), "eval/label_quadratic_weighted_kappa"),
    (dict(ordinal=False, labelled=False), "eval/total_loss"),
  ],
)
def test_main_metric_follows_labels_and_head(values, name):
  assert metric_names.main_metric(**values) == name
  assert name in metric_names.MAIN_METRICS


def test_variants_of_a_name():
  name = metric_names.LINEAR_ACCURACY
  assert metric_names.best(name) == "eval/best_linear_top_1_accuracy"
  assert metric_names.untrained(name) == "eval/untrained_linear_top_1_accuracy"
  assert metric_names.validation(name) == "eval/validation_linear_top_1_accuracy"
  assert metric_names.display_name(name) == "linear top 1 accuracy"


@pytest.mark.parametrize(
  "name, value, text",
  [
    ("eval/knn_accuracy", 0.12345, "12.35%"),
    ("eval/total_loss", 1.5, "1.5000"),
    ("eval/contrast_entropy", 0.25, "0.2500"),
    ("eval/best_step", 20, "20"),
  ],
)
def test_values_are_shown_as_shares_losses_or_steps(name, value, text):
  assert metric_names.format_value(name, value) == text


def test_a_smaller_loss_scores_higher():
  assert metric_names.selection_score("eval/total_loss", 1.0) > metric_names.selection_score(
    "eval/total_loss", 2.0
  )
  assert metric_names.selection_score("eval/knn_accuracy", 0.2) > metric_names.selection_score(
    "eval/knn_accuracy", 0.1
  )
