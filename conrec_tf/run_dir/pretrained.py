"""Trained networks on disk: what each of them is, told without TensorFlow."""

import dataclasses
import glob
import json
import os
import pathlib

from conrec_tf.config import Config, UsageError
from conrec_tf.run_dir.run_directory import RunDirectory

CHECKPOINTS = "checkpoints"
BEST = "best"
METADATA = "metadata.json"
# The options that say which network weights belong to, and what it takes and gives.
ARCHITECTURE_OPTIONS = (
  "encoder",
  "base_filters",
  "unet_depth",
  "pooling",
  "proj_head_mode",
  "num_proj_layers",
  "proj_out_dim",
  "ft_proj_selector",
  "batch_norm_decay",
  "attention_dropout",
  "contrastive_weight",
  "reconstruction_weight",
  "corruption",
  "image_size",
  "image_channels",
)


@dataclasses.dataclass(frozen=True)
class PretrainedModel:
  """A trained network on disk.

  Attributes:
    kind: checkpoint, saved_model or hdf5.
    path: a checkpoint's prefix, a SavedModel's folder, or a file.
    step: how many steps it was trained; 0 if that isn't known.
    values: `{option: value}` of those in `ARCHITECTURE_OPTIONS` that are known.
    settings: `{option: value}` of the training, as far as they are known and still exist.
    channels: of the images, or 0 if that isn't known.
    one_size: whether all images that it was evaluated on have one size.
    class_names: of the labels that it was trained or evaluated on.
    result: what an evaluation found, `{name: value}`.
  """

  kind: str
  path: str
  step: int = 0
  values: dict = dataclasses.field(default_factory=dict)
  settings: dict = dataclasses.field(default_factory=dict)
  channels: int = 0
  one_size: bool = False
  class_names: tuple = ()
  result: dict = dataclasses.field(default_factory=dict)


def resolve_checkpoint(path, which="last", flag="checkpoint"):
  """The network that `--checkpoint` names.

  Args:
    path: a model_dir, the prefix of a checkpoint, the folder of a SavedModel that this package
      exported, or an HDF5 file of the authors' implementation.
    which: last or best, of a model_dir.
    flag: the flag that the path comes from, for messages.

  Raises:
    UsageError: it is none of these.
  """
  path = os.path.expanduser(path)
  path = path.removesuffix(".index")
  if os.path.exists(os.path.join(path, "saved_model.pb")):
    return _saved_model(path)
  if os.path.isfile(path):
    return _hdf5(path)
  folder = os.path.join(path, BEST if which == "best" else CHECKPOINTS)
  prefix = (prefixes(folder) or [path])[-1]
  if not os.path.exists(prefix + ".index"):
    if which == "best" and prefixes(os.path.join(path, CHECKPOINTS)):
      raise UsageError(
        f"export_checkpoint must be last for a run that wasn't evaluated. Received: best for {path}"
      )
    raise UsageError(
      f"{flag} must be a model_dir with a checkpoint in it, a checkpoint's prefix, "
      f"a SavedModel, or an HDF5 file. Received: {path}"
    )
  return _checkpoint(prefix)


def prefixes(folder):
  """The checkpoints in a folder, those of earlier steps first."""
  files = glob.glob(os.path.join(glob.escape(folder), "ckpt-*.index"))
  return sorted((name.removesuffix(".index") for name in files), key=step_of)


def step_of(prefix):
  """The step in a checkpoint's name; 0 if there is none."""
  number = prefix.rsplit("-", 1)[-1]
  return int(number) if number.isdigit() else 0


def architecture_options(settings, channels):
  """Those of a run's settings that describe its network, as one that represents images.

  Args:
    settings: `{option: value}`.
    channels: of its images, or 0 if that isn't known.
  """
  values = {
    "train_mode": "pretrain",
    **{name: settings[name] for name in ARCHITECTURE_OPTIONS if name in settings},
  }
  if channels in (1, 3):
    values["image_channels"] = channels
  if settings.get("train_mode") == "finetune":
    values.update(contrastive_weight=1.0, reconstruction_weight=0.0, corruption="none")
    if not settings["ft_proj_selector"]:
      values["proj_head_mode"] = "none"
  elif not settings.get("contrastive_weight", True):
    values["pooling"] = "average"
  return values


def _known(settings):
  names = {field.name for field in dataclasses.fields(Config)}
  return {name: value for name, value in settings.items() if name in names}


def _checkpoint(prefix):
  directory = RunDirectory(pathlib.Path(prefix).parent.parent)
  step, images = step_of(prefix), directory.read("images.json") or {}
  settings, channels = directory.read("config.json") or {}, images.get("channels", 0)
  return PretrainedModel(
    "checkpoint",
    prefix,
    step,
    architecture_options(settings, channels),
    _known(settings),
    channels,
    images.get("one_size", False),
    tuple(images.get("class_names", ())),
    directory.read(f"result_{step}.json") or {},
  )


def _saved_model(path):
  try:
    metadata = json.loads(pathlib.Path(path, "assets", METADATA).read_text())
    settings, channels = metadata["flags"], metadata["channels"]
    return PretrainedModel(
      "saved_model",
      path,
      metadata["global_step"],
      architecture_options(settings, channels),
      _known(settings),
      channels,
      metadata["one_size"],
      tuple(metadata["class_names"]),
      metadata["result"],
    )
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UsageError(
      f"checkpoint must be a SavedModel with its assets/{METADATA}, as exported "
      f"here. Received: {path}"
    ) from error


def _hdf5(path):
  from conrec_tf.run_dir.authors_hdf5 import AuthorsCheckpoint  # h5py only for such files

  original = AuthorsCheckpoint(path)
  return PretrainedModel("hdf5", path, values=original.values, channels=original.channels)
