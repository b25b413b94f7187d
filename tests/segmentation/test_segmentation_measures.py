"""Measures of segmentation by hand, against scikit-learn, and where classes are missing."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from conrec_tf.metrics import (
  CLASSES,
  DICE,
  HAUSDORFF,
  INTERVALS,
  IOU,
  ONE_SIDED_IMAGES,
  PIXEL_ACCURACY,
  PIXEL_AUROC,
  format_value,
)
from conrec_tf.segmentation.masks import IGNORED
from conrec_tf.segmentation.measures import count_image, segmentation_measures


def hot(classes, count):
  return np.eye(count)[classes]


def square(top, left, side=10, size=32):
  classes = np.zeros([size, size], int)
  classes[top : top + side, left : left + side] = 1
  return classes


def test_a_mask_moved_by_one_pixel():
  counts = count_image(hot(square(8, 9), 2), square(8, 8))
  found = segmentation_measures([counts], ["ground", "square"])
  assert found[DICE] == pytest.approx(2 * 90 / 200)
  assert found[IOU] == pytest.approx(90 / 110)
  assert found[PIXEL_ACCURACY] == pytest.approx(1 - 20 / 32**2)
  assert found[HAUSDORFF] == pytest.approx(1.0)


def test_means_are_over_images_or_over_pixels():
  pairs = [(square(0, 0, 10), square(0, 0, 10)), (square(0, 0, 4), square(0, 2, 4))]
  counts = [count_image(hot(made, 2), true) for made, true in pairs]
  found = segmentation_measures(counts, ["ground", "square"])
  assert found[DICE] == pytest.approx((1 + 0.5) / 2)
  assert found[IOU] == pytest.approx((100 + 8) / (100 + 24))


def test_area_under_the_curve_is_scikit_learns(rng):
  probabilities = rng.uniform(size=(2, 20, 20))
  classes = rng.choice([0, 1, IGNORED], (2, 20, 20))
  images = [
    count_image(np.stack([1 - second, second], axis=-1), true)
    for second, true in zip(probabilities, classes, strict=True)
  ]
  known = classes != IGNORED
  expected = roc_auc_score(classes[known], probabilities[known])
  found = segmentation_measures(images, ["0", "1"], resamples=50)
  assert found[PIXEL_AUROC] == pytest.approx(expected, abs=1e-4)
  low, high = found[INTERVALS][PIXEL_AUROC]
  assert low <= found[PIXEL_AUROC] <= high


def test_area_under_the_curve_is_exact_where_the_network_is_sure(rng):
  """Almost all probabilities are within 1e-5 of 0, also of pixels that it misses."""
  true = (rng.uniform(size=(120, 120)) < 0.1).astype(int)
  odds = np.where(true, rng.normal(2, 8, true.shape), rng.normal(-20, 6, true.shape))
  made = (1 / (1 + np.exp(np.stack([odds, -odds], axis=-1)))).astype(np.float32)
  found = segmentation_measures([count_image(made, true, with_distances=False)], ["0", "1"])
  expected = roc_auc_score(true.ravel(), made[..., 1].ravel())
  assert found[PIXEL_AUROC] == pytest.approx(expected, abs=1e-5)
  certain = segmentation_measures([count_image(hot(true, 2), true)], ["0", "1"])
  assert certain[PIXEL_AUROC] == 1.0


def test_pixels_that_do_not_count_are_left_out():
  true = square(8, 8)
  true[:, 16:] = IGNORED
  made = square(8, 8)
  made[:, 20:] = 1
  found = segmentation_measures([count_image(hot(made, 2), true)], ["0", "1"])
  assert found[DICE] == 1.0 and found[PIXEL_ACCURACY] == 1.0


def test_a_class_that_is_nowhere_is_left_out_and_one_that_is_made_up_counts():
  nowhere = count_image(hot(square(8, 8), 3), square(8, 8))
  found = segmentation_measures([nowhere], ["0", "1", "2"])
  assert found[DICE] == 1.0
  assert found[CLASSES][2] == {
    "class": "2",
    "dice": None,
    "iou": None,
    "hausdorff_95": None,
    "one_sided_images": 0,
  }
  made_up = square(8, 8)
  made_up[0, 0] = 2
  found = segmentation_measures(
    [nowhere, count_image(hot(made_up, 3), square(8, 8))], ["0", "1", "2"]
  )
  assert found[DICE] == pytest.approx((1.0 + 0.0) / 2)
  assert found[CLASSES][2]["dice"] == 0.0


def test_a_class_that_is_missed_entirely_is_as_far_as_the_diagonal():
  nothing = np.zeros([32, 24], int)  # the diagonal is 40
  there = square(8, 8, size=32)[:, :24]
  pairs = [(there, there), (nothing, there), (nothing, nothing), (there, nothing), (there, there)]
  counts = [count_image(hot(made, 2), true) for made, true in pairs]
  np.testing.assert_equal([count.distances[1] for count in counts], [0, 40, np.nan, 40, 0])
  found = segmentation_measures(counts, ["ground", "square"])
  assert found[HAUSDORFF] == pytest.approx((0 + 40 + 40 + 0) / 4)
  assert found[ONE_SIDED_IMAGES] == 2
  assert [row["one_sided_images"] for row in found[CLASSES]] == [0, 2]
  assert format_value(ONE_SIDED_IMAGES, 2) == "2"


def test_a_class_that_every_image_misses_has_a_distance_and_one_that_is_nowhere_has_none():
  counts = [count_image(hot(np.zeros([32, 24], int), 3), square(0, 0, size=32)[:, :24])]
  found = segmentation_measures(counts, ["ground", "square", "nowhere"])
  assert [row["hausdorff_95"] for row in found[CLASSES]] == [
    pytest.approx(9.0, abs=2.0),
    40.0,
    None,
  ]
  assert found[HAUSDORFF] == 40.0 and found[ONE_SIDED_IMAGES] == 1


def test_without_distances_no_image_is_counted_beside_them():
  counts = [count_image(hot(np.zeros([32, 32], int), 2), square(0, 0), with_distances=False)]
  found = segmentation_measures(counts, ["ground", "square"])
  assert not {HAUSDORFF, ONE_SIDED_IMAGES} & set(found)
  assert "one_sided_images" not in found[CLASSES][1]


def test_images_without_the_class_have_no_curve():
  empty = np.zeros([8, 8], int)
  found = segmentation_measures([count_image(hot(empty, 2), empty)], ["0", "1"], resamples=10)
  assert DICE not in found and PIXEL_AUROC not in found
  assert found[PIXEL_ACCURACY] == 1.0


def test_intervals_are_of_images(rng):
  pairs = [(square(0, 0, side), square(0, 1, side)) for side in range(2, 22)]
  counts = [count_image(hot(made, 2), true) for made, true in pairs]
  found = segmentation_measures(counts, ["0", "1"], resamples=1000)
  dice = np.array([1 - 1 / side for side in range(2, 22)])
  drawn = rng.choice(dice, (20000, len(dice))).mean(axis=1)
  np.testing.assert_allclose(found[INTERVALS][DICE], np.percentile(drawn, [2.5, 97.5]), atol=0.01)
