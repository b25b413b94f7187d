"""A split through a network: its embeddings and labels."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.data.augmentation.resizing import evaluation_crops
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.pipeline import split_batches
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.probes import Labelled

BYTES_FOR_ACTIVATIONS = 2**30
MAPS_AT_ONCE = 4  # of the first level, a guess
LARGEST_BATCH = 2048


class Embedder(Protocol):
  """A network that gives a vector of each image: ours, or an external one."""

  def embed(self, images: tf.Tensor, *, layer: int = 0) -> tf.Tensor:
    """Returns float32 `[B, F]` of images float32 `[B, H, W, C]` in [0, 1]."""

  def representations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns all that could be taken instead, float `[B, F]` by name."""

  def digest(self, layer: int = 0) -> str:
    """Returns what tells its vectors from those of other networks, wherever it lies."""


def batch_size(options: Experiment) -> int:
  """Returns the images of a batch, a power of two, so that files hold whole batches.

  At most `eval_batch_size`, and so many that the first level's maps take up to 1 GiB.
  """
  image = MAPS_AT_ONCE * 4 * options.base_filters * options.evaluation_size**2
  wanted = min(options.eval_batch_size, max(1, BYTES_FOR_ACTIVATIONS // image), LARGEST_BATCH)
  return 2 ** (wanted.bit_length() - 1)


def images_given(options: Experiment, source: DatasetSource) -> dict[str, Any]:
  """Returns how images are given to a network, JSON's types by name.

  What learnt from embeddings of images that were given otherwise takes these for others.
  """
  return {
    "evaluation_size": options.evaluation_size,
    "eval_crops": options.eval_crops,
    "center_crop": source.center_crop,
  }


def embed_images(model: Embedder, images: tf.Tensor, options: Experiment) -> tf.Tensor:
  """Returns embeddings float `[B, F]` of images float32 `[B, H, W, C]` in [0, 1], as evaluated.

  They are means over `eval_crops`.
  """
  crops = evaluation_crops(images, options.eval_crops)
  return _mean([model.embed(crop, layer=options.ft_proj_selector) for crop in crops])


def _mean(vectors: list[tf.Tensor]) -> tf.Tensor:
  if len(vectors) == 1:
    return vectors[0]
  return tf.add_n([tf.cast(each, tf.float32) for each in vectors]) / len(vectors)


def check_finite(vectors: np.ndarray, split: Split, index: np.ndarray | None = None) -> None:
  """Checks that a network gives numbers for each image: NaN would pass for a right answer.

  Args:
    vectors: float `[n, F]`.
    split: that the images are from, all of it or those of an index, int `[n]`.

  Raises:
    UsageError: a vector isn't finite.
  """
  bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
  if len(bad):
    names = split.image_names if index is None else split.image_names[index]
    raise UsageError(
      "the network must give finite numbers for each image. "
      f"Received: others for {len(bad)} of {len(vectors)} of {split.name}, e.g. {names[bad[0]]}"
    )


def embed_split(
  model: Embedder, source: DatasetSource, split: Split, options: Experiment
) -> Labelled:
  """Returns embeddings float32 `[N, F]` of a split, in its order, and its labels int64 `[N]`.

  Raises:
    UsageError: one isn't finite.
  """
  batches = split_batches(source, split, options)
  rows = [(embed_images(model, images, options).numpy(), label) for images, label in batches]
  embeddings, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
  check_finite(embeddings, split)
  return embeddings, labels


def all_representations(
  model: Embedder, source: DatasetSource, split: Split, options: Experiment
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Computes everything of a network that a classifier could see, in one pass over a split.

  These are embeddings float32 `[N, F]` by name, and labels int64 `[N]`.

  Raises:
    UsageError: one isn't finite.
  """
  rows, labels = [], []
  for images, label in split_batches(source, split, options):
    crops = evaluation_crops(images, options.eval_crops)
    found = [model.representations(crop) for crop in crops]
    rows.append(
      {name: np.asarray(_mean([each[name] for each in found]), np.float32) for name in found[0]}
    )
    labels.append(label.numpy())
  columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
  for vectors in columns.values():
    check_finite(vectors, split)
  return columns, np.concatenate(labels)
