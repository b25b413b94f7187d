"""`classifier_<step>.npz`: the classifier of an evaluation, of a run or inside a SavedModel."""

from collections.abc import Mapping
import dataclasses
import io
import json
import pathlib
from typing import Any
import zipfile

import numpy as np

from conrec_tf.errors import as_usage_error
from conrec_tf.evaluation.label_kinds import LabelKind, kind_of_name
from conrec_tf.evaluation.logistic_regression import LinearClassifier
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.files import write_bytes
from conrec_tf.metrics import READINGS
from conrec_tf.run_dir.run_directory import RunDirectory, numbered

FILE = ("classifier_", ".npz")  # around the step
DAMAGED = (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True, eq=False)
class KeptClassifier:
  """The classifier of an evaluation, with all that predictions need.

  Attributes:
    kind: of the labels: a name that `kind_of_name` knows.
    class_names: in the order of the outputs.
    network: digest of the network whose embeddings it takes; see `Embedder.digest`.
    readings: the classifiers by whether they take standardised embeddings: both, or of a supervised
      head the raw one alone.
    known: the images that it learnt from.
    given: how they were given to the network, see `images_given`; empty where that isn't noted.
  """

  kind: str
  class_names: tuple[str, ...]
  network: str
  readings: Mapping[bool, LinearClassifier]
  known: KnownImages
  given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def labels(self) -> LabelKind:
    """The kind of labels, which says what outputs mean."""
    return kind_of_name(self.kind, self.class_names)

  def reading(self, standardise: bool) -> LinearClassifier:
    """Returns the classifier of standardised or of raw embeddings, or the only one there is."""
    return self.readings.get(standardise) or next(iter(self.readings.values()))

  def to_bytes(self) -> bytes:
    """Returns it as an npz archive, without pickled objects."""
    described: dict[str, Any] = {
      "kind": self.kind,
      "class_names": self.class_names,
      "network": self.network,
      "excludes": next(iter(self.readings.values())).excludes,
      "given": dict(self.given),
    }
    arrays = {"description": np.array(json.dumps(described))}
    for standardise, classifier in self.readings.items():
      arrays |= {
        f"{READINGS[standardise]}_weights": classifier.weights,
        f"{READINGS[standardise]}_bias": classifier.bias,
      }
    for field in dataclasses.fields(KnownImages):
      arrays[field.name] = getattr(self.known, field.name)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def write_classifier(directory: RunDirectory, step: int, kept: KeptClassifier) -> None:
  """Writes the classifier of a step."""
  write_bytes(directory.path / str(step).join(FILE), kept.to_bytes())


def remove_classifiers(directory: RunDirectory, steps: set[int]) -> None:
  """Removes the classifiers of all steps but some."""
  for step, path in numbered(directory.path, *FILE).items():
    if step not in steps:
      path.unlink(missing_ok=True)


def classifiers_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files of classifiers in a folder, those of later steps first."""
  return list(numbered(folder, *FILE).values())[::-1]


def read_classifier(path: pathlib.Path) -> KeptClassifier:
  """Reads a classifier.

  Raises:
    UsageError: the file can't be read, or holds something else.
  """
  with as_usage_error("classifier must be a file that can be read", path, *DAMAGED):
    with np.load(path, allow_pickle=False) as archive:
      arrays = dict(archive)
    described = json.loads(str(arrays["description"]))
    known = KnownImages(
      **{each.name: arrays[each.name] for each in dataclasses.fields(KnownImages)}
    )
    width = len(known.mean)
    scalings = {False: (np.zeros(width), np.ones(width)), True: (known.mean, known.deviation)}
    readings = {
      standardise: LinearClassifier(
        arrays[f"{name}_weights"],
        arrays[f"{name}_bias"],
        *scalings[standardise],
        described["excludes"],
      )
      for standardise, name in READINGS.items()
      if f"{name}_weights" in arrays
    }
    if not readings:
      raise ValueError("it holds no weights")
    names = tuple(described["class_names"])
    given = dict(described.get("given", {}))
    return KeptClassifier(described["kind"], names, described["network"], readings, known, given)
