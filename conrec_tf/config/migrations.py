"""Reads settings that a run of an earlier state wrote down as options of today."""

from collections.abc import Iterable
import dataclasses
from typing import Any

from conrec_tf.config.options.option import read, written
from conrec_tf.config.options.segmentation import Segmentation
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.errors import UsageError

# Options that are gone, at the values that changed nothing.
REMOVED: dict[str, Any] = {"tpu_name": "", "tpu_zone": "", "gcp_project": ""}
# Options that came later, at the values that stand for what was done before.
ADDED: dict[str, Any] = {
  name: field.metadata["before"]
  for name, field in OPTIONS.items()
  if field.metadata["before"] is not None
}
UNREAD = {field.name: written(field.default) for field in dataclasses.fields(Segmentation)}

# The name of a default folder depends on what determines training: on an option under the first
# name that it had, and on none that stands at the value that it has here.
FIRST_NAMES = {"label_mode": "labels"}
UNNAMED = ADDED | {
  "global_bn": True,
  "drop_duplicates": False,
  "image_bits": 0,
  "dicom_window": "",
  "image_key": "image",
  "label_key": "label",
  "label_table": "",
  "label_columns": "",
  "label_order": "",
  "scaled_decoding": False,
  "color_jitter_probability": 0.8,
  "brightness_jitter": 0.8,
  "contrast_jitter": 0.8,
  "saturation_jitter": 0.8,
  "hue_jitter": 0.2,
  "grey_probability": 0.2,
  "blur_probability": 0.5,
  "window_size": 0,
  "crop_min_area": 0.08,
  "random_flip": "horizontal",
  "random_rotation": 0.0,
  "external_scaling": "unit",
  "external_output": "",
  "representation_levels": "last",
  "skip_connections": "all",
  "contrastive_method": "nt_xent",
  "moco_momentum": 0.99,
  "moco_momentum_schedule": "constant",
  "moco_queue_length": 0,
  "contrastive_inputs": "corrupted",
  "multi_level_contrastive_weight": 0.0,
  "multi_level_reconstruction_weight": 0.0,
  "adversarial_weight": 0.0,
  "adversarial_loss": "least_squares",
  "adversarial_start_step": 0,
  "discriminator_learning_rate": 0.0002,
  "moving_average_decay": 0.0,
  "segment_from": "both",
  "mask_key": "segmentation_mask",
  "mask_table": "",
  "mask_classes": "",
  "ignored_mask_value": -1,
  "crops_per_image": 64,
  "segment_loss": "dice",
  "dice_weight": 1.0,
  "class_weights": "",
  "scale_jitter": 0.25,
  "elastic_deformation": 0.0,
}


def current_settings(settings: dict[str, Any]) -> dict[str, Any]:
  """Returns the settings of a run as today's state keeps them.

  Options that are gone are dropped, and those that the run's state lacked have the values that
  stand for what it did; those of segmentation have their defaults where it wasn't one, which never
  read them. Of no settings nothing is known.

  Raises:
    UsageError: an option that is gone had another value than the one that changed nothing.
  """
  if not settings:
    return {}
  for name, value in REMOVED.items():
    if settings.get(name, value) != value:
      raise UsageError(
        f"{name} must be left out of a run's settings: the option is gone. "
        f"Received: {settings[name]}"
      )
  kept = {
    name: written(read(OPTIONS[name], value)) if name in OPTIONS else value
    for name, value in settings.items()
    if name not in REMOVED
  }
  unread = UNREAD
  if kept.get("train_mode") == "segment":
    unread = {}
    if "color_jitter_strength" in kept:  # of which it was a share
      kept.setdefault("segment_color_jitter", kept["color_jitter_strength"] / 4)
  return {**ADDED, **kept, **unread}


def settings_before(stored: dict[str, Any]) -> dict[str, Any]:
  """Returns what the state of a run that goes on couldn't say of it yet, `{option: value}`.

  Args:
    stored: what it wrote down; nothing where there is no such run.
  """
  return {name: value for name, value in ADDED.items() if stored and name not in stored}


def current_flags(arguments: Iterable[str]) -> list[str]:
  """Returns a command line without what flagfiles of earlier runs say of options that are gone."""
  gone = {f"--{name}={value}" for name, value in REMOVED.items()}
  return [argument for argument in arguments if argument not in gone]


def named_settings(fingerprint: dict[str, Any]) -> dict[str, Any]:
  """Returns what the name of a default folder is made of, of what determines training.

  So the same command finds its run again.
  """
  return {
    FIRST_NAMES.get(name, name): value
    for name, value in fingerprint.items()
    if name not in UNNAMED or value != UNNAMED[name]
  }
