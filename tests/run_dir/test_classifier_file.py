import numpy as np
import pytest

from conrec_tf.errors import UsageError
from conrec_tf.evaluation.label_kinds import Classes, Grades, MultiLabel
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.run_dir.classifier_file import (
  KeptClassifier,
  classifiers_in,
  read_classifier,
  remove_classifiers,
  write_classifier,
)
from conrec_tf.run_dir.run_directory import RunDirectory

NAMES = ("rose", "päony", "oak")


@pytest.fixture(params=["classes", "grades", "labels"])
def kept(request, rng):
  """A classifier of each kind, and embeddings."""
  kind = {"classes": Classes(3), "grades": Grades(3), "labels": MultiLabel(NAMES)}[request.param]
  embeddings = rng.normal(size=(40, 4)).astype(np.float32)
  labels = rng.integers(0, 2, (40, 3)) if request.param == "labels" else np.arange(40) % 3
  learnt = {flag: kind.fit((embeddings, labels), flag) for flag in (False, True)}
  known = KnownImages.of_embeddings(embeddings, np.array(["ä.png"] * 40, object))
  given = {"evaluation_size": 48, "center_crop": False}
  return KeptClassifier(kind.name, NAMES, "digest", learnt, known, given), embeddings


def test_a_classifier_comes_back_to_the_bit(kept, tmp_path):
  classifier, embeddings = kept
  write_classifier(RunDirectory(tmp_path), 7, classifier)
  [path] = classifiers_in(tmp_path)
  found = read_classifier(path)
  assert path.name == "classifier_7.npz" and found.labels == classifier.labels
  assert (found.class_names, found.network) == (NAMES, "digest")
  assert found.given == classifier.given
  for standardise in (False, True):
    np.testing.assert_array_equal(
      found.reading(standardise).probabilities(embeddings),
      classifier.reading(standardise).probabilities(embeddings),
    )
  for mine, other in zip(
    classifier.known.nearest(embeddings), found.known.nearest(embeddings), strict=True
  ):
    np.testing.assert_array_equal(mine, other)
  assert found.known.names[3] == "ä.png"


def test_those_of_other_steps_are_removed(kept, tmp_path):
  directory = RunDirectory(tmp_path)
  for step in (5, 10, 20):
    write_classifier(directory, step, kept[0])
  remove_classifiers(directory, {5, 20})
  assert [path.name for path in classifiers_in(tmp_path)] == [
    "classifier_20.npz",
    "classifier_5.npz",
  ]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_refused(tmp_path, content):
  path = tmp_path / "classifier_1.npz"
  if content is None:
    np.savez(path, other=np.zeros(3))
  else:
    path.write_bytes(content)
  with pytest.raises(UsageError, match="classifier must be a file that can be read .* Received:"):
    read_classifier(path)
