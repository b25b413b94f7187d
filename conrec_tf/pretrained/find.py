"""Trained networks on disk: finds them and reads what they are, without TensorFlow."""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

from conrec_tf.config.migrations import current_settings
from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS, OPTIONS
from conrec_tf.errors import UsageError, as_usage_error
from conrec_tf.run_dir.run_directory import (
  BEST,
  CHECKPOINTS,
  RunDirectory,
  prefixes,
  step_of,
)

METADATA = "metadata.json"
AVERAGE = "average"  # the network that is the moving average of the one that is trained
MOMENTUM = "momentum"  # the one that makes keys, for contrastive_method=moco
OF_RECONSTRUCTION = (
  "reconstruction_",
  "multi_level_reconstruction",
  "adversarial",
  "discriminator",
)
# What else describes a network without its head, by what it learnt.
EMBEDS = {"contrastive_weight": 1.0, "reconstruction_weight": 0.0, "corruption": "none"}
WITHOUT_HEAD = {
  "finetune": EMBEDS,
  "segment": {**EMBEDS, "pooling": "average", "proj_head_mode": "none"},  # its encoder
}
# Options that say how a network is read: of one network they may differ between evaluations.
READ = ("image_size", "eval_image_size", "eval_crops", "ft_proj_selector", "representation_levels")
# What a supervised head learnt from: of another representation it says nothing.
REPRESENTED = ("ft_proj_selector", "representation_levels")
PREDICTED = ("tile_size", "test_time_flips")  # what says how a segmenting network is called
OF_HEADS = ("train_mode", "ordinal_labels", *PREDICTED)
COUNTS = "standardize_embeddings"  # says by which reading a network's classifier tells classes
CLASSIFY = ("embed", "explore", "predict", "export")  # modes that take that classifier
OF_A_TRAINING = ("train", "train_then_eval", "report", "verdict")  # modes, from a network or not
EXTERNAL = {  # what is said of a network that is only called
  "train_mode": "pretrain",
  "encoder": "external",
  "pooling": "average",
  "reconstruction_weight": 0.0,
  "corruption": "none",
}


@dataclasses.dataclass(frozen=True)
class PretrainedModel:
  """A trained network on disk.

  Attributes:
    kind: checkpoint, saved_model, hdf5, or external, a SavedModel or ONNX file of somebody else.
    path: a checkpoint's prefix, a SavedModel's folder, or a file.
    step: how many steps it was trained; 0 if that isn't known.
    values: `{option: value}` of those in `ARCHITECTURE_OPTIONS` that are known.
    settings: `{option: value}` of the training, as far as they are known and still exist.
    channels: of the images, or 0 if that isn't known.
    center_crop: whether its evaluation takes the central 87.5 % of images; None if not known.
    class_names: of the labels that it was trained or evaluated on.
    result: what an evaluation found, `{name: value}`.
    network: which one of a checkpoint: model, `AVERAGE` or `MOMENTUM`.
  """

  kind: str
  path: str
  step: int = 0
  values: dict[str, Any] = dataclasses.field(default_factory=dict)
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  channels: int = 0
  center_crop: bool | None = None
  class_names: tuple[str, ...] = ()
  result: dict[str, Any] = dataclasses.field(default_factory=dict)
  network: str = "model"

  @property
  def train_mode(self) -> str:
    """The mode that it was trained in: pretrain, where that isn't known."""
    return self.settings.get("train_mode", "pretrain")

  @property
  def values_with_head(self) -> dict[str, Any]:
    """`values` of the whole network: of a finetuned or segmenting one with its head."""
    if self.train_mode == "pretrain":
      return self.values
    names = (*ARCHITECTURE_OPTIONS, *OF_HEADS)
    kept = {name: self.settings[name] for name in names if name in self.settings}
    return kept | ({"image_channels": self.channels} if self.channels in (1, 3) else {})

  def check_channels(self, channels: int, where: str) -> None:
    """Raises UsageError where images, which lie somewhere, have others than it takes, if known."""
    if self.channels not in (0, channels):
      raise UsageError(
        f"images must have {self.channels} channels, as the network takes. "
        f"Received: {channels} in {where}"
      )


