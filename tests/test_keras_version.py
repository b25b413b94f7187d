"""Keras 2 under any TensorFlow, and TensorFlow's start without its notices."""

import os
import subprocess
import sys

from command_line import ROOT
import pytest

from conrec_tf import keras_version

FIRST = "import tensorflow; tensorflow.keras.Model; import conrec_tf"
needs_keras_3 = pytest.mark.skipif(
  keras_version.tensorflow_version() < keras_version.FIRST_WITH_KERAS_3,
  reason="this TensorFlow has Keras 2 alone",
)


def python(code):
  """Runs code in a process that nobody has told which Keras to take."""
  env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
  env |= {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
  return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


@pytest.mark.parametrize(
  "code",
  [  # the first name of the package that needs TensorFlow imports it
    "import sys, conrec_tf; assert 'tensorflow' not in sys.modules; conrec_tf.build_model; "
    "tensorflow = sys.modules['tensorflow']",
    "import tensorflow, conrec_tf",
  ],
  ids=["conrec_tf", "tensorflow"],
)
def test_keras_is_version_2_whichever_is_imported_first(code):
  done = python(f"{code}; print(tensorflow.keras.Model.__module__)")
  assert done.stdout.split(".")[:2] in (["keras", "src"], ["tf_keras", "src"]), done.stderr
  assert "keras.src.models" not in done.stdout  # where Keras 3 has it


@needs_keras_3
def test_a_process_that_uses_keras_3_is_refused_in_one_line():
  done = python(FIRST)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("ImportError: conrec_tf needs Keras 2, but")


@pytest.mark.parametrize(
  "version, sets", [((2, 15), False), ((2, 16), True), ((2, 21), True), ((0, 0), False)]
)
def test_the_variable_is_set_only_where_there_is_a_choice(monkeypatch, version, sets):
  monkeypatch.setattr(keras_version, "tensorflow_version", lambda: version)
  monkeypatch.setattr(keras_version.importlib.util, "find_spec", lambda name: object())
  monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
  monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
  keras_version.use_keras_2()
  assert os.environ["TF_USE_LEGACY_KERAS"] == ("1" if sets else "0")


def test_without_tf_keras_the_package_to_install_is_named(monkeypatch):
  monkeypatch.setattr(keras_version, "tensorflow_version", lambda: (2, 21))
  monkeypatch.setattr(keras_version.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ImportError) as error:
    keras_version.use_keras_2()
  assert str(error.value) == (
    "TensorFlow 2.21 needs Keras 2: pip install tf_keras~=2.21.0, or where there is none of that "
    "version yet: pip install --no-deps tf-keras-nightly"
  )


def test_the_version_is_read_without_importing_tensorflow():
  import tensorflow as tf

  assert keras_version.tensorflow_version() == tuple(map(int, tf.__version__.split(".")[:2]))
