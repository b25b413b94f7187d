"""The classifier of a trained network: the one that an evaluation kept, or its supervised head."""

from collections.abc import Iterable, Mapping
import dataclasses
import logging
import os
import pathlib
from typing import Any

from conrec_tf.evaluation.embedding import Embedder
from conrec_tf.evaluation.probes import KnownImages
from conrec_tf.evaluation.supervised_evaluation import classifier_of_head, head_kind
from conrec_tf.models import LinearHead
from conrec_tf.pretrained.find import PretrainedModel
from conrec_tf.run_dir.classifier_file import KeptClassifier, classifiers_in, read_classifier
from conrec_tf.run_dir.measurement import changed_words

logger = logging.getLogger(__name__)

ASSET = "classifier.npz"  # of a SavedModel


def find_classifier(
  pretrained: PretrainedModel,
  model: Embedder,
  layer: int,
  head: LinearHead | None,
  folder: str | os.PathLike,
  given: Mapping[str, Any] | None = None,
) -> KeptClassifier | None:
  """Returns the classifier of a network, or None where nothing was learnt from its embeddings.

  It is what a linear evaluation kept, in a folder, beside the network, or inside its SavedModel; or
  else the head of a finetuned network, or one that was trained beside the network. What learnt from
  images that were given otherwise, in another size say, is none; that is said.

  Args:
    model: the network, with its weights.
    layer: which one of it is embedded; see `ConRec.representation`.
    head: the network's supervised head, or None.
    folder: where to look first.
    given: how the network is given images, what counts of `images_given`.

  Raises:
    UsageError: a file of a classifier can't be read.
  """
  digest = model.digest(layer)
  without = "nothing is predicted by it"
  if head and pretrained.train_mode == "finetune":
    without = "how far others are from those isn't known"
  kept = _kept(_files(pretrained, folder), digest, given or {}, without)
  if head is None or kept and True in kept.readings:  # a head has none of standardised embeddings
    return kept
  ordinal = bool(pretrained.settings.get("ordinal_labels"))
  learnt = classifier_of_head(head, ordinal)
  known = kept.known if kept else KnownImages.none(learnt.mean, learnt.deviation)
  kind = head_kind(len(pretrained.class_names), ordinal)
  return KeptClassifier(kind.name, pretrained.class_names, digest, {False: learnt}, known)


def _kept(
  paths: Iterable[pathlib.Path], digest: str, given: Mapping[str, Any], without: str
) -> KeptClassifier | None:
  """Returns the first classifier of a network that learnt from images as they are given.

  Where there are others alone, `without` says what follows.
  """
  otherwise = ""
  for path in paths:
    kept = read_classifier(path)
    if kept.network != digest:
      continue
    changed = changed_words(kept.given, given)
    if not changed:
      return kept
    otherwise = otherwise or f"{path} learnt from images that were given otherwise than now " + (
      f"({', '.join(changed)})"
    )
  if otherwise:
    logger.warning(
      "%s: %s; mode=eval with --checkpoint, in a model_dir of its own, learns from images as they "
      "are given now",
      otherwise,
      without,
    )
  return None


def _files(pretrained: PretrainedModel, folder: str | os.PathLike) -> Iterable[pathlib.Path]:
  """Yields the files of classifiers that may be a network's."""
  if folder:
    yield from classifiers_in(pathlib.Path(folder))
  path = pathlib.Path(pretrained.path)
  if pretrained.kind == "checkpoint":
    yield from classifiers_in(path.absolute().parent.parent)
  asset = path / "assets" / ASSET
  if pretrained.kind == "saved_model" and asset.exists():
    yield asset


def without_images(kept: KeptClassifier) -> KeptClassifier:
  """Returns a classifier that tells nothing of the images that it learnt from, to be given away."""
  known = KnownImages.none(kept.known.mean, kept.known.deviation)
  return dataclasses.replace(kept, known=known)
