"""`Config`: all options of a run, checked against each other, and what follows from them."""

import dataclasses
import hashlib
import json
import os
from typing import Any

from conrec_tf.config.errors import UsageError
from conrec_tf.config.options import (
  OPTIONS,
  Augmentation,
  Bookkeeping,
  Data,
  Devices,
  Evaluation,
  Export,
  Model,
  Objective,
  Optimization,
  Task,
  with_current_names,
)
from conrec_tf.config.rules import check_range, rules

SYNTHETIC_DATASETS = ("rectangle_triangle", "circles_square")
OWN_DATASETS = ("image_folder", "npz")


@dataclasses.dataclass(frozen=True)
class Config(
  # From the last section to the first: a dataclass takes the fields of its last base first.
  Export,
  Evaluation,
  Bookkeeping,
  Devices,
  Optimization,
  Objective,
  Model,
  Augmentation,
  Data,
  Task,
):
  """All options of one run, flat: `Config(image_size=128, base_filters=64)`.

  Raises:
    UsageError: a value is out of its range or two values contradict each other;
      the message says what was expected and ends with what was received.
  """

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      check_range(field, getattr(self, field.name))
    for wrong, expected, received in rules(self):
      if wrong:
        raise UsageError(f"{expected}. Received: {received}")

  @classmethod
  def from_settings(cls, settings: dict[str, Any]) -> "Config":
    """Returns the `Config` of settings that a run of any version wrote down.

    Options that were renamed are taken over, those that are gone are passed over, and those
    that weren't there yet get their defaults.
    """
    current = with_current_names(settings)
    return cls(**{name: value for name, value in current.items() if name in OPTIONS})

  @property
  def channels(self) -> int:
    """Channels of the images if `image_channels` leaves them to the dataset."""
    return self.image_channels or (1 if self.dataset in SYNTHETIC_DATASETS else 3)

  @property
  def is_pretraining(self) -> bool:
    """Whether the network learns without labels."""
    return self.train_mode == "pretrain"

  @property
  def has_supervised_head(self) -> bool:
    """Whether a supervised head is trained: on its own, or beside pre-training."""
    return not self.is_pretraining or self.lineareval_while_pretraining

  @property
  def encoder_blocks(self) -> int:
    """How many blocks the encoder has, for `fine_tune_after_block`."""
    return self.unet_depth if self.encoder == "unet" else 4

  @property
  def fractions(self) -> tuple[float, ...]:
    """`label_fractions` as floats; what can't be read is 0."""
    return tuple(_number(text) for text in self.label_fractions.split(",") if text.strip())

  @property
  def export_formats(self) -> tuple[str, ...]:
    """`export_format` as a tuple of names."""
    return tuple(text.strip() for text in self.export_format.split(",") if text.strip())

  @property
  def method(self) -> str:
    """The name of the system that these values make (paper, Tables 1 and 2)."""
    if not self.is_pretraining:
      return "finetune" if self.checkpoint else f"supervised_{self.encoder}"
    if self.encoder_weights:
      return "densenet121_imagenet"
    if not self.contrastive_weight:
      return "reconstruction"
    attention = self.pooling == "attention"
    if not self.reconstruction_weight:
      return "simclr_attention" if attention else "simclr"
    return "conrec" if attention else "conrec_ga_pool"

  @property
  def training_fingerprint(self) -> dict[str, Any]:
    """`{name: value}` of what determines the weights after a given step.

    At a constant learning rate the number of steps isn't in it: a longer run begins
    with the shorter one. On one device `global_bn` isn't either.
    """
    free = {"train_epochs", "train_steps"} if self.learning_rate_schedule == "constant" else set()
    free |= {"global_bn"} if self.strategy == "one_device" else set()
    values = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.metadata["changes_training"] and field.name not in free
    }
    if self.dataset in OWN_DATASETS:
      values["data_dir"] = os.path.realpath(os.path.expanduser(self.data_dir))
    return values

  @property
  def run_directory(self) -> str:
    """`model_dir`, or the default that is a function of `training_fingerprint`."""
    # Under first names, so that the same command finds the run of an earlier version; and
    # without `global_bn` where it is on, as on one device.
    values = {
      OPTIONS[name].metadata["renamed_from"] or name: value
      for name, value in self.training_fingerprint.items()
      if (name, value) != ("global_bn", True)
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    name = self.dataset.replace("/", "_").replace(":", "_")
    return self.model_dir or f"runs/{name}-{self.method}-{digest.hexdigest()[:8]}"


def _number(text: str) -> float:
  """Returns a text as a float, or 0 if it is none."""
  try:
    return float(text)
  except ValueError:
    return 0.0
