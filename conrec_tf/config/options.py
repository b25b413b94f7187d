"""Every option once: its name, default, range and one-line explanation.

The sections are the groups of `--help`; each field is one command-line flag of the
same name. Names and meanings follow SimCLR's TensorFlow 2 code where it has them.
Defaults are a recipe that learns in minutes on two CPU cores, with small images, few filters and
few epochs; the paper's values stand in full in its presets.
"""

import dataclasses
from typing import Any

from conrec_tf.config.option import option


@dataclasses.dataclass(frozen=True)
class Task:
  """What to do, and where the results go."""

  mode: str = option(
    "train_then_eval",
    "What to do: train; train, evaluate and export; evaluate the "
    "checkpoints of model_dir, following a running training until its last step (or evaluate "
    "--checkpoint); draw what the run in model_dir learned; embed all images of the two splits; "
    "export a trained network; or decode all images once and tell what they are.",
    choices=("train", "train_then_eval", "eval", "report", "embed", "export", "check_data"),
    changes_training=False,
  )
  train_mode: str = option(
    "pretrain",
    "Learn without labels, or learn a supervised head: on a frozen or trainable "
    "network from --checkpoint, or from scratch.",
    choices=("pretrain", "finetune"),
  )
  model_dir: str = option(
    "",
    "Where the run lives: checkpoints, logs, results. The same command continues "
    "it. Empty: runs/<dataset>-<method>-<hash of what determines training>.",
    changes_training=False,
    path=True,
  )
  checkpoint: str = option(
    "",
    "Network to finetune, evaluate, embed with or export: a model_dir (its last checkpoint), "
    "the prefix of a checkpoint, an exported SavedModel, or an HDF5 file of the authors' "
    "implementation. Flags that describe the network are its own unless given. Empty: finetune "
    "from scratch, else model_dir's network.",
    path=True,
  )
  report: bool = option(
    True,
    "Draw what is learned: images for TensorBoard at evaluations, and at the end of "
    "train_then_eval model_dir/report.",
    changes_training=False,
  )
  compare_with: str = option(
    "",
    "Other runs on the same dataset for the report's curves and tables: their model_dirs, "
    "separated by commas.",
    changes_training=False,
    path=True,
  )
  seed: int = option(
    0,
    "Determines initial weights, order of images, augmentation and dropout.",
    low=0,
    high=2**31 - 1,
  )


