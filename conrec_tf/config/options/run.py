"""Options of what is done with a network: the task, devices, bookkeeping, evaluation, export."""

from conrec_tf.config.options.option import option, section, setting


@section
class Task:
  """The command, and where its results go."""

  mode: str = setting(
    "train_then_eval",
    "The command.",
    choices={
      "train": "train",
      "train_then_eval": "train, evaluate and export",
      "eval": (
        "evaluate the checkpoints of model_dir, following a running training until its last step, "
        "or evaluate --checkpoint"
      ),
      "report": "draw what the run in model_dir learned",
      "verdict": (
        "tell whether the run in model_dir was worth it, against its untrained network, "
        "compare_with, and a supervised training of as many steps"
      ),
      "embed": "embed all images of the two splits",
      "explore": (
        "draw a page of the embedded images: a map, what lies near, what is odd, what to label next"
      ),
      "predict": (
        "tell the class of all images of the two splits, or of all in data_dir where that is given"
      ),
      "segment": "segment all images of a folder, with a network of train_mode=segment",
      "export": "export a trained network",
      "check_data": "decode all images once and tell what they are",
    },
  )
  train_mode: str = option(
    "pretrain",
    "Task that the network is trained for.",
    choices={
      "pretrain": "without labels",
      "finetune": (
        "a supervised head, on a frozen or trainable network from --checkpoint or from scratch"
      ),
      "segment": (
        "to segment, from masks, with encoder and decoder from --checkpoint or from scratch"
      ),
    },
  )
  model_dir: str = setting(
    "",
    "Where the run lives: checkpoints, logs, results. The same command continues "
    "it. Empty: runs/<dataset>-<method>-<hash of what determines training>.",
    path=True,
  )
  checkpoint: str = option(
    "",
    "Network to pre-train from, finetune, evaluate, embed or predict with or export: a "
    "model_dir (its last checkpoint), the prefix of a checkpoint, an exported SavedModel, an "
    "HDF5 file of the authors' implementation, or, to evaluate or embed with, anybody's "
    "SavedModel or ONNX file that maps images to vectors. Flags that describe the network are "
    "its own unless given. Empty: train from scratch, else model_dir's network.",
    path=True,
  )
  report: bool = setting(
    True,
    "Draw what is learned: images for TensorBoard at evaluations, and at the end of "
    "train_then_eval model_dir/report.",
  )
  compare_with: tuple[str, ...] = setting(
    (),
    "Other runs on the same dataset for the report's curves and tables: their model_dirs, "
    "separated by commas. For mode=verdict networks too, of whatever checkpoint takes.",
    path=True,
  )
  seed: int = option(
    0,
    "Determines initial weights, order of images, augmentation and dropout.",
    low=0,
    high=2**31 - 1,
  )
  seeds: tuple[int, ...] = setting(
    (),
    "Several seeds, separated by commas, for mode=train_then_eval: each has its training in "
    "model_dir/seed_<n>, and result.json gives mean and standard deviation. Empty: seed.",
    low=0,
  )

  @property
  def is_pretraining(self) -> bool:
    """True where the network learns without labels."""
    return self.train_mode == "pretrain"

  @property
  def trains(self) -> bool:
    """True for commands that train."""
    return self.mode in ("train", "train_then_eval")

  @property
  def learns_or_measures(self) -> bool:
    """True for commands by which a network or a classifier learns, or is measured anew."""
    return self.trains or self.mode in ("eval", "verdict")

  @property
  def opens_training_data(self) -> bool:
    """True for commands on the data that training learns from; others take images alone."""
    return self.mode not in ("embed", "explore", "predict", "segment", "export")

  @property
  def is_finetuning(self) -> bool:
    """True where the network learns from labels of images."""
    return self.train_mode == "finetune"

  @property
  def is_segmenting(self) -> bool:
    """True where the network learns from masks."""
    return self.train_mode == "segment"


@section
class Devices:
  """Devices that compute; the weights are the same on any, up to rounding."""

  strategy: str = setting(
    "one_device",
    "On what the network is trained.",
    choices={
      "one_device": "the first GPU, or the CPU without one",
      "mirrored": "several GPUs of this machine",
      "multi_worker_mirrored": (
        "those of several machines, by the same command on each with TF_CONFIG as TensorFlow "
        "documents it"
      ),
    },
  )
  devices: tuple[int, ...] = setting(
    (), "Numbers of GPUs, e.g. 0,1, for one_device and mirrored. Empty: the first, or all.", low=0
  )


@section
class Bookkeeping:
  """When to log, save and evaluate."""

  log_steps: int = setting(10, "Steps between two rows of metrics.", low=1)
  tracker: tuple[str, ...] = setting(
    (),
    "Services that get the rows of metrics, the settings, the report and the exports of a training "
    "too, separated by commas; their environment variables say where they are. Empty: none.",
    choices={
      "mlflow": "MLflow, which needs requirements-tracking.txt",
      "wandb": "Weights & Biases, likewise",
    },
    before="",
  )
  checkpoint_epochs: int = setting(5, "Epochs between two checkpoints.", low=1)
  checkpoint_steps: int = setting(
    0, "Steps between two checkpoints; if positive it overrides checkpoint_epochs.", low=0
  )
  keep_checkpoint_max: int = setting(3, "Checkpoints to keep.", low=1)
  keep_checkpoint_every_epochs: int = setting(
    0, "Epochs between two checkpoints that are kept for good; 0: none.", low=0
  )
  log_gradient_conflict: bool = setting(
    False,
    "Log the cosine between the gradients of the contrastive and the reconstruction loss, in the "
    "whole encoder and in each of its levels: below 0 they disagree. A step that is logged takes "
    "nearly twice as long.",
    before=False,
  )
  on_nan: str = setting(
    "stop",
    "Response to a step whose loss or gradient isn't finite.",
    choices={
      "stop": "the training stops",
      "skip": "the step is left out, and counted",
      "explain": (
        "the training stops, and its steps since this start are taken again to say what wasn't "
        "finite first: the batch, a weight, or what an operation gave"
      ),
    },
  )

  @property
  def skips_non_finite(self) -> bool:
    """True where a step that isn't finite is left out."""
    return self.on_nan == "skip"

  @property
  def conflict_interval(self) -> int:
    """Steps between two comparisons of the losses' gradients; 0: none."""
    return self.log_steps if self.log_gradient_conflict else 0


