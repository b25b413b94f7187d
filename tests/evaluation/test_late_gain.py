import numpy as np
import pytest

from conrec_tf.evaluation.late_gain import LateGain, late_gain


def test_the_evaluation_nearest_to_two_thirds_is_compared_with():
  scores = {10: 0.2, 50: 0.5, 60: 0.6, 70: 0.61, 100: 0.64}
  found = late_gain(scores, 100, 0.03)
  assert (found.since_step, found.share) == (70, pytest.approx(0.3))
  assert found.value == pytest.approx(0.03) and found.error == pytest.approx(0.0424, abs=1e-4)
  assert not found.rose and late_gain(scores, 100, 0.02).rose


@pytest.mark.parametrize("steps", [(0,), (100,), (10, 30, 100), (90, 100)])
def test_without_an_evaluation_about_there_nothing_is_said(steps):
  assert late_gain(dict.fromkeys(steps, 0.5), steps[-1], 0.01) is None


def test_a_flat_curve_is_seldom_missed_and_a_steep_one_never_taken_for_it(rng):
  flat = []
  for gain in (0.0, 0.1):
    right = rng.random([500, 2, 400]) < np.array([0.6, 0.6 + gain])[:, np.newaxis]
    scores = right.mean(axis=2)
    half = 1.96 * np.sqrt(scores[:, 1] * (1 - scores[:, 1]) / 400)
    pairs = zip(scores, half, strict=True)
    flat.append(np.mean([not late_gain({60: a, 90: b}, 90, h).rose for (a, b), h in pairs]))
  assert flat[0] == pytest.approx(0.975, abs=0.02) and flat[1] < 0.2


@pytest.mark.parametrize(
  "share, start",
  [(1 / 3, "The last third of the training"), (15 / 35, "The last 43% of the training")],
)
def test_a_sentence_has_the_rise_and_its_error(share, start):
  text = LateGain(40, share, 0.003, 0.009).sentence()
  assert text.startswith(f"{start} added 0.3 ± 0.9 points: ")


@pytest.mark.parametrize(
  "value, words", [(-0.05, "lost 5.0 ± 0.9 points"), (-0.0001, "added 0.0 ± 0.9 points: no more")]
)
def test_what_fell_for_certain_is_not_called_flat(value, words):
  gain = LateGain(40, 1 / 3, value, 0.009)
  assert not gain.rose
  assert gain.sentence().startswith(f"The last third of the training {words}")
