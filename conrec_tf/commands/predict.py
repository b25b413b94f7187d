"""`--mode=predict`: the classes of images of any dataset, and which are like nothing learnt."""

from collections import Counter
import logging
import time

import numpy as np

from conrec_tf.commands.embed import (
  embedded_archives,
  folder_name,
  log_pass,
  opened,
  share_archives,
)
from conrec_tf.config import Config
from conrec_tf.errors import UsageError, listed
from conrec_tf.evaluation.label_kinds import MultiLabel
from conrec_tf.files import csv_text, write_text
from conrec_tf.pretrained.find import network_digest
from conrec_tf.run_dir.classifier_file import KeptClassifier, classifiers_in, read_classifier
from conrec_tf.run_dir.embedding_files import Manifest
from conrec_tf.run_dir.image_table import Columns, image_columns
from conrec_tf.run_dir.predictions_file import csv_rows
from conrec_tf.run_dir.run_directory import ELSEWHERE, RunDirectory

logger = logging.getLogger(__name__)

FOLDER = "predictions"
CLASSES_SHOWN = 10


def run(config: Config) -> None:
  """Predicts with the network and the classifier of `--checkpoint`, or with those in `model_dir`.

  Writes `model_dir/predictions/<dataset>.csv`, a row for each image of `train_split` and
  `eval_split`; see `image_columns`. Beside it lie the embeddings, so that another call goes on
  where one was killed, and is done at once where nothing has changed. Bad images of a folder are
  left out.

  Raises:
    UsageError: nothing has learnt to classify by the network, it doesn't fit or can't be read.
  """
  directory = RunDirectory(config.run_directory)
  config, pretrained, source, model, kept = opened(config, directory)
  apart = _kept_apart(directory, model.digest(config.ft_proj_selector))
  if kept is None:
    raise UsageError(
      "checkpoint or model_dir must have a classifier, for mode=predict: evaluate the network on "
      "labelled images (mode=eval), or finetune it. "
      f"Received: {pretrained.path}, from whose embeddings nothing was learnt"
      + (f" but in {apart}" if apart else "")
    )
  if apart:
    logger.info("Not predicted by %s", apart)
  name = folder_name(source)
  folder, path = directory.path / FOLDER / name, directory.path / FOLDER / f"{name}.csv"
  manifest = Manifest.of(network_digest(pretrained), pretrained.step, config.settings, source)
  if not share_archives(config, manifest, source, model, folder, begins_anew=True):
    return
  began, done, found = time.monotonic(), 0, list[Columns]()
  for split, archive in embedded_archives(config, model, source, folder):
    done += archive.is_new * len(archive.images)
    found.append(image_columns(source, split, archive, kept, config.standardize_embeddings))
  table = {key: np.concatenate([each[key] for each in found]) for key in found[0]}
  write_text(path, csv_text(csv_rows(table)))
  log_pass(len(table["image"]), path, done, began)
  for line in summary(kept, table):
    logger.info("%s", line)


def _kept_apart(directory: RunDirectory, network: str) -> str:
  """Says in which evaluations below a folder a network's classifiers lie; nothing without any.

  Args:
    network: its digest; see `Embedder.digest`.
  """
  folders = [
    str(folder)
    for folder in sorted((directory.path / ELSEWHERE).glob("*"))
    if any(read_classifier(path).network == network for path in classifiers_in(folder))
  ]
  if not folders:
    return ""
  return f"what mode=eval kept apart, {listed(folders)}: name one as model_dir, with --checkpoint"


def summary(kept: KeptClassifier, table: Columns) -> list[str]:
  """Returns what was predicted, in a few lines."""
  counts = Counter(table["predicted_class_name"].tolist()).most_common()
  shown = [f"{name} {count}" for name, count in counts[:CLASSES_SHOWN]]
  if len(counts) > CLASSES_SHOWN:
    shown.append(f"{len(counts) - CLASSES_SHOWN} others")
  lines = [f"  {', '.join(shown)}"]
  if "class_name" in table and not isinstance(kept.labels, MultiLabel):
    known = np.isin(table["class_name"], np.array(kept.class_names, object))
    right = table["class_name"] == table["predicted_class_name"]
    for split in dict.fromkeys(table["split"][known]):
      labelled = known & (table["split"] == split)
      lines.append(
        f"  {right[labelled].mean():.2%} right of {labelled.sum()} with labels in {split}"
      )
  if "unlike" in table:
    lines.append(
      f"  {table['unlike'].sum()} look unlike all that was learnt from: further than "
      f"{kept.known.limit:.3g} from each of {len(kept.known.names)} images"
    )
  else:
    lines.append("  How far they are from what was learnt isn't known; mode=eval would note it")
  return lines