@dataclasses.dataclass(frozen=True)
class Data:
  """Images."""

  dataset: str = option(
    "rectangle_triangle",
    "image_folder, npz, or a TensorFlow Datasets name "
    "(rectangle_triangle and circles_square are drawn locally).",
  )
  data_dir: str = option(
    "",
    "The folder of images, the .npz file (x_train, y_train, x_test, y_test), or the folder "
    "of prepared TFDS data (empty: ~/tensorflow_datasets).",
    changes_training=False,
    path=True,
  )
  label_mode: str = option(
    "auto",
    "Labels of an image folder: its folders (split/label/file or label/file), none "
    "(images lie anywhere; other datasets' labels go unused), or auto, none for a flat folder.",
    choices=("auto", "folders", "none"),
    renamed_from="labels",
  )
  train_split: str = option("train", "Split to learn from, e.g. train+validation or train[:10%].")
  eval_split: str = option("test", "Split to measure linear accuracy on.", changes_training=False)
  eval_dataset: str = option(
    "",
    "Labelled dataset for linear evaluation, in place of the one that is learnt from.",
    changes_training=False,
  )
  eval_data_dir: str = option(
    "", "Its data_dir. Empty: the same as data_dir.", changes_training=False, path=True
  )
  eval_train_split: str = option(
    "train", "The split of eval_dataset that the classifier learns from.", changes_training=False
  )
  eval_test_split: str = option(
    "",
    "The split of eval_dataset that the classifier is measured on. Empty: eval_split, which is "
    "that of the data that is learnt from.",
    changes_training=False,
  )
  eval_crop: str = option(
    "auto",
    "What evaluation and exports take of an image before they resize it: its central 87.5 %, all "
    "of it, or auto: the centre where sizes differ in the data that the network is first "
    "evaluated on. A trained network keeps that, whatever images it sees later.",
    choices=("auto", "center", "none"),
    changes_training=False,
  )
  cache_dataset: bool = option(
    False, "Keep encoded images in memory, for slow disks; the size is told beforehand."
  )
  max_undecodable: str = option(
    "10,1%",
    "How many images of a folder may fail to decode (the next good one stands in): a "
    "number, a share, or the larger of several.",
    changes_training=False,
    renamed_from="max_bad_images",
  )
  image_size: int = option(
    64,
    "Height and width that the network works at, in pixels. Paper: 128 synthetic, 224 otherwise.",
    low=8,
    architecture=True,
  )
  ordinal_labels: bool = option(
    False,
    "Whether classes are grades: cumulative-bit classifiers and quadratic weighted "
    "kappa instead of accuracy.",
  )
  image_channels: int = option(
    0,
    "1 converts images to grey, 3 to RGB; 0 keeps what the dataset holds.",
    choices=(0, 1, 3),
    architecture=True,
  )


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Stage 1 (views, as SimCLR) and stage 2 (corruption, as Models Genesis)."""

  color_jitter_strength: float = option(
    1.0, "Strength of brightness, contrast, saturation and hue jitter.", low=0.0, high=1.25
  )
  color_jitter_probability: float = option(
    0.8,
    "Share of RGB views with colour jitter; one channel is always jittered.",
    low=0.0,
    high=1.0,
    previously=0.8,
  )
  brightness_jitter: float = option(
    0.8,
    "Largest change of brightness, as a share of it, at strength 1.",
    low=0.0,
    high=1.0,
    previously=0.8,
  )
  contrast_jitter: float = option(
    0.8,
    "Largest change of contrast, as a share of it, at strength 1.",
    low=0.0,
    high=1.0,
    previously=0.8,
  )
  saturation_jitter: float = option(
    0.8,
    "Largest change of saturation, as a share of it, at strength 1.",
    low=0.0,
    high=1.0,
    previously=0.8,
  )
  hue_jitter: float = option(
    0.2,
    "Largest turn of the hue, as a share of the colour circle, at strength 1.",
    low=0.0,
    high=0.5,
    previously=0.2,
  )
  grey_probability: float = option(
    0.2,
    "Share of RGB views without colour.",
    low=0.0,
    high=1.0,
    previously=0.2,
  )
  use_blur: bool = option(True, "Blur RGB views, a share of blur_probability.")
  blur_probability: float = option(
    0.5,
    "Share of RGB views that are blurred.",
    low=0.0,
    high=1.0,
    previously=0.5,
  )
  crop_min_area: float = option(
    0.3,
    "Smallest share of an image's area that a view shows; the largest is all of it. Paper: 0.08.",
    above=0.0,
    high=1.0,
    previously=0.08,
  )
  random_flip: str = option(
    "horizontal",
    "In which directions views are mirrored, half of them each; both suits images without a "
    "natural upright, as retinas and histology.",
    choices=("none", "horizontal", "horizontal_and_vertical"),
    previously="horizontal",
  )
  random_rotation: float = option(
    0.0,
    "Largest angle, in degrees and either direction, that views are turned by; the border is "
    "filled by reflection.",
    low=0.0,
    high=180.0,
    previously=0.0,
  )
  supervised_augmentation: str = option(
    "crop",
    "With train_mode=finetune: random crop and left-right flip, or zoom by 0.85 to "
    "1.15 and flips in both directions; never colour.",
    choices=("crop", "zoom"),
  )
  corruption: str = option(
    "models_genesis",
    "What the network must undo: pixel shuffling, in-painting, "
    "out-painting (and intensity maps for one channel), or none.",
    choices=("models_genesis", "none"),
    architecture=True,
  )


@dataclasses.dataclass(frozen=True)
class Model:
  """Encoder, pooling and heads."""

  encoder: str = option(
    "unet",
    "The paper's U-net, or Keras' DenseNet121 (which has no decoder).",
    choices=("unet", "densenet121"),
    architecture=True,
  )
  encoder_weights: str = option(
    "",
    "Initial weights of densenet121: imagenet (from Keras' cache or download) or an .h5 "
    "file of Keras without top. Empty: random.",
    path=True,
  )
  base_filters: int = option(
    16, "Filters of the first level; doubled at each level. Paper: 64.", low=1, architecture=True
  )
  unet_depth: int = option(4, "Levels of the U-net.", low=2, high=8, architecture=True)
  pooling: str = option(
    "attention",
    "How features become an embedding: attention-weighted (paper, Eq. 4) or average.",
    choices=("attention", "average"),
    architecture=True,
  )
  representation_levels: str = option(
    "all",
    "Which levels of the encoder make the representation that is evaluated, embedded, exported "
    "and finetuned: the last, pooled (the paper), or all, the shallower ones pooled by average "
    "and put beside it.",
    choices=("last", "all"),
    architecture=True,
    previously="last",
  )
  skip_connections: str = option(
    "all",
    "Which skip connections the decoder has in pre-training: all (the paper), deep, the deepest "
    "alone, or none, so that the features must carry everything.",
    choices=("all", "deep", "none"),
    architecture=True,
    previously="all",
  )
  attention_dropout: float = option(
    0.5, "Dropout on the input of the attention gate.", low=0.0, below=1.0, architecture=True
  )
  proj_head_mode: str = option(
    "nonlinear", "Projection head.", choices=("none", "linear", "nonlinear"), architecture=True
  )
  num_proj_layers: int = option(
    3, "Dense layers of a nonlinear projection head.", low=1, architecture=True
  )
  proj_out_dim: int = option(128, "Width of the projection.", low=1, architecture=True)
  ft_proj_selector: int = option(
    0,
    "What is evaluated and finetuned: 0 the representation, n the output of the n-th "
    "layer of the projection head, -1 of its last.",
    low=-1,
    architecture=True,
  )
  fine_tune_after_block: int = option(
    -1,
    "With train_mode=finetune: -1 trains everything, n what comes after the n-th block "
    "of the encoder, and the number of blocks (unet_depth; 4 for densenet121) just the head.",
    low=-1,
  )
  zero_init_logits_layer: bool = option(False, "Start the supervised head from zeros.")
  global_bn: bool = option(
    True, "With several devices, batch norm over the whole batch instead of each device's share."
  )
  batch_norm_decay: float = option(
    0.9, "Momentum of the moving statistics of batch norm.", low=0.0, below=1.0, architecture=True
  )


@dataclasses.dataclass(frozen=True)
class Objective:
  """Loss = contrastive_weight * NT-Xent + reconstruction_weight * reconstruction."""

  contrastive_weight: float = option(
    1.0, "Weight of the contrastive loss; 0 builds no projection head.", low=0.0, architecture=True
  )
  contrastive_method: str = option(
    "nt_xent",
    "The contrastive loss: NT-Xent (the paper), or decoupled (arXiv 2110.06848), which leaves the "
    "pair itself out of the denominator, so that gradients don't vanish in small batches.",
    choices=("nt_xent", "decoupled"),
    previously="nt_xent",
  )
  contrastive_inputs: str = option(
    "corrupted",
    "What the contrastive loss compares: the corrupted views (the paper), or the clean ones, which "
    "the encoder then sees beside them, at a third more time.",
    choices=("corrupted", "clean"),
    previously="corrupted",
  )
  reconstruction_weight: float = option(
    100.0,
    "Weight of the reconstruction loss (the paper's alpha); 0 builds no decoder.",
    low=0.0,
    architecture=True,
  )
  reconstruction_loss: str = option(
    "mse", "Per-pixel squared error, Huber loss, or 1 - SSIM.", choices=("mse", "huber", "ssim")
  )
  temperature: float = option(0.5, "Temperature of the contrastive loss.", above=0.0)
  lineareval_while_pretraining: bool = option(
    False, "Train a supervised head beside pre-training; no gradient reaches the network."
  )
  hidden_norm: bool = option(True, "Normalise projections to unit length before NT-Xent.")


@dataclasses.dataclass(frozen=True)
class Optimization:
  """How long, how fast."""

  train_batch_size: int = option(
    16, "Images a step, on all devices together; each gives two views.", low=2
  )
  train_epochs: int = option(20, "Passes over the training split. Paper: 1000 to 2700.", low=1)
  train_steps: int = option(0, "Steps to train; if positive it overrides train_epochs.", low=0)
  optimizer: str = option(
    "adamw",
    "LARS (the paper, with learning_rate=0.075 and learning_rate_scaling=sqrt), SGD with Nesterov "
    "momentum, Adam (weight decay through the loss), or AdamW (decoupled).",
    choices=("lars", "momentum", "adam", "adamw"),
  )
  learning_rate: float = option(
    0.001, "Base learning rate, before scaling. Paper: 0.075, for LARS.", above=0.0
  )
  learning_rate_scaling: str = option(
    "none",
    "Learning rate = base * sqrt(batch) (the paper), base * batch / 256, or base.",
    choices=("sqrt", "linear", "none"),
  )
  learning_rate_schedule: str = option(
    "cosine",
    "What follows the warm-up: a constant rate (the paper), with which a run can go on for longer, "
    "or a cosine to 0.",
    choices=("constant", "cosine"),
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
    previously=0.0,
  )
  mixed_precision: str = option(
    "float32",
    "What the network computes in; weights and losses stay float32. auto: "
    "mixed_bfloat16 where the GPU or processor is fast in it.",
    choices=("float32", "mixed_bfloat16", "mixed_float16", "auto"),
  )
  gradient_checkpointing: bool = option(
    False,
    "Compute the U-net's inner maps again for the gradient: slower, in "
    "less memory; for large images.",
    changes_training=False,
    renamed_from="recompute",
  )
  deterministic: bool = option(False, "The same bits in each run on a GPU too; slower there.")
  jit_compile: bool = option(False, "Let XLA compile the training step; needs a GPU.")


@dataclasses.dataclass(frozen=True)
class Devices:
  """What computes; the weights are the same on any, up to rounding."""

  strategy: str = option(
    "one_device",
    "The first GPU, or the CPU without one; several GPUs of this machine "
    "(mirrored); those of several machines (multi_worker_mirrored), by the same command on each "
    "with TF_CONFIG as TensorFlow documents it; or a TPU.",
    choices=("one_device", "mirrored", "multi_worker_mirrored", "tpu"),
    changes_training=False,
  )
  devices: str = option(
    "",
    "Which GPUs, e.g. 0,1, for one_device and mirrored. Empty: the first, or all.",
    changes_training=False,
  )
  tpu_name: str = option(
    "", "Name or address of the TPU; local on a TPU's own machine.", changes_training=False
  )
  tpu_zone: str = option(
    "", "Zone of the TPU, where it isn't this machine's.", changes_training=False
  )
  gcp_project: str = option(
    "", "Project of the TPU, where it isn't this machine's.", changes_training=False
  )


@dataclasses.dataclass(frozen=True)
class Bookkeeping:
  """When to log, save and evaluate."""

  log_steps: int = option(10, "Steps between two rows of metrics.", low=1, changes_training=False)
  checkpoint_epochs: int = option(
    5, "Epochs between two checkpoints.", low=1, changes_training=False
  )
  checkpoint_steps: int = option(
    0,
    "Steps between two checkpoints; if positive it overrides checkpoint_epochs.",
    low=0,
    changes_training=False,
  )
  keep_checkpoint_max: int = option(3, "Checkpoints to keep.", low=1, changes_training=False)
  keep_checkpoint_every_epochs: int = option(
    0,
    "Epochs between two checkpoints that are kept for good; 0: none.",
    low=0,
    changes_training=False,
  )
  on_nan: str = option(
    "stop",
    "When a loss or gradient isn't finite: stop, or skip such steps and count them.",
    choices=("stop", "skip"),
    changes_training=False,
  )


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Linear evaluation: a classifier on frozen embeddings."""

  eval_every_epochs: int = option(
    20,
    "Epochs between two evaluations while training; 0: only before and after.",
    low=0,
    changes_training=False,
  )
  standardize_embeddings: bool = option(
    True,
    "Whether the number that counts, which also selects the best network, is that of embeddings "
    "scaled to mean 0 and variance 1; the paper's is of raw ones. Both are measured.",
    changes_training=False,
    previously=False,
  )
  eval_batch_size: int = option(64, "Images a batch when embedding.", low=1, changes_training=False)
  select_best_on: str = option(
    "evaluation",
    "What the best checkpoint is chosen by: the evaluation split, as the paper "
    "does, or a fifth of the training labels, held out.",
    choices=("evaluation", "validation"),
    changes_training=False,
    renamed_from="select_on",
  )
  label_fractions: str = option(
    "",
    "Shares of the training labels to learn from at the end, e.g. 0.01,0.1,0.25,0.5,1.0. "
    "Empty: none.",
    changes_training=False,
  )
  num_repeats: int = option(
    5,
    "Random subsets for each label fraction; with cv_folds, repetitions of finetuning.",
    low=1,
    changes_training=False,
    renamed_from="repetitions",
  )
  cv_folds: int = option(
    0,
    "Cross-validate the classifier within train_split, in place of eval_split; 0: don't.",
    low=0,
    changes_training=False,
    renamed_from="folds",
  )


