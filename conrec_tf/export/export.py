"""Exports a trained network in each `--export_format`, and compares what was written."""

from collections.abc import Callable, Sequence
import functools
import importlib.util
import logging
import os
import pathlib
import subprocess
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf import __version__
from conrec_tf.config import Description
from conrec_tf.errors import UsageError
from conrec_tf.export import onnx_tflite, saved_model
from conrec_tf.export.classifier import PROBABILITIES
from conrec_tf.export.saved_model import Exported
from conrec_tf.files import (
  io_as_usage_error,
  make_output_folder,
  remove,
  remove_leftovers,
  replacing,
)
from conrec_tf.pretrained.find import READ, PretrainedModel
from conrec_tf.run_dir.classifier_file import KeptClassifier
from conrec_tf.run_dir.run_directory import RunDirectory, numbered

logger = logging.getLogger(__name__)

# The largest difference from the network, as a share of its largest number.
TOLERANCE = {
  "saved_model": 1e-5,
  "onnx": 1e-4,
  "tflite": 1e-4,
  "tflite_dynamic_range": 0.1,
}
CLASSIFIER_TOLERANCE = 1e-2  # of probabilities
IMAGES_TO_COMPARE = 4

_Write = Callable[[pathlib.Path], None]
_Run = Callable[[pathlib.Path, tf.Tensor], np.ndarray]


