"""Gives a network the weights of one on disk, of whichever kind, or builds it for them."""

import logging
import os

import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.evaluation.embedding import Embedder
from conrec_tf.models import ConRec, LinearHead, build_head, build_model
from conrec_tf.pretrained.authors_hdf5 import AuthorsCheckpoint
from conrec_tf.pretrained.external import open_external
from conrec_tf.pretrained.find import REPRESENTED, PretrainedModel, read_otherwise
from conrec_tf.run_dir.checkpoints import restore

logger = logging.getLogger(__name__)

PARTS = ("encoder", "pooling", "projection_head", "decoder")


def parts_of(model: ConRec, head: tf.keras.Model | None) -> dict[str, tf.keras.Model]:
  """Returns `{name: layer}` of a network's parts that have weights."""
  parts = {name: getattr(model, name) for name in PARTS} | {"head": head}
  return {name: part for name, part in parts.items() if part and part.weights}


def load_network(
  pretrained: PretrainedModel, model: ConRec, head: tf.keras.Model | None = None
) -> None:
  """Gives a network the weights of a pretrained one; parts that it lacks are left out.

  Raises:
    UsageError: it can't be read, or is another network.
  """
  if pretrained.kind == "hdf5":
    AuthorsCheckpoint(pretrained.path).assign(model)
  elif pretrained.kind == "saved_model":
    weights = {name: part.weights for name, part in parts_of(model, head).items()}
    restore(
      tf.train.Checkpoint(parts=weights), os.path.join(pretrained.path, "variables", "variables")
    )
  else:
    parts = parts_of(model, head)
    networks = {"head": parts.pop("head")} if head else {}
    networks[pretrained.network] = tf.train.Checkpoint(**parts)
    restore(tf.train.Checkpoint(**networks), pretrained.path)
  logger.info("Network from %s", pretrained.path)


def open_network(
  config: Experiment, pretrained: PretrainedModel, channels: int
) -> tuple[Embedder, LinearHead | None]:
  """Opens a trained network of any kind; returns it, and the head of a finetuned one or None.

  There is none where another representation is read than it learnt from.

  Args:
    config: the network's own options, and how images are evaluated.
    channels: of the images.

  Raises:
    UsageError: it doesn't fit, or can't be read.
  """
  if pretrained.kind == "external":
    return open_external(config, pretrained.path), None
  model = build_model(config, channels)
  head = None
  if pretrained.train_mode == "finetune" and pretrained.class_names:
    if otherwise := read_otherwise(config, pretrained.settings, REPRESENTED):
      logger.info("The network's head, which learnt from %s=%s, says nothing here", *otherwise)
    else:
      head = build_head(config, model, channels, len(pretrained.class_names))
  load_network(pretrained, model, head)
  return model, head
