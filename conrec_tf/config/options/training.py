"""Options of the network and how it is optimized."""

import re
from typing import NamedTuple

from conrec_tf.config.options.encoders import KERAS_BLOCKS, KERAS_ENCODERS, KERAS_STRIDE
from conrec_tf.config.options.option import option, section, setting


class SizePhase(NamedTuple):
  """A part of a training in which all batches are of one size.

  Attributes:
    last_step: the last step of it, counted from the beginning of the training.
    image_size: height and width of the images, pixels.
  """

  last_step: int
  image_size: int


SIZE_AND_SHARE = re.compile(r"(\d+)\s*:\s*(\d*\.?\d+(?:e-\d+)?)")


def _size_and_share(text: str) -> str:
  """Returns an item of `image_size_schedule` in its shortest form; what is none as it is."""
  found = SIZE_AND_SHARE.fullmatch(text)
  return f"{int(found[1])}:{float(found[2])}" if found else text


@section
class Model:
  """Encoder, pooling and heads."""

  encoder: str = option(
    "unet",
    "The network that embeds.",
    choices={
      "unet": "the paper's U-net",
      "densenet121": "Keras' DenseNet121, which has no decoder",
      **{name: f"Keras' {keras_name}" for name, keras_name in KERAS_ENCODERS.items()},
      "external": "somebody else's network, which such a checkpoint is by itself",
    },
    architecture=True,
  )
  external_scaling: str = option(
    "unit",
    "Values of the input of somebody else's network: the checkpoint, or the teacher.",
    choices={
      "unit": "0 to 1",
      "symmetric": "-1 to 1",
      "bytes": "0 to 255",
      "imagenet": "less ImageNet's mean, by its deviation",
    },
  )
  external_output: str = option(
    "",
    "Name of the output of somebody else's network that is taken. Empty: the first.",
  )
  encoder_weights: str = option(
    "",
    "Initial weights of an encoder of Keras: an .h5 file of Keras without top, or of densenet121 "
    "imagenet (from Keras' cache or download). Empty: random.",
    path=True,
  )
  base_filters: int = option(
    16,
    "Filters of the first level of the U-net, of other encoders its decoder; doubled at each "
    "level. Paper: 64.",
    low=1,
    architecture=True,
  )
  unet_depth: int = option(4, "Levels of the U-net.", low=2, high=8, architecture=True)
  pooling: str = option(
    "attention",
    "Pooling of features to an embedding.",
    choices={
      "attention": "by a mean that attention weighs (paper, Eq. 4)",
      "average": "by the mean",
    },
    architecture=True,
  )
  representation_levels: str = option(
    "all_with_deviations",
    "Levels of the encoder that make the representation that is evaluated, embedded, exported and "
    "finetuned.",
    choices={
      "last": "the last, pooled (the paper)",
      "all": "all, the shallower ones pooled by average and put beside it",
      "all_with_deviations": "these, and standard deviations over locations of all levels",
    },
    architecture=True,
  )
  skip_connections: str = option(
    "deep",
    "Skip connections of the decoder in pre-training. For segmentation it has all.",
    choices={
      "all": "all (the paper)",
      "deep": "the deepest alone",
      "none": "none, so that the features must carry everything",
    },
    architecture=True,
  )
  attention_dropout: float = option(
    0.5, "Dropout on the input of the attention gate.", low=0.0, below=1.0, architecture=True
  )
  proj_head_mode: str = option(
    "nonlinear",
    "Projection head.",
    choices={
      "none": "none: the embedding itself is compared",
      "linear": "one dense layer",
      "nonlinear": "num_proj_layers dense layers",
    },
    architecture=True,
  )
  num_proj_layers: int = option(
    3, "Dense layers of a nonlinear projection head.", low=1, architecture=True
  )
  proj_out_dim: int = option(128, "Width of the projection.", low=1, architecture=True)
  ft_proj_selector: int = option(
    0,
    "Layer that is evaluated and finetuned: 0 the representation, n the output of the n-th "
    "layer of the projection head, -1 of its last.",
    low=-1,
    architecture=True,
  )
  fine_tune_after_block: int = option(
    -1,
    "With train_mode=finetune or segment: -1 trains everything, n what comes after the n-th block "
    "of the encoder (0: after the stem, which the U-net and ConvNeXt don't have), and the number "
    "of blocks (unet_depth; 4 for other encoders) just the head, or decoder and head.",
    low=-1,
  )
  zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")
  global_bn: bool = option(
    True, "With several devices, batch norm over the whole batch instead of each device's share."
  )
  batch_norm_decay: float = option(
    0.9,
    "Momentum of the moving statistics of batch norm; within densenet121 it stays Keras' 0.99.",
    low=0.0,
    below=1.0,
    architecture=True,
  )

  @property
  def encoder_blocks(self) -> int:
    """Number of blocks of the encoder, for `fine_tune_after_block`."""
    return self.unet_depth if self.encoder == "unet" else KERAS_BLOCKS

  @property
  def decoder_levels(self) -> int:
    """Number of levels of the decoder, each of which doubles height and width."""
    return self.unet_depth - 1 if self.encoder == "unet" else KERAS_STRIDE.bit_length() - 1

  @property
  def can_decode(self) -> bool:
    """True where the encoder can have a decoder, with skip connections."""
    return self.encoder == "unet" or self.encoder in KERAS_ENCODERS


