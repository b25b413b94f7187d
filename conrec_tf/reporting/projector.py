"""Embeddings for TensorBoard's projector, with labels and small images."""

from collections.abc import Sequence
import math
import pathlib

import numpy as np
from tensorboard.plugins import projector
import tensorflow as tf

from conrec_tf.data.files.labels import label_words
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.files import io_as_usage_error, replacing, write_text
from conrec_tf.reporting.figures.plot_style import to_rgb
from conrec_tf.reporting.inference import ModelInspector, subset

FOLDER = "projector"
EMBEDDINGS, SPRITE, LABELS = "embeddings.bytes", "sprite.png", "labels.tsv"
MOST_POINTS = 1000
SIDE = 32  # pixels of a small image


def write_projector(inspector: ModelInspector, folder: pathlib.Path) -> None:
  """Writes `projector/` and `projector_config.pbtxt` for some images of the evaluation split.

  Args:
    inspector: of the network.
    folder: of the run.
  """
  options, split = inspector.config, inspector.test
  chosen = np.random.default_rng(options.seed).permutation(split.num_examples)
  split = subset(split, chosen[:MOST_POINTS])
  parts: list[np.ndarray] = []
  labels: list[np.ndarray] = []
  small: list[np.ndarray] = []
  for images, label in evaluation_batches(
    inspector.eval_source, split.records(), options.image_size, options.eval_batch_size
  ):
    parts.append(inspector.model.embed(images, layer=options.ft_proj_selector).numpy())
    labels.extend(label.numpy())
    small.extend(to_rgb(image) for image in tf.image.resize(images, [SIDE, SIDE], "area").numpy())
  embeddings = np.concatenate(parts).astype(np.float32)
  config = projector.ProjectorConfig()
  entry = config.embeddings.add(
    tensor_name=f"embeddings after step {inspector.step}",
    tensor_shape=embeddings.shape,
    tensor_path=f"{FOLDER}/{EMBEDDINGS}",
  )
  entry.sprite.image_path = f"{FOLDER}/{SPRITE}"
  entry.sprite.single_image_dim.extend([SIDE, SIDE])
  sheet = tf.image.convert_image_dtype(_sheet(small), tf.uint8, saturate=True)
  with replacing(folder / FOLDER, EMBEDDINGS) as temporary, io_as_usage_error(folder):
    temporary.mkdir()
    embeddings.tofile(temporary / EMBEDDINGS)
    (temporary / SPRITE).write_bytes(tf.io.encode_png(sheet).numpy())
    if inspector.class_names:
      entry.metadata_path = f"{FOLDER}/{LABELS}"
      names = [label_words(label, inspector.class_names) for label in labels]
      write_text(temporary / LABELS, "\n".join(names) + "\n")
  write_text(folder / "projector_config.pbtxt", str(config))


def _sheet(images: Sequence[np.ndarray]) -> np.ndarray:
  """Puts images `[SIDE, SIDE, 3]` into a square, row by row, as the projector wants them."""
  side = math.ceil(math.sqrt(len(images)))
  cells = np.zeros([side * side, SIDE, SIDE, 3], np.float32)
  cells[: len(images)] = images
  return (
    cells.reshape(side, side, SIDE, SIDE, 3).swapaxes(1, 2).reshape(side * SIDE, side * SIDE, 3)
  )