@dataclasses.dataclass(frozen=True)
class Export:
  """The trained network for use elsewhere."""

  export_format: str = option(
    "saved_model",
    "Formats to write, separated by commas: saved_model, onnx (needs "
    "requirements-onnx.txt), tflite (float32, and dynamic-range quantised). Empty: none.",
    changes_training=False,
  )
  export_checkpoint: str = option(
    "last",
    "What to export from, and embed with, of a model_dir: its last checkpoint or the "
    "one with the best evaluation.",
    choices=("last", "best"),
    changes_training=False,
  )
  keep_hub_module_max: int = option(
    1, "SavedModels to keep in model_dir; 0: all.", low=0, changes_training=False
  )


SECTIONS = (
  Task,
  Data,
  Augmentation,
  Model,
  Objective,
  Optimization,
  Devices,
  Bookkeeping,
  Evaluation,
  Export,
)
OPTIONS = {field.name: field for section in SECTIONS for field in dataclasses.fields(section)}
RENAMED = {
  field.metadata["renamed_from"]: name
  for name, field in OPTIONS.items()
  if field.metadata["renamed_from"]
}
PREVIOUSLY = {
  name: field.metadata["previously"]
  for name, field in OPTIONS.items()
  if field.metadata["previously"] is not None
}
ARCHITECTURE_OPTIONS = tuple(
  name for name, field in OPTIONS.items() if field.metadata["architecture"]
)


def current_settings(settings: dict[str, Any]) -> dict[str, Any]:
  """Returns the settings of a run of any version as this version keeps them.

  Options have the names of now, and those that the run's version lacked have the values that stand
  for what it did. Of no settings nothing is known.
  """
  named = {RENAMED.get(name, name): value for name, value in settings.items()}
  return {**PREVIOUSLY, **named} if named else {}
