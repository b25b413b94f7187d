"""`Config`: all options of a run, checked against each other, and what follows from them."""

import dataclasses
import hashlib
import json
import os
from typing import Any, Self

from conrec_tf.config.migrations import current_settings, named_settings
from conrec_tf.config.options.data import OWN_DATASETS, Augmentation, Data
from conrec_tf.config.options.option import check_range, read, written
from conrec_tf.config.options.table import OPTIONS, Options
from conrec_tf.config.options.training import Model, Optimization
from conrec_tf.config.rules import rules
from conrec_tf.errors import UsageError

LENGTH = ("train_epochs", "train_steps")
OF_SUPERVISED = (Augmentation, Model, Optimization)  # sections that a training without others has
OF_EVAL_DATASET = ("eval_dataset", "eval_data_dir", "eval_train_split", "eval_test_split")
# Options that say which images are measured.
OF_MEASURED_IMAGES = (
  "eval_dataset",
  "eval_train_split",
  "eval_test_split",
  "eval_split",
  "eval_crop",
)
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


@dataclasses.dataclass(frozen=True)
class Config(Options):
  """All options of one run, flat: `Config(image_size=128, base_filters=64)`.

  A list may be a text too, with commas between, as flags and files have it.

  Raises:
    UsageError: a value is out of its range or two values contradict each other;
      the message says what was expected and ends with what was received.
  """

  def __post_init__(self) -> None:
    for name, field in OPTIONS.items():
      value = read(field, written(getattr(self, name)))
      check_range(field, value)
      if field.metadata["path"]:
        several = isinstance(value, tuple)
        value = tuple(map(os.path.expanduser, value)) if several else os.path.expanduser(value)
      object.__setattr__(self, name, value)
    self._check_together()

  def _check_together(self) -> None:
    for wrong, expected, *received in rules(self):
      if wrong:
        [value] = received or [getattr(self, expected.split()[0])]
        raise UsageError(f"{expected}. Received: {written(value)}")

  @classmethod
  def from_settings(cls, settings: dict[str, Any]) -> Self:
    """Returns the `Config` of settings that a run wrote down.

    Names that are no options are passed over, and options that aren't there get their defaults.
    """
    current = current_settings(settings)
    return cls(**{name: value for name, value in current.items() if name in OPTIONS})

  def of_seed(self, seed: int, folder: str) -> Self:
    """Returns the options of one of the trainings of `seeds`, in a folder of `model_dir`."""
    path = os.path.join(self.run_directory, folder)
    return dataclasses.replace(self, seed=seed, seeds=(), model_dir=path)

  def of_fold(self, repetition: int, fold: int) -> Self:
    """Returns the options of one finetuning of a cross-validation, in a folder of `model_dir`."""
    return dataclasses.replace(
      self,
      cv_folds=0,
      cv_fold=f"{fold}/{self.cv_folds}",
      seed=(self.seed + repetition) % 2**31,
      model_dir=os.path.join(self.run_directory, f"repetition_{repetition}_fold_{fold}"),
    )

  def from_scratch(
    self, folder: str, steps: int, center_crop: bool, fraction: float, labels: int
  ) -> Self:
    """Returns the options of a supervised training on the labels that the run is evaluated on.

    It has the network of the run, its optimizer and its seed, and starts from random weights.

    Args:
      folder: where it lives, in model_dir.
      steps: of the training.
      center_crop: whether evaluation crops.
      fraction: of the labels that it learns from.
      labels: how many that are; batches are no larger.
    """
    data = self.of_eval_dataset(self.image_channels) if self.eval_dataset else self
    values: dict[str, Any] = {
      field.name: getattr(data if section is Data else self, field.name)
      for section in (Data, *OF_SUPERVISED)
      for field in dataclasses.fields(section)
    }
    values |= dict(
      train_mode="finetune",
      model_dir=os.path.join(self.run_directory, folder),
      seed=self.seed,
      train_steps=steps,
      train_batch_size=min(self.train_batch_size, labels),
      train_label_fraction=fraction,
      encoder_weights="",
      external_scaling=OPTIONS["external_scaling"].default,
      external_output="",
      pooling="attention" if self.has_attention else "average",
      fine_tune_after_block=-1,
      moving_average_decay=0.0,
      devices=self.devices[:1],
      eval_crop="center" if center_crop else "none",
      eval_image_size=self.eval_image_size,
      eval_crops=self.eval_crops,
      eval_batch_size=self.eval_batch_size,
      eval_every_epochs=0,
      bootstrap_samples=0,
      **{name: OPTIONS[name].default for name in OF_EVAL_DATASET},
    )
    return type(self)(**values, report=False, export_format=())

  def in_precision(self, mixed_precision: str) -> Self:
    """Returns the options of the same run, in the same folder, with its precision settled."""
    if mixed_precision == self.mixed_precision:
      return self
    path = self.run_directory
    return dataclasses.replace(self, mixed_precision=mixed_precision, model_dir=path)

  def to_report(self) -> Self:
    """Returns the options with which `mode=report` looks at the same run."""
    return dataclasses.replace(self, mode="report")

  def to_embed(self, batch_size: int) -> Self:
    """Returns the options of a pass over images with a network that gets its weights elsewhere."""
    return dataclasses.replace(
      self, cache_dataset=False, encoder_weights="", eval_batch_size=batch_size
    )

  def with_given_weights(self) -> Self:
    """Returns the options of a network that gets its weights from elsewhere and isn't trained."""
    return dataclasses.replace(self, lineareval_while_pretraining=False, encoder_weights="")

  @property
  def settings(self) -> dict[str, Any]:
    """`{name: value}` of all options as they are written down."""
    return {name: written(getattr(self, name)) for name in OPTIONS}

  @property
  def is_of_several(self) -> bool:
    """True for several trainings, each in a folder of its own in `model_dir`."""
    return bool(self.seeds or self.cv_folds and not self.is_pretraining)

  @property
  def depends_on_length(self) -> bool:
    """True where a step depends on the step where training ends.

    It does where something follows a cosine over the whole training, or images grow after shares of
    it. Warm-up and the start of the adversarial loss are counted from the beginning.
    """
    momentum = (
      self.is_pretraining
      and self.contrastive_method == "moco"
      and self.moco_momentum_schedule == "cosine"
    )
    return momentum or self.learning_rate_schedule == "cosine" or bool(self.size_shares)

  @property
  def training_fingerprint(self) -> dict[str, Any]:
    """`{name: value}` of what determines the weights after a given step.

    Unless something depends on it (`depends_on_length`) the number of steps isn't in it: a longer
    run begins with the shorter one. On one device `global_bn` isn't either. Where the data lies
    isn't in it: a run knows its data by names and sizes (`DatasetSource.digest`).
    """
    free = set() if self.depends_on_length else set(LENGTH)
    free |= {"global_bn"} if self.strategy == "one_device" else set()
    sizes = ",".join(f"{size}:{share}" for size, share in self.size_shares)  # whether auto or not
    return {
      name: value
      for name, value in {**self.settings, "image_size_schedule": sizes}.items()
      if OPTIONS[name].metadata["changes_training"] and name not in free
    }

  @property
  def evaluation_settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
    """`{name: value}` of what the numbers of an evaluation depend on; the second, only the last's.

    What determines training isn't in it.
    """
    names = (
      *OF_MEASURED_IMAGES,
      "eval_image_size",
      "eval_crops",
      "ordinal_labels",
      "cv_folds",
      "select_best_on",
      *(("tile_size", "test_time_flips") if self.is_segmenting else ()),
    )
    settings = self.settings
    always, at_the_end = ({name: settings[name] for name in group} for group in (names, AT_THE_END))
    return always, at_the_end

  @property
  def run_directory(self) -> str:
    """`model_dir`, or the default that is a function of `training_fingerprint`."""
    values = named_settings(self.training_fingerprint)
    if self.learning_rate_schedule == "constant":  # whatever else may depend on the length
      values = {name: value for name, value in values.items() if name not in LENGTH}
    if self.dataset in OWN_DATASETS:
      is_path = "://" not in self.data_dir
      values["data_dir"] = os.path.realpath(self.data_dir) if is_path else self.data_dir
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    name = self.dataset.replace("/", "_").replace(":", "_")
    several = "-seeds" if self.seeds else ""
    return self.model_dir or f"runs/{name}-{self.method}-{digest.hexdigest()[:8]}{several}"