def write_exports(
  exported: Exported, formats: Sequence[str], metadata: dict[str, Any], directory: RunDirectory
) -> list[pathlib.Path]:
  """Writes a network in each format and compares what was written with it; returns what it wrote.

  Args:
    metadata: that is kept beside a SavedModel; see the function of that name.
    directory: where to write: `saved_model/<step>/`, `onnx/<step>.onnx`,
      `tflite/<step>.tflite` and `tflite/<step>_dynamic_range.tflite`; with a classifier also
      `onnx/<step>_classifier.onnx` and `tflite/<step>_classifier.tflite`.

  Raises:
    UsageError: it can't be written, or what was written computes something else.
  """
  size, channels = metadata["image_size"], metadata["channels"]

  def compute(images: tf.Tensor) -> tf.Tensor:
    return exported.call(images, False)

  with tf.device("CPU:0"):  # where float32 is float32: a GPU may compute in TF32
    images = _smooth_images(size, channels)
    expected = tf.function(compute, autograph=False)(images).numpy()
  free = tf.TensorSpec([None, None, None, channels], tf.float32, name="images")
  fixed = tf.TensorSpec([1, size, size, channels], tf.float32, name="images")

  def run_saved_model(path: pathlib.Path, images: tf.Tensor) -> np.ndarray:
    with tf.device("CPU:0"):
      return tf.saved_model.load(os.fspath(path))(images).numpy()

  def write_saved_model(path: pathlib.Path) -> None:
    with io_as_usage_error(path.parent, tf.errors.OpError):
      saved_model.save(exported, path, metadata)

  def writes(convert: Callable[..., bytes], *args: Any) -> Callable[[pathlib.Path], None]:
    def write(path: pathlib.Path) -> None:
      content = convert(*args)
      with io_as_usage_error(path.parent):
        path.write_bytes(content)

    return write

  tflite, run_tflite = onnx_tflite.tflite_bytes, onnx_tflite.run_tflite
  onnx, run_onnx = onnx_tflite.onnx_bytes, onnx_tflite.run_onnx
  exports: dict[str, list[tuple[str, str, _Write, _Run]]] = {
    "saved_model": [("saved_model", "", write_saved_model, run_saved_model)],
    "onnx": [("onnx", ".onnx", writes(onnx, compute, free, (exported.output,)), run_onnx)],
    "tflite": [
      ("tflite", ".tflite", writes(tflite, compute, fixed), run_tflite),
      (
        "tflite_dynamic_range",
        "_dynamic_range.tflite",
        writes(tflite, compute, fixed, True),
        run_tflite,
      ),
    ],
  }
  outputs = {name: expected for parts in exports.values() for name, *_ in parts}
  if classify := exported.classify:
    with tf.device("CPU:0"):
      said = tf.function(classify, autograph=False)(images)
    names = sorted(said)
    ends = {"onnx": writes(onnx, classify, free, names), "tflite": writes(tflite, classify, fixed)}
    runs = {"onnx": run_onnx, "tflite": run_tflite}
    for kind, write in ends.items():
      compare = functools.partial(runs[kind], output=PROBABILITIES)
      exports[kind].append((f"{kind}_classifier", f"_classifier.{kind}", write, compare))
      outputs[f"{kind}_classifier"] = said[PROBABILITIES].numpy()
  make_output_folder(directory.path)
  written: list[pathlib.Path] = []
  for kind in formats:
    for name, ending, write, run in exports[kind]:
      path = directory.path / kind / f"{metadata['global_step']}{ending}"
      with io_as_usage_error(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
      remove_leftovers(path.parent)
      with replacing(path, "saved_model.pb") as temporary:
        write(temporary)
        difference = _compared(name, outputs[name], run(temporary, images))
      logger.info(
        "%s in %s, largest difference from the network %.1e",
        "SavedModel" if kind == "saved_model" else name,
        path,
        difference,
      )
      written.append(path)
  return written


def prune_exports(directory: RunDirectory, step: int, keep: int) -> None:
  """Removes old SavedModels of a run.

  Args:
    step: whose SavedModel stays in any case.
    keep: how many stay, those of the most steps; 0: all.
  """
  saved = numbered(directory.path / "saved_model")
  others = [path for number, path in saved.items() if number != step]
  for path in others[: max(0, len(others) + 1 - keep)] if keep else []:
    with io_as_usage_error(path):
      remove(path)


def metadata(
  config: Description,
  pretrained: PretrainedModel,
  channels: int,
  center_crop: bool,
  kept: KeptClassifier | None = None,
  standardise: bool = True,
) -> dict[str, Any]:
  """Returns what is kept beside a SavedModel, as a dict that JSON can hold.

  Args:
    center_crop: whether files are given to the network by the central 87.5 % of their images.
    kept: the network's classifier, or None.
    standardise: whether the one of standardised embeddings is exported.
  """
  return {
    "global_step": pretrained.step,
    "channels": channels,
    "image_size": config.evaluation_size,
    "image_bits": config.image_bits,
    "scaled_decoding": config.scaled_decoding,
    "eval_crops": config.eval_crops,
    "center_crop": center_crop,
    "layer": config.ft_proj_selector,
    "standardize_embeddings": standardise,
    "network": pretrained.network,
    "class_names": list(pretrained.class_names),
    "classifier": kept and {"kind": kept.kind, "class_names": list(kept.class_names)},
    "result": pretrained.result,
    "flags": {
      **(pretrained.settings or config.settings),
      **{name: getattr(config, name) for name in READ},
    },
    "git_revision": _git_revision(),
    "versions": {"conrec_tf": __version__, "tensorflow": tf.__version__},
  }


def check_formats(formats: Sequence[str]) -> None:
  """Finds out before a training whether its network can be exported after it.

  Raises:
    UsageError: a package is missing.
  """
  missing = [name for name in ("tf2onnx", "onnxruntime") if not importlib.util.find_spec(name)]
  if "onnx" in formats and missing:
    raise UsageError(
      "export_format=onnx needs: pip install -r requirements-onnx.txt. "
      f"Received: no {' and no '.join(missing)}"
    )


def _compared(name: str, expected: np.ndarray, found: np.ndarray) -> float:
  """Returns the largest difference of an export's outputs from the network's: rounding alone.

  A classifier magnifies rounding where what it reads hardly varies over images, as that of a
  network that has learnt nothing. That is a warning: the network below it is compared by itself.
  """
  difference = float(np.max(np.abs(found - expected)))
  is_network = name in TOLERANCE
  limit = TOLERANCE[name] * float(np.max(np.abs(expected))) if is_network else CLASSIFIER_TOLERANCE
  if difference <= limit:
    return difference
  if is_network or not np.isfinite(difference):
    raise UsageError(
      f"{name} must give what the network gives, to {limit:.1e}. "
      f"Received: {difference:.1e} as the largest difference"
    )
  logger.warning(
    "%s gives probabilities up to %.1g from the network's on made-up images: what it reads varies "
    "so little that rounding decides",
    name,
    difference,
  )
  return difference


def _smooth_images(size: int, channels: int) -> tf.Tensor:
  """Returns images float32 `[n, size, size, channels]` in [0, 1] with coarse and fine detail."""
  shapes = [[IMAGES_TO_COMPARE, side, side, channels] for side in (4, size)]
  coarse, fine = (
    tf.random.stateless_uniform(shape, [0, seed]) for seed, shape in enumerate(shapes)
  )
  return 0.8 * tf.image.resize(coarse, [size, size]) + 0.2 * fine


def _git_revision() -> str | None:
  """Returns the commit of the code, with -dirty if files were changed; None outside a clone."""
  root = pathlib.Path(__file__).parents[2]
  if not (root / ".git").exists():
    return None
  try:
    return subprocess.run(
      ["git", "describe", *"--always --dirty --abbrev=40 --exclude=*".split()],
      cwd=root,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None
