"""TensorBoard beyond scalars: grouped charts, images at evaluations, hyper-parameters."""

from collections.abc import Collection, Sequence
import math
import pathlib
from typing import Any

import numpy as np
from tensorboard.plugins import projector
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalars
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.image import metadata
import tensorflow as tf

from conrec_tf.config.options.option import written
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.data.files.labels import label_words
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.evaluation.embedding import embed_images
from conrec_tf.files import io_as_usage_error, replacing, write_text
from conrec_tf.metrics import BEST, EVAL, GLOBAL_STEP, METRICS
from conrec_tf.reporting.context import Inspector
from conrec_tf.reporting.figures.plot_style import to_rgb
from conrec_tf.reporting.inference import ModelInspector
from conrec_tf.run_dir.metrics_log import MetricsLog

LONGEST_SIDE = 128  # pixels
PROJECTOR = "projector"
EMBEDDINGS, SPRITE, LABELS = "embeddings.bytes", "sprite.png", "labels.tsv"
MOST_POINTS = 1000
SIDE = 32  # pixels of a small image in the projector
JPEG_QUALITY = 90  # a tenth of PNG's bytes for photographs


class TensorBoardWriter:
  """Writes to TensorBoard what isn't a scalar.

  Args:
    log: that writes the scalars.
  """

  def __init__(self, log: MetricsLog, inspector: Inspector, folder: pathlib.Path) -> None:
    self._log, self._inspector, self._folder = log, inspector, folder

  def start(self, logged: Collection[str]) -> None:
    """Groups the scalars, in the tab of custom scalars.

    Args:
      logged: names of what training steps report and of the number that counts.
    """
    layout = layout_pb2.Layout(
      category=[
        layout_pb2.Category(
          title=title,
          chart=[
            layout_pb2.Chart(
              title=name, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$"])
            )
            for name, tag in charts.items()
          ],
        )
        for title, charts in _groups(logged).items()
      ]
    )
    with self._log.summaries(step=0):
      tf.summary.experimental.write_raw_pb(custom_scalars.pb(layout).SerializeToString())

  def images(self, step: int) -> None:
    """Writes what the network makes of a few images, the same after each evaluation."""
    sheets = list(self._inspector.sheets())
    with self._log.summaries(step):
      for title, rows in sheets:
        _write(title, rows)

  def finish(self, result: dict[str, Any]) -> None:
    """Writes hyper-parameters with the metrics of `result.json`, and the projector's embeddings."""
    config = self._inspector.config
    names = [name for name, field in OPTIONS.items() if field.metadata["changes_training"]]
    # TensorBoard shows the first few: those that aren't the defaults.
    names.sort(key=lambda name: getattr(config, name) == OPTIONS[name].default)
    values = {name: written(getattr(config, name)) for name in names}
    metrics = {
      name: value
      for name, value in result.items()
      if name.startswith(EVAL) and isinstance(value, float)
    }
    with self._log.summaries(result[GLOBAL_STEP]):
      hparams.hparams_config(
        [hparams.HParam(name) for name in values], [hparams.Metric(name) for name in metrics]
      )
      hparams.hparams(values)
      for name, value in metrics.items():
        if name.startswith(BEST):  # the others are there
          tf.summary.scalar(name, value)
    if isinstance(self._inspector, ModelInspector):
      write_projector(self._inspector, self._folder)


def _groups(logged: Collection[str]) -> dict[str, dict[str, str]]:
  """Returns regular expressions of tags by chart, by the title of a group."""
  groups: dict[str, dict[str, str]] = {}
  for key, metric in METRICS.items():
    if metric.group and (key in logged or "/" not in key):
      charts = groups.setdefault(metric.group, {})
      charts |= {chart: tags or key for chart, tags in metric.charts.items()}
  return groups


def _write(tag: str, rows: Sequence[Sequence[np.ndarray]]) -> None:
  """Writes one image summary of rows of images `[H, W, 3]` in [0, 1]."""
  sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
  share = min(1.0, LONGEST_SIDE / rows[0][0].shape[0])
  height, width = (round(share * side) for side in sheet.shape[:2])
  pixels = tf.image.resize(sheet, [height, width], "area")
  jpeg = tf.io.encode_jpeg(
    tf.image.convert_image_dtype(pixels, tf.uint8, saturate=True), quality=JPEG_QUALITY
  )
  tf.summary.write(
    tag,
    tf.stack([str(width).encode(), str(height).encode(), jpeg]),
    metadata=metadata.create_summary_metadata(display_name=tag, description=""),
  )


def write_projector(inspector: ModelInspector, folder: pathlib.Path) -> None:
  """Writes `projector/` and `projector_config.pbtxt` for some images of the evaluation split."""
  options, split = inspector.config, inspector.test
  chosen = np.random.default_rng(options.seed).permutation(split.num_examples)
  parts: list[np.ndarray] = []
  labels: list[np.ndarray] = []
  small: list[np.ndarray] = []
  records = split.rows.at(chosen[:MOST_POINTS])
  sizes = options.evaluation_size, options.eval_batch_size
  for images, label in evaluation_batches(inspector.eval_source, records, *sizes):
    parts.append(embed_images(inspector.model, images, options).numpy())
    labels.extend(label.numpy())
    small.extend(to_rgb(image) for image in tf.image.resize(images, [SIDE, SIDE], "area").numpy())
  embeddings = np.concatenate(parts).astype(np.float32)
  config = projector.ProjectorConfig()
  entry = config.embeddings.add(
    tensor_name=f"embeddings after step {inspector.step}",
    tensor_shape=embeddings.shape,
    tensor_path=f"{PROJECTOR}/{EMBEDDINGS}",
  )
  entry.sprite.image_path = f"{PROJECTOR}/{SPRITE}"
  entry.sprite.single_image_dim.extend([SIDE, SIDE])
  sheet = tf.image.convert_image_dtype(_sheet(small), tf.uint8, saturate=True)
  with replacing(folder / PROJECTOR, EMBEDDINGS) as temporary, io_as_usage_error(folder):
    temporary.mkdir()
    embeddings.tofile(temporary / EMBEDDINGS)
    (temporary / SPRITE).write_bytes(tf.io.encode_png(sheet).numpy())
    if inspector.class_names:
      entry.metadata_path = f"{PROJECTOR}/{LABELS}"
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