def resolve_checkpoint(
  path: str | os.PathLike, which: str = "last", model_dir: str | os.PathLike = ""
) -> PretrainedModel:
  """Finds the network that `--checkpoint` names, or without it that of `model_dir`.

  Args:
    path: a model_dir, the prefix of a checkpoint, the folder of a SavedModel, an ONNX file, or an
      HDF5 file of the authors' implementation; empty for `model_dir`.
    which: last or best, of a model_dir.
    model_dir: folder of the run, where there is no path.

  Raises:
    UsageError: it is none of these.
  """
  flag = "checkpoint" if path else "model_dir or checkpoint"
  path = os.path.expanduser(os.fspath(path or model_dir)).removesuffix(".index")
  if os.path.exists(os.path.join(path, "saved_model.pb")):
    ours = os.path.exists(os.path.join(path, "assets", METADATA))
    return _saved_model(path) if ours else PretrainedModel("external", path, values=EXTERNAL)
  if os.path.isfile(path):
    if path.endswith(".onnx"):
      return PretrainedModel("external", path, values=EXTERNAL)
    from conrec_tf.pretrained.authors_hdf5 import AuthorsCheckpoint  # h5py only for such files

    original = AuthorsCheckpoint(path)
    return PretrainedModel("hdf5", path, values=original.values, channels=original.channels)
  folder = os.path.join(path, BEST if which == "best" else CHECKPOINTS)
  prefix = (prefixes(folder) or [path])[-1]
  if not os.path.exists(prefix + ".index"):
    if which == "best" and prefixes(os.path.join(path, CHECKPOINTS)):
      raise UsageError(
        f"export_checkpoint must be last for a run that wasn't evaluated. Received: best for {path}"
      )
    raise UsageError(
      f"{flag} must be a model_dir with a checkpoint in it, a checkpoint's prefix, "
      f"a SavedModel, an ONNX file, or an HDF5 file. Received: {path}"
    )
  return _checkpoint(prefix)


def network_values(
  checkpoint: str, mode: str, run: RunDirectory | None = None, train_mode: str = ""
) -> dict[str, Any]:
  """Returns what the network that `--checkpoint` names says of itself, `{option: value}`.

  Args:
    mode: the command.
    run: the folder of the run that is asked for, or None. Of a training that has gone on from this
      network it is what was noted there, whether the network is still there or not.
    train_mode: that is asked for, or empty.

  Raises:
    UsageError: there is no such network.
  """
  stored = current_settings(run.settings if run else {})
  goes_on = run and run.has_checkpoints and stored.get("checkpoint") == checkpoint
  if goes_on and mode in OF_A_TRAINING:
    return {name: stored[name] for name in ARCHITECTURE_OPTIONS if name in stored}
  pretrained = resolve_checkpoint(checkpoint)
  if mode == "eval" and train_mode in ("", pretrained.train_mode):
    return pretrained.values_with_head
  if mode == "segment":  # as it was measured
    known = {name: pretrained.settings[name] for name in PREDICTED if name in pretrained.settings}
    return pretrained.values | known
  if mode in CLASSIFY and COUNTS in pretrained.settings and COUNTS not in stored:
    return {**pretrained.values, COUNTS: pretrained.settings[COUNTS]}
  return pretrained.values


def read_otherwise(
  options: Any, settings: Mapping[str, Any], names: Sequence[str]
) -> tuple[str, Any] | None:
  """Returns an option by which a supervised head is read otherwise than it learnt, if there is one.

  Args:
    options: by which it is read.
    settings: `{option: value}` of its training, as far as they are known.
    names: of the options that count.

  Returns:
    The option and its value in the training, or None.
  """
  known = ((name, settings[name]) for name in names if name in settings)
  return next(((name, value) for name, value in known if value != getattr(options, name)), None)


def check_read_as_learnt(
  options: Any, settings: Mapping[str, Any], names: Sequence[str] = ("ordinal_labels", *REPRESENTED)
) -> None:
  """Raises UsageError where a supervised head is read otherwise than it learnt; see there."""
  if otherwise := read_otherwise(options, settings, names):
    name, learnt = otherwise
    raise UsageError(
      f"{name} must be {learnt}, as the supervised head learnt. Received: {getattr(options, name)}"
    )


