"""Every knob once: its name, default, range and one-line explanation.

`Config` is flat and frozen. Its fields come from the sections below, one per
group of `--help`; each field is one command-line flag of the same name (see
`conrec_tf.cli`). Names and meanings follow SimCLR's TensorFlow 2 code where it
has them. Method defaults are the paper's; scale defaults (image size, filters,
epochs) let the bare command finish in minutes on two CPU cores.
"""

import dataclasses
import hashlib
import json

SYNTHETIC_DATASETS = ("rectangle_triangle",)


class UsageError(ValueError):
  """A problem that the user can solve; its message is one line and ends with what was received."""


def knob(default, help, *, choices=None, low=None, high=None, above=None, below=None,
         changes_training=True):
  """A dataclass field that carries its own explanation and range.

  Args:
    default: the default; its type is the field's type.
    help: one line for `--help`.
    choices: the allowed values, for an enumeration.
    low, high: inclusive bounds.
    above, below: exclusive bounds.
    changes_training: whether another value leads to other trained weights.
  """
  return dataclasses.field(default=default, metadata=dict(
      help=help, choices=choices, low=low, high=high, above=above, below=below,
      changes_training=changes_training))


@dataclasses.dataclass(frozen=True)
class Task:
  """What to do, and where the results go."""

  mode: str = knob(
      "train_then_eval", "What to do: train only, or train, evaluate and export.",
      choices=("train", "train_then_eval"), changes_training=False)
  model_dir: str = knob(
      "", "Where the run lives: checkpoints, logs, results. The same command continues "
      "it. Empty: runs/<dataset>-<method>-<hash of what determines training>.",
      changes_training=False)
  seed: int = knob(0, "Determines initial weights, order of images, augmentation and "
                   "dropout.", low=0, high=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Data:
  """Images."""

  dataset: str = knob("rectangle_triangle", "A TensorFlow Datasets name with image and "
                      "label, or rectangle_triangle, which is drawn locally.")
  data_dir: str = knob("", "Folder of prepared TFDS data. Empty: TFDS's own default, "
                       "~/tensorflow_datasets.", changes_training=False)
  train_split: str = knob("train", "Split to learn from, e.g. train+validation or "
                          "train[:10%].")
  eval_split: str = knob("test", "Split to measure linear accuracy on.",
                         changes_training=False)
  image_size: int = knob(64, "Height and width that the network works at, in pixels. "
                         "Paper: 128 synthetic, 224 otherwise.", low=8)
  image_channels: int = knob(0, "1 converts images to grey, 3 to RGB; 0 keeps what the "
                             "dataset holds.", choices=(0, 1, 3))


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Stage 1 (views, as SimCLR) and stage 2 (corruption, as Models Genesis)."""

  color_jitter_strength: float = knob(
      1.0, "Strength of brightness, contrast, saturation and hue jitter.", low=0.0, high=1.25)
  use_blur: bool = knob(True, "Blur half of the RGB views.")
  corruption: str = knob(
      "models_genesis", "What the network must undo: pixel shuffling, in-painting, "
      "out-painting (and intensity maps for one channel), or none.",
      choices=("models_genesis", "none"))


@dataclasses.dataclass(frozen=True)
class Model:
  """U-net, pooling and projection head."""

  base_filters: int = knob(16, "Filters of the first level; doubled at each level. "
                           "Paper: 64.", low=1)
  unet_depth: int = knob(4, "Levels of the U-net.", low=2, high=8)
  pooling: str = knob("attention", "How features become an embedding: attention-weighted "
                      "(paper, Eq. 4) or average.", choices=("attention", "average"))
  attention_dropout: float = knob(0.5, "Dropout on the input of the attention gate.",
                                  low=0.0, below=1.0)
  proj_head_mode: str = knob("nonlinear", "Projection head.",
                             choices=("none", "linear", "nonlinear"))
  num_proj_layers: int = knob(3, "Dense layers of a nonlinear projection head.", low=1)
  proj_out_dim: int = knob(128, "Width of the projection.", low=1)
  batch_norm_decay: float = knob(0.9, "Momentum of the moving statistics of batch norm.",
                                 low=0.0, below=1.0)


@dataclasses.dataclass(frozen=True)
class Objective:
  """Loss = contrastive_weight * NT-Xent + reconstruction_weight * reconstruction."""

  contrastive_weight: float = knob(1.0, "Weight of NT-Xent; 0 builds no projection head.",
                                   low=0.0)
  reconstruction_weight: float = knob(100.0, "Weight of the reconstruction loss (the "
                                      "paper's alpha); 0 builds no decoder.", low=0.0)
  reconstruction_loss: str = knob("mse", "Per-pixel squared error, Huber loss, or 1 - SSIM.",
                                  choices=("mse", "huber", "ssim"))
  temperature: float = knob(0.5, "Temperature of NT-Xent.", above=0.0)
  hidden_norm: bool = knob(True, "Normalise projections to unit length before NT-Xent.")


@dataclasses.dataclass(frozen=True)
class Optimization:
  """How long, how fast."""

  train_batch_size: int = knob(16, "Images a step; each gives two views.", low=2)
  train_epochs: int = knob(30, "Passes over the training split. Paper: 1000 to 2700.", low=1)
  train_steps: int = knob(0, "Steps to train; if positive it overrides train_epochs.", low=0)
  learning_rate: float = knob(0.075, "Base learning rate, before scaling.", above=0.0)
  learning_rate_scaling: str = knob(
      "sqrt", "Learning rate = base * sqrt(batch), base * batch / 256, or base.",
      choices=("sqrt", "linear", "none"))
  momentum: float = knob(0.9, "Momentum of LARS.", low=0.0, below=1.0)
  weight_decay: float = knob(1e-4, "Weight decay; never on biases and batch norm.", low=0.0)


@dataclasses.dataclass(frozen=True)
class Bookkeeping:
  """When to log, save and evaluate."""

  log_steps: int = knob(10, "Steps between two rows of metrics.", low=1,
                        changes_training=False)
  checkpoint_epochs: int = knob(5, "Epochs between two checkpoints.", low=1,
                                changes_training=False)
  checkpoint_steps: int = knob(0, "Steps between two checkpoints; if positive it overrides "
                               "checkpoint_epochs.", low=0, changes_training=False)
  keep_checkpoint_max: int = knob(3, "Checkpoints to keep.", low=1, changes_training=False)
  eval_every_epochs: int = knob(20, "Epochs between two linear evaluations while training; "
                                "0: only before and after.", low=0, changes_training=False)
  eval_batch_size: int = knob(64, "Images a batch when embedding.", low=1,
                              changes_training=False)


SECTIONS = (Task, Data, Augmentation, Model, Objective, Optimization, Bookkeeping)
SHORTEST_SIDE_FOR_CORRUPTION = 21
SHORTEST_SIDE_FOR_SSIM = 11


@dataclasses.dataclass(frozen=True)
class Config(*reversed(SECTIONS)):
  """All knobs of one run, flat; `Config(image_size=128, base_filters=64)`.

  Raises:
    UsageError: a value is out of its range or two values contradict each other;
      the message says what was expected and ends with what was received.
  """

  def __post_init__(self):
    for field in dataclasses.fields(self):
      _check_range(field, getattr(self, field.name))
    stride = 2 ** (self.unet_depth - 1)
    if self.image_size % stride:
      raise UsageError(f"image_size must be a multiple of {stride} for unet_depth="
                       f"{self.unet_depth}. Received: {self.image_size}")
    if self.corruption != "none" and self.image_size < SHORTEST_SIDE_FOR_CORRUPTION:
      raise UsageError(f"image_size must be at least {SHORTEST_SIDE_FOR_CORRUPTION} for "
                       f"corruption={self.corruption}. Received: {self.image_size}")
    if self.reconstruction_loss == "ssim" and self.image_size < SHORTEST_SIDE_FOR_SSIM:
      raise UsageError(f"image_size must be at least {SHORTEST_SIDE_FOR_SSIM} for "
                       f"reconstruction_loss=ssim. Received: {self.image_size}")
    if not self.contrastive_weight and not self.reconstruction_weight:
      raise UsageError("contrastive_weight or reconstruction_weight must be positive. "
                       "Received: 0 and 0")

  @property
  def channels(self):
    """Channels of the images if `image_channels` leaves them to the dataset."""
    return self.image_channels or (1 if self.dataset in SYNTHETIC_DATASETS else 3)

  @property
  def method(self):
    """The name of the system that these values make (paper, Table 1)."""
    if not self.contrastive_weight:
      return "reconstruction"
    attention = self.pooling == "attention"
    if not self.reconstruction_weight:
      return "simclr_attention" if attention else "simclr"
    return "conrec" if attention else "conrec_ga_pool"

  @property
  def training_values(self):
    """`{name: value}` of what determines the weights after a given step.

    The number of steps isn't in it: at a constant learning rate a longer run
    begins with the shorter one.
    """
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)
            if field.metadata["changes_training"]
            and field.name not in ("train_epochs", "train_steps")}

  @property
  def run_directory(self):
    """`model_dir`, or the default that is a function of `training_values`."""
    digest = hashlib.sha256(json.dumps(self.training_values, sort_keys=True).encode())
    name = self.dataset.replace("/", "_").replace(":", "_")
    return self.model_dir or f"runs/{name}-{self.method}-{digest.hexdigest()[:8]}"


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
