"""Methods are compared by what their images belong together by."""

from types import SimpleNamespace

import numpy as np

from conrec_tf.reporting.method_comparison import Method, difference
from conrec_tf.run_dir.predictions_file import ImagePredictions


def method(predictions, labels, groups):
  kept = ImagePredictions(tuple(map(str, range(len(labels)))), labels, predictions, groups)
  run = SimpleNamespace(predictions=kept, config=SimpleNamespace(ordinal_labels=False))
  return Method("method", (run,))


def test_a_difference_in_few_groups_is_within_noise():
  labels = np.zeros(200, int)
  groups = np.repeat(np.array([f"p{number}" for number in range(10)], object), 20)
  better, worse = (np.isin(groups, names).astype(int) for names in (["p0"], ["p1", "p2"]))
  by_image = difference(method(better, labels, None), method(worse, labels, None))
  by_group = difference(method(better, labels, groups), method(worse, labels, groups))
  assert by_image.verdict == "ahead" and by_group.verdict == "within noise"
  assert by_image.value == by_group.value
  older = difference(method(better, labels, None), method(worse, labels, groups))
  assert older == by_group
