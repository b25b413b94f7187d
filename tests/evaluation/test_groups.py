"""Intervals and comparisons of images that belong together, as those of a patient do."""

import numpy as np
import pytest
from scipy import stats

from conrec_tf.evaluation import measures
from conrec_tf.evaluation.comparison import compare
from conrec_tf.evaluation.label_kinds import Grades
from conrec_tf.evaluation.linear_evaluation import held_out_labels
from conrec_tf.evaluation.probes import cross_validate

PATIENTS, IMAGES, ACCURACY = 30, 10, 0.7
GROUPS = np.repeat([f"patient {number}" for number in range(PATIENTS)], IMAGES).astype(object)


def drawn(rng, share):
  """Whether each image is predicted right: a share of images as one draw of their patient."""
  patient = np.repeat(rng.random(PATIENTS) < ACCURACY, IMAGES)
  own = rng.random(len(GROUPS)) < ACCURACY
  return np.where(rng.random(len(GROUPS)) < share, patient, own)


def simulated(share, repetitions, resamples, groups=GROUPS):
  """Returns how often equal methods are told apart, and how often intervals hold the truth."""
  apart = covered = 0
  for repetition in range(repetitions):
    rng = np.random.default_rng([1, int(100 * share), repetition])
    labels = rng.integers(0, 2, len(GROUPS))
    first, second = (np.where(drawn(rng, share), labels, 1 - labels) for _ in range(2))
    found = compare([first], [second], labels, groups=groups, resamples=resamples, seed=repetition)
    apart += found.verdict != "within noise"
    intervals = measures.intervals(
      [measures.accuracies], np.eye(2)[first], labels, resamples, repetition, groups
    )
    low, high = intervals["top_1_accuracy"]
    covered += low <= ACCURACY <= high
  return apart / repetitions, covered / repetitions


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_equal_methods_are_within_noise_and_intervals_hold_the_truth(share):
  apart, covered = simulated(share, repetitions=80, resamples=200)
  assert apart <= 0.13 and covered >= 0.87


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5])  # others, less often, above
def test_rates_over_1000_repetitions_are_those_promised(share):
  apart, covered = simulated(share, repetitions=1000, resamples=500)
  assert apart <= 0.07 and 0.93 <= covered <= 0.97, (apart, covered)


def test_without_groups_alike_images_pass_for_many():
  apart, covered = simulated(0.8, repetitions=40, resamples=100, groups=None)
  assert apart > 0.2 and covered < 0.8


def test_resamples_of_one_grade_have_no_kappa_that_counts():
  grades = np.repeat([0, 2, 4], 10)  # a patient each
  groups, kind = np.repeat(["a", "b", "c"], 10).astype(object), Grades(5)
  right = (np.arange(5) <= grades[:, np.newaxis]).astype(float)
  found = measures.intervals(kind.quick_measures, right, grades, 200, 0, groups)
  assert found == {"quadratic_weighted_kappa": (1.0, 1.0)}
  [weights] = measures.resampled(30, 200, 0, groups)
  drawn = measures.quadratic_weighted_kappa(grades, grades, weights, 5)
  assert 5 < np.isnan(drawn).sum() < 50 and set(drawn[~np.isnan(drawn)]) == {1.0}
  wrong = np.where(grades == 2, 0, grades)
  differences = drawn - measures.quadratic_weighted_kappa(wrong, grades, weights, 5)
  compared = compare([grades], [wrong], grades, grades=5, groups=groups, resamples=200)
  error = np.sqrt(np.nanvar(differences, ddof=1) * 3 / 2)
  assert compared.spread.half_width(0.95) == pytest.approx(stats.t(2).ppf(0.975) * error)


def test_groups_are_drawn_whole():
  groups = np.array(["b", "a", "b", "c", "a", "b"], object)
  [weights] = measures.resampled(6, 50, 0, groups)
  for members in ([0, 2, 5], [1, 4]):
    assert (weights[:, members] == weights[:, members[:1]]).all()
  assert set(weights[:, [0, 1, 3]].sum(axis=1)) == {3.0}
  alone = np.array([str(number) for number in range(10, 50)], object)  # each image on its own
  [by_image] = measures.resampled(40, 5, 3)
  [by_group] = measures.resampled(40, 5, 3, alone)
  assert np.array_equal(by_image, by_group)


