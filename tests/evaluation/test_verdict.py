import math

import numpy as np
import pytest
from scipy import stats

from conrec_tf.evaluation.verdict import (
  NOT_WORTH,
  UNDECIDED,
  WORTH,
  Verdict,
  decide,
  overall,
  sentence,
)


def pair(images, helped, hurt):
  """Predictions of two methods for images of label 1: the first rights `helped`, spoils `hurt`."""
  first, second = np.ones(images, int), np.ones(images, int)
  second[:helped] = 0
  first[helped : helped + hurt] = 0
  return [first], [second], np.ones(images, int)


def test_interval_and_number_of_images_by_hand():
  found = decide(*pair(1000, 60, 20), margin=0.02, resamples=20000)
  assert found.value == pytest.approx(0.04)
  # Of 80 images of 1000 that are judged differently, and one more.
  error = math.sqrt((0.08 - 0.04**2) / 1000 + 1 / 1000**2)
  reach = stats.t(999).ppf(0.975)
  assert found.interval == pytest.approx((0.04 - reach * error, 0.04 + reach * error), abs=4e-4)
  assert (found.answer, found.images, found.groups) == (WORTH, 1000, None)
  undecided = decide(*pair(1000, 60, 20), margin=0.03, resamples=20000)
  assert undecided.answer == UNDECIDED
  assert undecided.images_to_decide == pytest.approx(3060, rel=0.05)


def test_with_so_many_images_as_are_asked_for_the_interval_just_leaves_the_margin_out():
  few = decide(*pair(500, 30, 20), margin=0.0)
  assert few.answer == UNDECIDED and few.images_to_decide
  times = few.images_to_decide / 500
  more = decide(*pair(few.images_to_decide, round(30 * times), round(20 * times)), margin=0.0)
  assert abs(more.interval[0]) < 0.1 * more.value


@pytest.mark.parametrize("groups", [0, 4, 10])
def test_the_number_that_would_decide_is_told_of_few_as_of_many(groups):
  """Of few the interval is wide for want of degrees of freedom, too, which more would give."""
  names = np.repeat(np.arange(groups), 12).astype(object) if groups else None
  few = 12 * groups or 30
  agreeing = pair(few, 0, 0)
  found = decide(*agreeing, margin=0.02, groups=names, comparisons=2)
  assert found.answer == UNDECIDED
  # Nothing but one disagreement more varies, of as many units as there then are.
  size = 12 if groups else 1
  wanted = next(
    units
    for units in range(2, 10000)
    if stats.t(units - 1).ppf(1 - 0.05 / 4) / units <= found.margin
  )
  assert abs(found.images_to_decide - size * wanted) <= size


def test_two_methods_that_agree_on_few_images_are_not_taken_to_be_the_same():
  few = decide(*pair(20, 0, 0), margin=0.01)
  assert few.answer == UNDECIDED and few.interval[1] == pytest.approx(2.093 / 20, rel=0.01)
  assert decide(*pair(2000, 0, 0), margin=0.01).answer == NOT_WORTH


def test_several_comparisons_have_wider_intervals():
  one, four = (decide(*pair(1000, 60, 20), margin=0.01, comparisons=each) for each in (1, 4))
  widths = [each.interval[1] - each.interval[0] for each in (one, four)]
  normal = stats.norm.ppf([1 - 0.025, 1 - 0.025 / 4])
  assert widths[1] / widths[0] == pytest.approx(normal[1] / normal[0], rel=0.01)


def test_of_one_group_nothing_can_be_told():
  found = decide(*pair(100, 50, 0), margin=0.01, groups=np.array(["a"] * 100, object))
  assert (found.answer, found.groups, found.images_to_decide) == (UNDECIDED, 1, None)


def test_images_do_not_help_where_trainings_differ_too_much():
  rng = np.random.default_rng(0)
  labels = np.ones(4000, int)
  sides = [[(rng.random(4000) < share).astype(int) for share in (0.5, 0.6, 0.7)] for _ in range(2)]
  found = decide(*sides, labels, margin=0.01)
  assert found.answer == UNDECIDED and found.images_to_decide is None


BOTH_RIGHT = 0.6  # share of the images


