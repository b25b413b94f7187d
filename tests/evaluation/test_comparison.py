import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from conrec_tf.evaluation.comparison import compare
from conrec_tf.evaluation.label_kinds import Grades


def _predictions(right):
  return np.where(right, 1, 0)  # the label of every image is 1


def _trainings(rng, difficulty, count, skill, spread):
  """Predictions of trainings that find the same images difficult, and differ in skill."""
  drawn = skill + spread * rng.normal(size=(count, 1)) - difficulty
  return list(_predictions(rng.random((count, len(difficulty))) < 1 / (1 + np.exp(-drawn))))


def test_a_pair_of_trainings_is_tested_as_mcnemar_does(rng):
  labels = np.ones(2000, int)
  first = _predictions(rng.random(2000) < 0.7)
  second = np.where(rng.random(2000) < 0.1, 1 - first, first)
  only_first, only_second = np.sum(first > second), np.sum(second > first)
  found = compare([first], [second], labels)
  expected = stats.binomtest(int(only_first), int(only_first + only_second)).pvalue
  assert found.value == pytest.approx((only_first - only_second) / 2000)
  assert found.p_value == pytest.approx(expected, abs=0.03)
  assert not found.varies_by_training


def test_the_error_is_that_of_images_and_of_trainings_together(rng):
  labels = np.ones(500, int)
  sides = [_trainings(rng, 2 * rng.normal(size=500), 3, skill, 0.3) for skill in (0.8, 0.5)]
  found = compare(*sides, labels, resamples=20000)
  right = [np.array(side, float) for side in sides]
  of_images = (right[0].mean(0) - right[1].mean(0)).var(ddof=1) / 500
  of_trainings = [side.mean(1).var(ddof=1) / 3 for side in right]
  total = of_images + sum(of_trainings)
  freedom = total**2 / (of_images**2 / 499 + sum(part**2 / 2 for part in of_trainings))
  half = stats.t(freedom).ppf(0.975) * np.sqrt(total)
  assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half, rel=0.02)
  assert sum(found.interval) / 2 == pytest.approx(found.value)


@pytest.mark.parametrize("counts", [(3, 3), (5, 2), (3, 1)])
def test_methods_that_do_not_differ_are_rarely_told_apart(rng, counts):
  labels, found = np.ones(300, int), 0
  for draw in range(300):
    difficulty = 2 * rng.normal(size=300)
    sides = [_trainings(rng, difficulty, count, 0.5, 0.3) for count in counts]
    found += compare(*sides, labels, resamples=200, seed=draw).p_value < 0.05
  assert found / 300 < 0.1  # of images alone, 0.37


def test_verdicts(rng):
  labels = np.ones(500, int)
  strong, weak = (_predictions(rng.random((3, 500)) < share) for share in (0.9, 0.5))
  assert compare(strong, weak, labels).verdict == "ahead"
  assert compare(weak, strong, labels).verdict == "behind"
  same = compare(weak, weak, labels)
  assert same.verdict == "within noise" and same.value == 0 and same.p_value > 0.9
  alike = compare(weak[:1], weak[:1], labels)
  assert (alike.p_value, alike.interval) == (1.0, (0.0, 0.0))


def test_several_labels_are_compared_by_area_under_the_roc_curve(rng):
  labels = rng.integers(0, 2, (300, 3))
  near, far = labels + rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
  found = compare([near], [far], labels)
  expected = [roc_auc_score(labels, each, average="macro") for each in (near, far)]
  assert found.value == pytest.approx(expected[0] - expected[1])
  assert found.verdict == "ahead"


def test_grades_are_compared_by_kappa(rng):
  labels = rng.integers(0, 5, 400)
  near = np.clip(labels + rng.integers(-1, 2, 400), 0, 4)
  far = rng.integers(0, 5, 400)
  found = compare([near], [far], labels, grades=5)
  expected = [Grades(5).agreement(labels, each) for each in (near, far)]
  assert found.value == pytest.approx(expected[0] - expected[1])
  assert found.verdict == "ahead"


def test_how_far_subsets_of_labels_differ_is_in_the_interval(rng):
  labels = np.ones(400, int)
  first, second = (
    np.stack([_predictions(rng.random(400) < share) for share in shares])
    for shares in ((0.9, 0.7, 0.5), (0.6, 0.6, 0.6))
  )
  found = compare([first], [second], labels, resamples=20000)
  of_subsets = first.mean(1) - second.mean(1)
  assert found.value == pytest.approx(of_subsets.mean()) and not found.varies_by_training
  of_images = (first.mean(0) - second.mean(0)).var() / 400
  variance = of_subsets.var(ddof=1) / 3
  assert found.spread.of_units == pytest.approx(of_images, rel=0.05)
  assert found.spread.others == ((pytest.approx(variance), 2),)
  freedom = (of_images + variance) ** 2 / (of_images**2 / 399 + variance**2 / 2)
  half = stats.t(freedom).ppf(0.975) * np.sqrt(of_images + variance)
  assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half, rel=0.02)