@section
class Optimization:
  """Length of training, batch size, optimizer and learning rate."""

  train_batch_size: int = option(
    16, "Images a step, on all devices together; each gives two views.", low=2
  )
  train_epochs: int = option(35, "Passes over the training split. Paper: 1000 to 2700.", low=1)
  train_steps: int = option(0, "Steps to train; if positive it overrides train_epochs.", low=0)
  image_size_schedule: tuple[str, ...] = option(
    ("auto",),
    "Sizes in pixels that training begins with, before image_size, and the share of the steps that "
    "each takes, e.g. 32:0.5,48:0.3, which saves time. Evaluations don't follow it. auto: half of "
    "image_size for half of the steps and three quarters for the next 0.3, each where it has 32 "
    "pixels; in pre-training with a learning rate that follows a cosine, else none. Empty: none.",
    before="",
    item=_size_and_share,
  )
  optimizer: str = option(
    "adamw",
    "Optimizer of the weights.",
    choices={
      "lars": "LARS (the paper, with learning_rate=0.075 and learning_rate_scaling=sqrt)",
      "momentum": "SGD with Nesterov momentum",
      "adam": "Adam, with weight decay through the loss",
      "adamw": "AdamW, with decoupled weight decay",
    },
  )
  learning_rate: float = option(
    0.001, "Base learning rate, before scaling. Paper: 0.075, for LARS.", above=0.0
  )
  learning_rate_scaling: str = option(
    "none",
    "Rule that the learning rate of a batch size follows.",
    choices={
      "sqrt": "base * sqrt(batch) (the paper)",
      "linear": "base * batch / 256",
      "none": "base",
    },
  )
  learning_rate_schedule: str = option(
    "cosine",
    "Learning rate after the warm-up.",
    choices={
      "constant": "a constant rate (the paper), with which a run can go on for longer",
      "cosine": "a cosine to 0",
    },
  )
  warmup_epochs: float = option(0.0, "Epochs of linear warm-up from 0.", low=0.0)
  momentum: float = option(0.9, "Momentum of LARS and SGD.", low=0.0, below=1.0)
  weight_decay: float = option(1e-4, "Weight decay; never on biases and batch norm.", low=0.0)
  moving_average_decay: float = option(
    0.0,
    "Decay of a moving average of the weights over steps, which is then what is evaluated, "
    "embedded and exported; 0: the weights themselves.",
    low=0.0,
    below=1.0,
  )
  mixed_precision: str = option(
    "auto",
    "Precision that the network computes in; weights and losses stay float32.",
    choices={
      "float32": "float32",
      "mixed_bfloat16": "bfloat16",
      "mixed_float16": "float16, with a scaled loss",
      "auto": (
        "bfloat16 on processors that are fast in it, else float32; for a run what it was when "
        "that began"
      ),
    },
  )
  gradient_checkpointing: bool = setting(
    False,
    "Compute the U-net's inner maps again for the gradient: slower, in "
    "less memory; for large images.",
  )
  deterministic: bool = option(False, "The same bits in each run on a GPU too; slower there.")
  jit_compile: bool = option(
    False, "Let XLA compile the training step on a GPU; elsewhere it isn't."
  )
