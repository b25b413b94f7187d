"""`Config`: all options of a run, checked against each other, and what follows from them."""

import dataclasses
import hashlib
import json
import os
import re

from conrec_tf.config.devices import device_rules
from conrec_tf.config.errors import UsageError
from conrec_tf.config.options import SECTIONS

SYNTHETIC_DATASETS = ("rectangle_triangle", "circles_square")
OWN_DATASETS = ("image_folder", "npz")
SHORTEST_SIDE_FOR_CORRUPTION = 21
SHORTEST_SIDE_FOR_SSIM = 11
SHORTEST_SIDE_FOR_DENSENET = 32
PATTERNS = "*?[]"
EXPORT_FORMATS = ("saved_model", "onnx", "tflite")


@dataclasses.dataclass(frozen=True)
class Config(*reversed(SECTIONS)):
  """All options of one run, flat; `Config(image_size=128, base_filters=64)`.

  Raises:
    UsageError: a value is out of its range or two values contradict each other;
      the message says what was expected and ends with what was received.
  """

  def __post_init__(self):
    for field in dataclasses.fields(self):
      _check_range(field, getattr(self, field.name))
    for wrong, expected, received in rules(self):
      if wrong:
        raise UsageError(f"{expected}. Received: {received}")

  @property
  def channels(self):
    """Channels of the images if `image_channels` leaves them to the dataset."""
    return self.image_channels or (1 if self.dataset in SYNTHETIC_DATASETS else 3)

  @property
  def is_pretraining(self):
    """Whether learning is without labels."""
    return self.train_mode == "pretrain"

  @property
  def encoder_blocks(self):
    """How many blocks the encoder has, for `fine_tune_after_block`."""
    return self.unet_depth if self.encoder == "unet" else 4

  @property
  def fractions(self):
    """`label_fractions` as floats; what can't be read is 0."""
    return tuple(_number(text) for text in self.label_fractions.split(",") if text.strip())

  @property
  def export_formats(self):
    """`export_format` as a tuple of names."""
    return tuple(text.strip() for text in self.export_format.split(",") if text.strip())

  @property
  def method(self):
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
  def training_fingerprint(self):
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
  def run_directory(self):
    """`model_dir`, or the default that is a function of `training_fingerprint`."""
    values = {
      name: value
      for name, value in self.training_fingerprint.items()
      if (name, value) != ("global_bn", True)
    }  # as on one device
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    name = self.dataset.replace("/", "_").replace(":", "_")
    return self.model_dir or f"runs/{name}-{self.method}-{digest.hexdigest()[:8]}"


def rules(config):
  """Yields (whether it is wrong, what is expected, what was received)."""
  stride = 2 ** (config.unet_depth - 1)
  unet, size = config.encoder == "unet", config.image_size
  layers = {"none": 0, "linear": 1, "nonlinear": config.num_proj_layers}[config.proj_head_mode]
  yield (
    unet and size % stride,
    f"image_size must be a multiple of {stride} for unet_depth={config.unet_depth}",
    size,
  )
  for applies, least, name in (
    (not unet, SHORTEST_SIDE_FOR_DENSENET, "encoder=densenet121"),
    (
      config.is_pretraining and config.corruption != "none",
      SHORTEST_SIDE_FOR_CORRUPTION,
      f"corruption={config.corruption}",
    ),
    (config.reconstruction_loss == "ssim", SHORTEST_SIDE_FOR_SSIM, "reconstruction_loss=ssim"),
  ):
    yield applies and size < least, f"image_size must be at least {least} for {name}", size
  yield (
    config.is_pretraining and not config.contrastive_weight and not config.reconstruction_weight,
    "contrastive_weight or reconstruction_weight must be positive",
    "0 and 0",
  )
  yield (
    unet and config.encoder_weights,
    "encoder_weights must be empty for encoder=unet",
    config.encoder_weights,
  )
  yield (
    not unet and config.is_pretraining and config.reconstruction_weight,
    "reconstruction_weight must be 0 for encoder=densenet121, which has no decoder",
    config.reconstruction_weight,
  )
  yield (
    config.fine_tune_after_block > config.encoder_blocks,
    f"fine_tune_after_block must be at most {config.encoder_blocks}, the encoder's blocks",
    config.fine_tune_after_block,
  )
  yield (
    config.ft_proj_selector > layers,
    f"ft_proj_selector must be at most {layers}, the layers of the projection head",
    config.ft_proj_selector,
  )
  yield config.folds == 1, "folds must be 0 or at least 2", config.folds
  yield (
    not all(0 < fraction <= 1 for fraction in config.fractions),
    "label_fractions must be numbers above 0 and up to 1, separated by commas",
    config.label_fractions,
  )
  yield (
    not all(
      re.fullmatch(r"\s*\d+(\.\d+%|%)?\s*", text) for text in config.max_bad_images.split(",")
    ),
    "max_bad_images must be numbers or shares such as 1%, separated by commas",
    config.max_bad_images,
  )
  learns = config.mode not in ("embed", "export")
  yield (
    config.labels == "none" and not config.is_pretraining and learns,
    "labels must be auto or folders for train_mode=finetune",
    config.labels,
  )
  yield (
    config.labels == "none" and config.lineareval_while_pretraining and learns,
    "labels must be auto or folders for lineareval_while_pretraining",
    config.labels,
  )
  yield (
    config.eval_dataset and not config.is_pretraining,
    "eval_dataset must be empty for train_mode=finetune",
    config.eval_dataset,
  )
  yield (
    config.checkpoint and config.is_pretraining and config.mode in ("train", "train_then_eval"),
    "checkpoint must be empty for pre-training; it is for train_mode=finetune and "
    "mode=eval, embed or export",
    config.checkpoint,
  )
  for name in ("model_dir", "checkpoint"):
    path = getattr(config, name)
    yield (
      set(path) & set(PATTERNS),
      f"{name} must not contain any of {' '.join(PATTERNS)}, which TensorFlow takes for patterns",
      path,
    )
  yield (
    not set(config.export_formats) <= set(EXPORT_FORMATS),
    f"export_format must be made of {', '.join(EXPORT_FORMATS)}",
    config.export_format,
  )
  yield from device_rules(config)


def _number(text):
  """A text as a float; 0 if it is none."""
  try:
    return float(text)
  except ValueError:
    return 0.0


def _check_range(field, value):
  """Raises UsageError unless `value` has the type and lies in the range of `field`."""
  rules, wanted = field.metadata, field.type
  if wanted is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  expected = None
  if type(value) is not wanted:
    expected = f"of type {wanted.__name__}"
  elif rules["choices"] is not None and value not in rules["choices"]:
    expected = "one of " + ", ".join(str(choice) for choice in rules["choices"])
  elif rules["low"] is not None and not value >= rules["low"]:
    expected = f"at least {rules['low']}"
  elif rules["high"] is not None and not value <= rules["high"]:
    expected = f"at most {rules['high']}"
  elif rules["above"] is not None and not value > rules["above"]:
    expected = f"above {rules['above']}"
  elif rules["below"] is not None and not value < rules["below"]:
    expected = f"below {rules['below']}"
  elif value in (float("inf"), float("-inf")):
    expected = "finite"
  if expected:
    raise UsageError(f"{field.name} must be {expected}. Received: {value!r}")
