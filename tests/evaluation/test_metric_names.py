import pytest

from conrec_tf.evaluation import metric_names


def test_the_number_that_counts_of_a_head():
  assert metric_names.supervised_metric(False) == "eval/label_top_1_accuracy"
  assert metric_names.supervised_metric(True) == "eval/label_quadratic_weighted_kappa"
  assert metric_names.reading(True) == "eval/standardised_"


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