def drawn(rng, images, effect, disagreement, *, trainings=1, spread=0.0, groups=0):
  """Predictions of two methods, the first better by `effect`; their labels and groups.

  Args:
    disagreement: share of images that one of the methods alone judges rightly.
    spread: deviation of the effect over trainings, and over groups where there are any.
  """
  names = np.arange(images) % groups if groups else np.zeros(images, int)
  of_group = rng.normal(0, spread, groups)[names] if groups else np.zeros(images)
  place = rng.random(images)
  both = (place >= disagreement) & (place < disagreement + BOTH_RIGHT)

  def borders():
    for _ in range(trainings):
      yield (disagreement + effect + of_group + rng.normal(0, spread)) / 2

  first = [(both | (place < border)).astype(int) for border in borders()]
  second = [
    (both | ((place >= border) & (place < disagreement))).astype(int) for border in borders()
  ]
  return first, second, np.ones(images, int), names.astype(object) if groups else None


TRUTHS = {
  "helps by 6 points": (WORTH, dict(images=1000, effect=0.06, disagreement=0.1)),
  "helps by 8 points, 3 trainings, 60 patients": (
    WORTH,
    dict(images=1200, effect=0.08, disagreement=0.2, trainings=3, spread=0.01, groups=60),
  ),
  "adds nothing": (NOT_WORTH, dict(images=5000, effect=0.0, disagreement=0.03)),
  "hurts by 4 points": (NOT_WORTH, dict(images=1000, effect=-0.04, disagreement=0.1)),
  "helps by 2 points, too few images": (
    UNDECIDED,
    dict(images=40, effect=0.02, disagreement=0.1),
  ),
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_of_100_draws_of_a_made_up_truth_95_are_told_rightly(truth):
  answer, made = TRUTHS[truth]
  told = []
  for draw in range(100):
    first, second, labels, groups = drawn(np.random.default_rng(draw), **made)
    found = decide(first, second, labels, margin=0.01, groups=groups, resamples=200, seed=draw)
    told.append(found.answer)
  assert told.count(answer) >= 95


def test_an_effect_at_the_margin_is_rarely_taken_for_another():
  told = []
  for draw in range(300):
    first, second, labels, _ = drawn(np.random.default_rng(draw), 500, 0.01, 0.2)
    told.append(decide(first, second, labels, margin=0.01, resamples=200, seed=draw).answer)
  assert told.count(WORTH) + told.count(NOT_WORTH) < 0.08 * 300


def verdict(answer, value, interval, **others):
  made = dict(margin=0.01, images=1020, groups=None, images_to_decide=None) | others
  return Verdict(answer, value, interval, **made)


def test_a_method_must_be_worth_it_against_each_other_one():
  worth = verdict(WORTH, 0.05, (0.03, 0.07))
  more = verdict(WORTH, 0.09, (0.06, 0.12))
  undecided = verdict(UNDECIDED, 0.02, (-0.01, 0.05))
  lost = verdict(NOT_WORTH, -0.02, (-0.04, 0.0))
  assert overall({"a": more, "b": worth}) == (WORTH, "b")
  assert overall({"a": worth, "b": undecided}) == (UNDECIDED, "b")
  assert overall({"a": worth, "b": lost, "c": undecided}) == (NOT_WORTH, "b")


@pytest.mark.parametrize(
  "found, text",
  [
    (
      verdict(WORTH, 0.05, (0.031, 0.069)),
      "Worth it: with all labels +5.0 points against untrained, +3.1 to +6.9, above the margin of "
      "1, on 1,020 images.",
    ),
    (
      verdict(NOT_WORTH, -0.02, (-0.04, 0.0), groups=30),
      "Not worth it: with all labels -2.0 points against untrained, -4.0 to +0.0, below the margin "
      "of 1, on 1,020 images of 30 groups.",
    ),
    (
      verdict(UNDECIDED, 0.02, (-0.01, 0.05), images_to_decide=9123),
      "Can't be told with so many images: with all labels +2.0 points against untrained, -1.0 to "
      "+5.0, on both sides of the margin of 1, on 1,020 images; about 9,200 would decide, an "
      "estimate.",
    ),
    (
      verdict(UNDECIDED, -0.0004, (-0.04, 0.0395)),
      "Can't be told with so many images: with all labels +0.0 points against untrained, -4.0 to "
      "+4.0, on both sides of the margin of 1, on 1,020 images; more images alone would not "
      "decide.",
    ),
    (
      verdict(UNDECIDED, 0.02, (-0.01, 0.05)),
      "Can't be told with so many images: with all labels +2.0 points against untrained, -1.0 to "
      "+5.0, on both sides of the margin of 1, on 1,020 images; more images alone would not "
      "decide.",
    ),
  ],
)
def test_a_sentence_has_the_numbers_that_decide(found, text):
  assert sentence(found.answer, "untrained", found) == text