def said_beside(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what a run or a network says of itself, for what is left open beside given options."""
  values = dict(values)
  segments = given.get("train_mode") == "segment"
  if segments or "image_size" in given:
    values["eval_image_size"] = 0  # that of a network goes with its own image_size
  if segments:
    values["eval_crops"] = 1
  return values


def architecture_options(settings: dict[str, Any], channels: int) -> dict[str, Any]:
  """Selects what describes the network of a run, as one that embeds images.

  The channels of its images are 0 if that isn't known.
  """
  values = {
    "train_mode": "pretrain",
    **{name: settings[name] for name in ARCHITECTURE_OPTIONS if name in settings},
  }
  if channels in (1, 3):
    values["image_channels"] = channels
  learnt = settings.get("train_mode", "pretrain")
  values.update(WITHOUT_HEAD.get(learnt, {}))
  if learnt == "finetune" and not settings["ft_proj_selector"]:
    values["proj_head_mode"] = "none"
  elif learnt == "pretrain" and not settings.get("contrastive_weight", True):
    values["pooling"] = "average"
  return values


def _current_settings(settings: dict[str, Any]) -> dict[str, Any]:
  """Returns settings of a run as of today; names that are no options are out."""
  return {name: value for name, value in current_settings(settings).items() if name in OPTIONS}


def _checkpoint(prefix: str) -> PretrainedModel:
  directory = RunDirectory(pathlib.Path(prefix).absolute().parent.parent)
  step, images = step_of(prefix), directory.images
  settings = _current_settings(directory.settings)
  channels = images.get("channels", 0)
  return PretrainedModel(
    "checkpoint",
    prefix,
    step,
    architecture_options(settings, channels),
    settings,
    channels,
    images.get("center_crop"),
    tuple(images.get("class_names", ())),
    directory.result(step),
    AVERAGE if settings.get("moving_average_decay") else "model",
  )


def _saved_model(path: str) -> PretrainedModel:
  damaged = (OSError, ValueError, LookupError, TypeError, AttributeError)
  readable = f"a SavedModel whose assets/{METADATA} can be read, or has none of that name"
  with as_usage_error(f"checkpoint must be {readable}", path, *damaged):
    metadata = json.loads(pathlib.Path(path, "assets", METADATA).read_text())
    settings, channels = _current_settings(metadata["flags"]), metadata["channels"]
    settings |= {name: metadata[name] for name in (COUNTS,) if name in metadata}
    return PretrainedModel(
      "saved_model",
      path,
      metadata["global_step"],
      architecture_options(settings, channels),
      settings,
      channels,
      metadata.get("center_crop"),
      tuple(metadata["class_names"]),
      metadata["result"],
    )


def momentum_network(pretrained: PretrainedModel) -> PretrainedModel:
  """Returns the momentum network beside a run's, which has no decoder and wasn't evaluated.

  Raises:
    UsageError: there is none.
  """
  settings = pretrained.settings
  if pretrained.kind != "checkpoint" or settings.get("contrastive_method") != "moco":
    raise UsageError(
      "export_weights must be trained, unless the network is of a run with "
      f"contrastive_method=moco. Received: momentum for {pretrained.path}"
    )
  kept = {name: settings[name] for name in settings if not name.startswith(OF_RECONSTRUCTION)}
  without = {**kept, "reconstruction_weight": 0.0}
  return dataclasses.replace(
    pretrained,
    values={**pretrained.values, "reconstruction_weight": 0.0},
    settings=without,
    result={},
    network=MOMENTUM,
  )


class CenterCrops(NamedTuple):
  """True where evaluation takes the central 87.5 % of images; None where that isn't known.

  Attributes:
    training: of the data that is learnt from, by a supervised head.
    evaluation: of the data of linear evaluation, and of what the network sees later.
  """

  training: bool | None
  evaluation: bool | None


def known_center_crops(
  directory: RunDirectory, eval_dataset: str, checkpoint: str = ""
) -> CenterCrops:
  """Returns how a run was evaluated, or else the network that it begins from.

  Args:
    eval_dataset: the dataset of linear evaluation where it isn't the training's, or nothing.
    checkpoint: the network that the run begins from, or nothing.
  """
  images = directory.images
  training, evaluation = images.get("train_center_crop"), images.get("center_crop")
  if evaluation is None and checkpoint:
    training = evaluation = resolve_checkpoint(checkpoint).center_crop
  elif training is None and not eval_dataset:  # of a run that kept the evaluation's alone
    training = evaluation
  return CenterCrops(training, evaluation)


def network_digest(pretrained: PretrainedModel) -> str:
  """Returns what differs between any two networks on disk; of ONNX, the files beside it too."""
  path = pathlib.Path(pretrained.path)
  if pretrained.kind == "checkpoint":
    files = [path.with_name(path.name + ".index")]
  elif path.is_dir():
    files = [path / "variables" / "variables.index"]
    if pretrained.kind == "external":  # it may have no variables
      files = [path / "saved_model.pb", *filter(pathlib.Path.exists, files)]
  else:
    files = [path, *_external_data(path)]
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.read_bytes())
  return digest.hexdigest()


def _external_data(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files beside an ONNX file that it names: they may hold its tensors."""
  if path.suffix != ".onnx":
    return []
  content, found = path.read_bytes(), list[pathlib.Path]()
  for beside in sorted(path.parent.iterdir()):
    if beside != path and os.fsencode(beside.name) in content:
      found += filter(pathlib.Path.is_file, sorted(beside.rglob("*")) or [beside])
  return found


def starting_network(checkpoint: str, encoder_weights: str) -> str:
  """Returns a digest of the weights that a training starts from, wherever they lie.

  It is empty where there are none, or they are gone.
  """
  with contextlib.suppress(UsageError, OSError):  # a run that goes on doesn't need them any more
    if checkpoint:
      return network_digest(resolve_checkpoint(checkpoint))
    if encoder_weights:
      return hashlib.sha256(pathlib.Path(encoder_weights).read_bytes()).hexdigest()
  return ""