@section
class Evaluation:
  """Linear evaluation: a classifier on frozen embeddings."""

  eval_every_epochs: int = setting(
    20, "Epochs between two evaluations while training; 0: only before and after.", low=0
  )
  standardize_embeddings: bool = setting(
    True,
    "Makes the number of embeddings scaled to mean 0 and variance 1 the one that counts, which "
    "also selects the best network; the paper's is of raw ones. Both are measured.",
  )
  eval_image_size: int = setting(
    0,
    "Height and width of images where a network is evaluated, embedded and exported, in pixels; 0: "
    "image_size.",
    low=0,
    architecture=True,
    before=0,
  )
  eval_crops: int = setting(
    1,
    "Crops of each image whose mean embedding is evaluated and written by mode=embed. Exports take "
    "images as they are.",
    choices={
      1: "the image alone",
      2: "and its mirror image",
      10: "and its four corners of 87.5 % of height and width, at the same size, each mirrored too",
    },
    architecture=True,
    before=1,
  )
  eval_batch_size: int = setting(64, "Images a batch when embedding.", low=1)
  select_best_on: str = setting(
    "evaluation",
    "Number that the best checkpoint is chosen by.",
    choices={
      "evaluation": "the evaluation split, as the paper does",
      "validation": "a fifth of the training labels, held out",
      "rank_me": "RankMe of the embeddings, without labels",
      "effective_rank": "their effective rank, without labels",
      "alignment": "how near the two views of an image lie, without labels",
      "uniformity": "how evenly embeddings fill the sphere, without labels",
    },
  )
  label_fractions: tuple[float, ...] = setting(
    (),
    "Shares of the training labels to learn from at the end, e.g. 0.01,0.1,0.25,0.5,1.0. "
    "Empty: none; for mode=verdict 0.01,0.1. There all labels are measured too.",
    above=0.0,
    high=1.0,
  )
  few_shots: tuple[int, ...] = setting(
    (),
    "Images of each class to make prototypes of at the end, e.g. 1,2,4,8,16. Empty: none; for "
    "mode=verdict 1,2,4,8,16.",
    low=1,
  )
  num_repeats: int = setting(
    5,
    "Random subsets for each label fraction and number of shots; with cv_folds, repetitions of "
    "finetuning.",
    low=1,
  )
  bootstrap_samples: int = setting(
    1000,
    "Resamples of the measured images, or of their groups, for the 95 % intervals of the last "
    "evaluation; 0: no intervals.",
    low=0,
  )
  knn_neighbours: int = setting(20, "Nearest neighbours that vote.", low=1)
  knn_temperature: float = setting(
    0.0,
    "Temperature of the votes, e.g. 0.07: each weighs exp(cosine / temperature). 0: all "
    "weigh the same.",
    low=0.0,
  )
  sweep_representations: bool = setting(
    False,
    "At the end, evaluate every layer, raw and standardised, with the regularisation that a fifth "
    "of the training labels, held out, chooses.",
  )
  verdict_margin: float = setting(
    1.0,
    "Points by which a run must be above what it is compared with, for mode=verdict to call it "
    "worth it.",
    low=0.0,
    below=100.0,
    before=1.0,
  )
  verdict_supervised: bool = setting(
    True,
    "For mode=verdict, train a supervised network too, from scratch, for as many steps as the run.",
    before=True,
  )
  cv_folds: int = setting(
    0, "Cross-validate the classifier within train_split, in place of eval_split; 0: don't.", low=0
  )
  cv_fold: str = option(
    "",
    "Finetune on all but one of the folds of train_split, and measure on that one: 0/5 is the "
    "first of five. cv_folds sets it for each of its trainings. Empty: eval_split.",
    before="",
  )

  @property
  def fold(self) -> tuple[int, int]:
    """`cv_fold` as the number of the fold, from 0, and how many there are; else 0 of 0."""
    number, _, count = self.cv_fold.partition("/")
    known = number.isdecimal() and count.isdecimal()
    return (int(number), int(count)) if known else (0, 0)


@section
class Export:
  """The trained network for use elsewhere."""

  export_format: tuple[str, ...] = setting(
    ("saved_model",),
    "Formats to write, separated by commas. Empty: none.",
    choices={
      "saved_model": "TensorFlow's SavedModel",
      "onnx": "ONNX, which needs requirements-onnx.txt",
      "tflite": "TensorFlow Lite, in float32 and dynamic-range quantised",
    },
  )
  export_checkpoint: str = setting(
    "last",
    "Checkpoint of a model_dir that is exported and that embeds.",
    choices={
      "last": "its last checkpoint",
      "best": "the one with the best evaluation",
    },
  )
  export_weights: str = setting(
    "trained",
    "Network that is exported, with contrastive_method=moco.",
    choices={
      "trained": "the one that is trained",
      "momentum": "the one that follows it, which has no decoder",
    },
  )
  keep_hub_module_max: int = setting(1, "SavedModels to keep in model_dir; 0: all.", low=0)
