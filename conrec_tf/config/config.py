"""`Config`: all options of a run, checked against each other, and what follows from them."""

import dataclasses
import hashlib
import json
import os
from typing import Any, Self

from conrec_tf.config.data_options import OWN_DATASETS, Augmentation, Data
from conrec_tf.config.migrations import current_settings, named_settings
from conrec_tf.config.objective_options import Objective
from conrec_tf.config.option import check_range
from conrec_tf.config.options import OPTIONS
from conrec_tf.config.rules import rules
from conrec_tf.config.run_options import Bookkeeping, Devices, Evaluation, Export, Task
from conrec_tf.config.segmentation_options import Segmentation
from conrec_tf.config.training_options import Model, Optimization
from conrec_tf.errors import UsageError

LENGTH = ("train_epochs", "train_steps")
AT_THE_END = (
  "label_fractions",
  "few_shots",
  "num_repeats",
  "standardize_embeddings",
  "bootstrap_samples",
  "knn_neighbours",
  "knn_temperature",
  "sweep_representations",
)
SYNTHETIC_DATASETS = ("rectangle_triangle", "circles_square")


@dataclasses.dataclass(frozen=True)
class Config(
  # From the last section to the first: a dataclass takes the fields of its last base first.
  Export,
  Evaluation,
  Bookkeeping,
  Devices,
  Segmentation,
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
    for name, field in OPTIONS.items():
      value = getattr(self, name)
      if field.metadata["path"] and isinstance(value, str) and "~" in value:
        paths = [os.path.expanduser(path) for path in value.split(",")]
        object.__setattr__(self, name, ",".join(paths))
    for field in dataclasses.fields(self):
      check_range(field, getattr(self, field.name))
    self._check_together()

  def _check_together(self) -> None:
    for wrong, expected, received in rules(self):
      if wrong:
        raise UsageError(f"{expected}. Received: {received}")

  @classmethod
  def from_settings(cls, settings: dict[str, Any]) -> Self:
    """Returns the `Config` of settings that a run wrote down.

    Names that are no options are passed over, and options that aren't there get their defaults.
    """
    current = current_settings(settings)
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
  def is_segmenting(self) -> bool:
    """Whether the network learns from masks."""
    return self.train_mode == "segment"

  @property
  def class_weight_list(self) -> tuple[float, ...]:
    """`class_weights` as floats; what can't be read is 0."""
    return tuple(_number(text) for text in self.class_weights.split(",") if text.strip())

  @property
  def starts_trained(self) -> bool:
    """Whether pre-training starts from weights that have learnt before."""
    return bool(self.checkpoint or self.encoder_weights)

  @property
  def has_supervised_head(self) -> bool:
    """Whether a supervised head is trained: on its own, or beside pre-training."""
    return self.train_mode == "finetune" or self.lineareval_while_pretraining

  @property
  def encoder_blocks(self) -> int:
    """How many blocks the encoder has, for `fine_tune_after_block`."""
    return self.unet_depth if self.encoder == "unet" else 4

  @property
  def fractions(self) -> tuple[float, ...]:
    """`label_fractions` as floats; what can't be read is 0."""
    return tuple(_number(text) for text in self.label_fractions.split(",") if text.strip())

  @property
  def label_column_names(self) -> tuple[str, ...]:
    """`label_columns` as a tuple of names."""
    return tuple(text.strip() for text in self.label_columns.split(",") if text.strip())

  @property
  def fold(self) -> tuple[int, int]:
    """`cv_fold` as the number of the fold, from 0, and how many there are; else 0 of 0."""
    number, _, count = self.cv_fold.partition("/")
    known = number.isdecimal() and count.isdecimal()
    return (int(number), int(count)) if known else (0, 0)

  @property
  def shots(self) -> tuple[int, ...]:
    """`few_shots` as numbers; what can't be read is -1."""
    return _whole_numbers(self.few_shots)

  @property
  def seed_list(self) -> tuple[int, ...]:
    """`seeds` as numbers; what can't be read is -1."""
    return _whole_numbers(self.seeds)

  @property
  def export_formats(self) -> tuple[str, ...]:
    """`export_format` as a tuple of names."""
    return tuple(text.strip() for text in self.export_format.split(",") if text.strip())

  @property
  def method(self) -> str:
    """The name of the system that these values make (paper, Tables 1 and 2)."""
    if self.is_segmenting:
      return "segment"
    if not self.is_pretraining:
      return "finetune" if self.checkpoint else f"supervised_{self.encoder}"
    if self.encoder == "external":
      return "external"
    if self.encoder_weights:
      return "densenet121_imagenet"
    if not self.contrastive_weight:
      return "reconstruction"
    attention = self.pooling == "attention"
    if not self.reconstruction_weight:
      return "simclr_attention" if attention else "simclr"
    return "conrec" if attention else "conrec_ga_pool"

  @property
  def depends_on_length(self) -> bool:
    """Whether what a step does depends on where training ends.

    It does where something follows a cosine over the whole training. Warm-up and the start of the
    adversarial loss are counted from the beginning.
    """
    momentum = (
      self.is_pretraining
      and self.contrastive_method == "moco"
      and self.moco_momentum_schedule == "cosine"
    )
    return momentum or self.learning_rate_schedule == "cosine"

  @property
  def training_fingerprint(self) -> dict[str, Any]:
    """`{name: value}` of what determines the weights after a given step.

    Unless something depends on it (`depends_on_length`) the number of steps isn't in it: a longer
    run begins with the shorter one. On one device `global_bn` isn't either. Where the data lies
    isn't in it: a run knows its data by names and sizes (`DatasetSource.digest`).
    """
    free = set() if self.depends_on_length else set(LENGTH)
    free |= {"global_bn"} if self.strategy == "one_device" else set()
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.metadata["changes_training"] and field.name not in free
    }

  @property
  def evaluation_settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
    """`{name: value}` of what the numbers of an evaluation depend on; the second, only the last's.

    What determines training isn't in it.
    """
    names = (
      "eval_dataset",
      "eval_train_split",
      "eval_test_split",
      "eval_split",
      "eval_crop",
      "ordinal_labels",
      "cv_folds",
      "select_best_on",
      *(("tile_size", "test_time_flips") if self.is_segmenting else ()),
    )
    always, at_the_end = (
      {name: getattr(self, name) for name in group} for group in (names, AT_THE_END)
    )
    return always, at_the_end

  @property
  def run_directory(self) -> str:
    """`model_dir`, or the default that is a function of `training_fingerprint`."""
    values = named_settings(self.training_fingerprint)
    if self.learning_rate_schedule == "constant":  # whatever else may depend on the length
      values = {name: value for name, value in values.items() if name not in LENGTH}
    if self.dataset in OWN_DATASETS:
      values["data_dir"] = os.path.realpath(self.data_dir)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    name = self.dataset.replace("/", "_").replace(":", "_")
    several = "-seeds" if self.seeds else ""
    return self.model_dir or f"runs/{name}-{self.method}-{digest.hexdigest()[:8]}{several}"


def _whole_numbers(text: str) -> tuple[int, ...]:
  """Returns numbers separated by commas, or -1 for what is none."""
  parts = [part.strip() for part in text.split(",") if part.strip()]
  return tuple(int(part) if part.isdecimal() else -1 for part in parts)


def _number(text: str) -> float:
  """Returns a text as a float, or 0 if it is none."""
  try:
    return float(text)
  except ValueError:
    return 0.0