def test_of_one_group_nothing_follows():
  labels, one = np.arange(20) % 2, np.full(20, "p", object)
  for taken in ([measures.accuracies], Grades(2).quick_measures):
    assert measures.intervals(taken, np.eye(2)[labels], labels, 10, 0, one) == {}
  found = compare([labels], [1 - labels], labels, groups=one, resamples=10)
  assert found.verdict == "within noise" and found.p_value == 1.0
  assert found.interval == (-1.0, 1.0)
  two = np.repeat(["p", "q"], 10).astype(object)  # whose differences say next to nothing
  some = np.where(np.arange(20) < 5, 1 - labels, labels)
  assert compare([labels], [some], labels, groups=two).interval == (-1.0, 1.0)
  of_kappa = compare([labels], [some], labels, grades=2, groups=two).interval
  assert of_kappa == (-2.0, 2.0)


def test_of_a_measure_of_one_class_the_groups_that_have_it_count():
  labels = np.repeat([1, 1, 1, 0, 0, 0, 0, 0, 0], 10)
  groups = np.repeat(list("abcdefghi"), 10).astype(object)
  wrong = np.isin(np.arange(90), [3, 11, 12, 30, 41, 42])
  outputs = np.eye(2)[np.where(wrong, 1 - labels, labels)]
  found = measures.intervals([measures.binary_measures], outputs, labels, 200, 0, groups)
  [weights] = measures.resampled(90, 200, 0, groups)
  drawn = measures.binary_measures(outputs, labels, weights)
  for name, value, count in (("sensitivity", 27 / 30, 3), ("specificity", 57 / 60, 6)):
    by_hand = measures.interval_of_groups(value, drawn[name], count, 0.0)
    assert found[name] == pytest.approx(by_hand)
  one = np.where(labels == 1, "a", groups)
  alone = measures.intervals([measures.binary_measures], outputs, labels, 200, 0, one)
  assert list(alone) == ["specificity"]


def test_of_one_resample_of_groups_nothing_follows():
  labels, groups = np.arange(20) % 2, np.repeat(["p", "q"], 10).astype(object)
  taken = [measures.accuracies, measures.binary_measures]
  assert measures.intervals(taken, np.eye(2)[labels], labels, 1, 0, groups) == {}


def test_an_interval_of_groups_stays_within_the_range_of_its_number():
  rng = np.random.default_rng(0)
  low, high = measures.interval_of_groups(0.97, 0.97 + 0.02 * rng.normal(size=500), 12, 0.0)
  assert 0.8 < low < 0.95 < 0.97 < high < 1.0 and high - 0.97 < 0.97 - low
  low, high = measures.interval_of_groups(0.0, 0.1 * rng.normal(size=500), 12, -1.0)
  assert -0.3 < low < -0.15 and high == pytest.approx(-low)
  assert measures.interval_of_groups(1.0, np.ones(5), 12, 0.0) == (1.0, 1.0)


def test_a_group_is_on_one_side_of_the_validation_share_and_of_folds():
  rng = np.random.default_rng(1)
  groups = np.array([f"p{number}" for number in rng.integers(0, 14, 120)], object)
  split = (np.arange(120)[:, np.newaxis], rng.integers(0, 3, 120))
  learnt, held = held_out_labels(split[1], 0, groups)
  assert sorted([*learnt, *held]) == list(range(120)) and 18 <= len(held) <= 30
  assert not set(groups[learnt]) & set(groups[held])
  sides = cross_validate(lambda *parts: [part[0][:, 0] for part in parts], split, 4, 0, groups)
  assert sorted(np.concatenate([test for _, test in sides])) == list(range(120))
  assert all(not set(groups[train]) & set(groups[test]) for train, test in sides)
