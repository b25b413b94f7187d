import numpy as np
import tensorflow as tf

from conrec_tf.evaluation.logistic_regression import LinearClassifier
from conrec_tf.evaluation.probes import KnownImages, grade_probabilities
from conrec_tf.export.classifier import classify
from conrec_tf.run_dir.classifier_file import KeptClassifier


def test_probabilities_of_grades_sum_to_1_where_a_higher_bit_is_the_likelier(rng):
  bits = np.array([[0.9, 0.8, 0.3], [0.9, 0.2, 0.4], [0.4, 0.1, 0.7]], np.float32)
  learnt = LinearClassifier(np.eye(3), np.zeros(3), np.zeros(3), np.ones(3), excludes=False)
  known = KnownImages.of_embeddings(rng.normal(size=(4, 3)), np.arange(4))
  kept = KeptClassifier("grades", ("a", "b", "c"), "digest", {False: learnt}, known, {})
  found = classify(kept, False)(tf.constant(np.log(bits / (1 - bits))))
  expected = [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.3, 0.6, 0.1]]
  np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
  np.testing.assert_array_equal(found["class"], [1, 0, 0])
  for grade in range(3):
    shares = grade_probabilities(bits, np.full(3, grade))
    np.testing.assert_allclose(shares, np.array(expected)[:, grade], atol=1e-6)
