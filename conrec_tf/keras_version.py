"""Keras 2, which the networks are written for, whichever TensorFlow is installed.

From TensorFlow 2.16 on, `tf.keras` is Keras 3 unless TF_USE_LEGACY_KERAS says otherwise. Under
Keras 3 layers that stand in lists, and metrics, would be missing from checkpoints without a word.
"""

from importlib import metadata
import importlib.util
import os
import sys

FIRST_WITH_KERAS_3 = (2, 16)
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tf-nightly", "tf-nightly-cpu")


def use_keras_2() -> None:
  """Makes `tf.keras` Keras 2; TensorFlow needn't be imported yet.

  TensorFlow 2.15 and older have no other, and there the variable would cost seconds.

  Raises:
    ImportError: tf_keras isn't installed, or `tf.keras` is Keras 3 in this process already.
  """
  version = tensorflow_version()
  if version < FIRST_WITH_KERAS_3:
    return
  if importlib.util.find_spec("tf_keras") is None:
    wanted = ".".join(map(str, version))
    raise ImportError(
      f"TensorFlow {wanted} needs Keras 2: pip install tf_keras~={wanted}.0, or where there is "
      "none of that version yet: pip install --no-deps tf-keras-nightly"
    )
  os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when tf.keras is first used
  tensorflow = sys.modules.get("tensorflow")
  if tensorflow and not tensorflow.keras.Model.__module__.startswith("tf_keras."):
    raise ImportError(
      "conrec_tf needs Keras 2, but tf.keras is Keras 3 here already: import conrec_tf before "
      "anything uses tf.keras, or set TF_USE_LEGACY_KERAS=1 before Python starts"
    )


def tensorflow_version() -> tuple[int, int]:
  """Returns TensorFlow's version, e.g. (2, 15), without importing it; (0, 0) if it isn't there."""
  for name in DISTRIBUTIONS:
    try:
      major, minor, *_ = metadata.version(name).split(".")
    except metadata.PackageNotFoundError:
      continue
    return int(major), int(minor)
  return 0, 0
