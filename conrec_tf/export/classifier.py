"""The classifier of a network as a function in TensorFlow."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from conrec_tf.evaluation.label_kinds import Grades, MultiLabel
from conrec_tf.run_dir.classifier_file import KeptClassifier

PROBABILITIES, CLASS, LOGITS = "probabilities", "class", "logits"


def classify(
  kept: KeptClassifier, standardise: bool
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
  """Returns the function of embeddings float32 `[B, F]` that says what they are of.

  Args:
    standardise: whether to take the classifier of standardised embeddings, where there are two.

  Returns:
    From embeddings to `probabilities` float32 `[B, K]` of classes, grades or labels, `logits`
    float32 `[B, K]`, of grades those of cumulative bits, and but for several labels an image
    `class`, int64 `[B]`.
  """
  learnt, kind = kept.reading(standardise), kept.labels
  weights, bias, mean, deviation = (
    np.asarray(values, np.float32)
    for values in (learnt.weights, learnt.bias, learnt.mean, learnt.deviation)
  )

  def outputs(embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
    scaled = (tf.cast(embeddings, tf.float32) - mean) / deviation
    logits = tf.matmul(scaled, weights) + bias
    if isinstance(kind, MultiLabel):
      return {LOGITS: logits, PROBABILITIES: tf.sigmoid(logits)}
    if isinstance(kind, Grades):
      bits = tf.sigmoid(logits)
      falling = tf.sort(bits[:, 1:], direction="DESCENDING")  # as in `probes.grade_probabilities`
      above = tf.pad(tf.pad(falling, [[0, 0], [1, 0]], constant_values=1.0), [[0, 0], [0, 1]])
      set_bits = tf.reduce_sum(tf.cast(bits > 0.5, tf.int64), axis=1)
      return {
        LOGITS: logits,
        PROBABILITIES: above[:, :-1] - above[:, 1:],
        CLASS: tf.maximum(set_bits - 1, 0),
      }
    return {
      LOGITS: logits,
      PROBABILITIES: tf.nn.softmax(logits),
      CLASS: tf.argmax(logits, axis=1),
    }

  return outputs
