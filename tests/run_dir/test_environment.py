import importlib.metadata

import tensorflow as tf

from conrec_tf.run_dir import environment


def test_versions_are_those_of_what_computes():
  versions = environment.versions()
  keras = tf.keras.Model.__module__.split(".")[0]
  assert versions["tensorflow"] == tf.__version__
  assert versions[keras].startswith("2.")
  assert set(versions) == {"conrec_tf", "Python", "tensorflow", keras, *environment.PACKAGES}


def test_a_library_under_another_name_stops_nothing(monkeypatch):
  def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(environment.metadata, "version", version)
  versions = environment.versions()
  assert {versions[name] for name in environment.PACKAGES} == {"unknown"}
  assert "unknown" not in {versions["tensorflow"], versions["Python"]}
