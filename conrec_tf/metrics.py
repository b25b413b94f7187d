"""The keys of all numbers that are logged and kept, and how each is shown and compared.

Keys follow SimCLR's where it has them. What stands before the slash says where a number comes
from: `train/` from training steps, `eval/` from an evaluation. `METRICS` holds what else is known
of a number; `metric_of` finds it for any variant of a key: of the best checkpoint, of the
untrained network, of standardised embeddings.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import re
from typing import Any

# Of training steps, means over the steps since the last row.
TOTAL_LOSS = "train/total_loss"
CONTRAST_LOSS = "train/contrast_loss"
CONTRAST_ACCURACY = "train/contrast_acc"
CONTRAST_ENTROPY = "train/contrast_entropy"
LOCAL_CROP_LOSS = "train/local_crop_loss"
TEACHER_LOSS = "train/teacher_loss"
TEACHER_RELATION_LOSS = "train/teacher_relation_loss"
RECONSTRUCTION_LOSS = "train/reconstruction_loss"
LEVELS_CONTRAST_LOSS = "train/levels_contrast_loss"
LEVELS_RECONSTRUCTION_LOSS = "train/levels_reconstruction_loss"
ADVERSARIAL_LOSS = "train/adversarial_loss"
DISCRIMINATOR_LOSS = "train/discriminator_loss"
DISCRIMINATOR_ACCURACY = "train/discriminator_acc"
GRADIENT_COSINE = "train/gradient_cosine"
SEGMENTATION_LOSS = "train/segmentation_loss"
SEGMENTATION_ACCURACY = "train/pixel_acc"
SUPERVISED_LOSS = "train/supervised_loss"
SUPERVISED_ACCURACY = "train/supervised_acc"
SUPERVISED_TOP_5_ACCURACY = "train/supervised_top_5_acc"
SUPERVISED_KAPPA = "train/quadratic_weighted_kappa"
WEIGHT_DECAY = "train/weight_decay"
SKIPPED_UPDATES = "train/skipped_updates"
FIRST_NON_FINITE_STEP = "train/first_non_finite_step"

# Of a row of the log.
GLOBAL_STEP = "global_step"
EVALUATED_WITH = "evaluated_with"  # the options that a result depends on
MEASURED_ON = "measured_on"  # digests of the images and labels that it was measured on
LEARNING_RATE = "learning_rate"
IMAGES_PER_SECOND = "images_per_second"
DATA_WAIT = "data_wait"
EVALUATION_SECONDS = "evaluation_seconds"

# Of evaluations.
EVAL = "eval/"
LINEAR_ACCURACY = "eval/linear_top_1_accuracy"
KAPPA = "eval/quadratic_weighted_kappa"
LINEAR_AUROC = "eval/linear_auroc"
LABEL = "eval/label_"  # of a supervised head
LABEL_ACCURACY = "eval/label_top_1_accuracy"
LABEL_KAPPA = "eval/label_quadratic_weighted_kappa"
EVAL_TOTAL_LOSS = "eval/total_loss"
KNN_ACCURACY = "eval/knn_accuracy"
KNN_AUROC = "eval/knn_auroc"
LABELS = "eval/labels"  # rows, one for each of several labels
PREDICTIONS = "eval/predictions"  # of the measured images, an array by name
CLASSIFIER = "eval/classifier"  # what linear evaluation learnt, or the supervised head
LABEL_FRACTIONS = "eval/label_fractions"
FEW_SHOTS = "eval/few_shots"
REPRESENTATIONS = "eval/representations"  # rows of a sweep
CHOSEN = "eval/chosen_representation_"  # what the one that a sweep chose reaches
DICE = "eval/dice"
IOU = "eval/iou"
PIXEL_ACCURACY = "eval/pixel_accuracy"
PIXEL_AUROC = "eval/pixel_auroc"
HAUSDORFF = "eval/hausdorff_95"
ONE_SIDED_IMAGES = "eval/one_sided_images"  # with a class missed, or made up
CLASSES = "eval/classes"  # rows, one for each class of masks
INTERVALS = "eval/intervals"  # of numbers of the same result, 95 %, [low, high] by name
LATE_GAIN = "eval/late_gain"  # of the last part of the training, with its error
BEST = "eval/best_"
BEST_STEP = "eval/best_step"
BEST_SELECTED_BY = "eval/best_selected_by"
STANDARDISED = "eval/standardised_"
UNTRAINED_STRONGEST = "eval/untrained_strongest"
UNTRAINED_STRONGEST_READING = "eval/untrained_strongest_reading"
RANK_ME = "eval/rank_me"
EFFECTIVE_RANK = "eval/effective_rank"
UNIFORMITY = "eval/uniformity"
DEAD_DIMENSIONS = "eval/dead_dimensions"
ALIGNMENT = "eval/alignment"
SHARPNESS = "eval/reconstruction_sharpness"
LABEL_FREE = (RANK_ME, EFFECTIVE_RANK, UNIFORMITY, DEAD_DIMENSIONS, ALIGNMENT)
MAIN_METRICS = (
  *(LINEAR_ACCURACY, KAPPA, LINEAR_AUROC),
  *(LABEL_KAPPA, LABEL_ACCURACY, DICE, EVAL_TOTAL_LOSS, RANK_ME),
)


VARIANT = re.compile(r"^eval/(?:(?:best|untrained|validation|recomputed|standardised)_)+")
SHARE, LOSS, RANK, COUNT = "{:z.2%}", "{:z.4f}", "{:z.2f}", "{:g}"  # z: no -0.00


@dataclasses.dataclass(frozen=True)
class Metric:
  """The words, formats and order of a number.

  Attributes:
    key: its name in files and logs.
    axis: what its axis is called, with its unit.
    title: of its figure; empty for the axis' words.
    form: the format of a value.
    smaller_is_better: whether it is to be small.
    line, short_line: the format in the terminal's line, the second where 80 columns don't suffice;
      empty where it isn't there, or is the same.
    note: a sentence under its figure.
    chance: gives it where no view can be told from others, from the contrastive accuracy and the
      contrastive loss of equal projections; None where that says nothing.
    has_tile: whether it stands at the top of the report, and in the terminal.
    group, charts: the title of its group in TensorBoard, and charts there with a regular expression
      of their tags; empty for its key.
  """

  key: str
  axis: str = ""
  title: str = ""
  form: str = SHARE
  smaller_is_better: bool = False
  line: str = ""
  short_line: str = ""
  note: str = ""
  chance: Callable[[float, float], float] | None = None
  has_tile: bool = False
  group: str = ""
  charts: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def scale(self) -> int:
    """The factor of values on an axis: shares are in per cent."""
    return 100 if "%" in self.form else 1

  @property
  def is_loss(self) -> bool:
    """True for a loss, which needs no predictions."""
    return self.form == LOSS and self.smaller_is_better

  def number(self, value: float) -> str:
    """Returns a value as a cell of a table, without its unit."""
    return format(self.scale * value, "z.2f" if self.scale == 100 else "z.4f")


_loss = functools.partial(Metric, form=LOSS, smaller_is_better=True)
_rank = functools.partial(Metric, form=RANK)


def _linear(key: str, axis: str, tags: str) -> Metric:
  """Returns the record of the number that counts of a linear evaluation."""
  charts = {
    "raw embeddings": f"eval/(untrained_)?{tags}",
    "standardised embeddings": f"eval/(untrained_)?standardised_{tags}",
    "nearest neighbours": "eval/(untrained_)?knn_.*",
  }
  return Metric(key, axis, has_tile=True, group="Linear evaluation", charts=charts)


# Those of training steps in the order in which they are drawn and stand in the terminal's line,
# those of evaluations in that of the report's tiles.
METRICS = {
  metric.key: metric
  for metric in (
    _loss(
      *(TOTAL_LOSS, "total loss", "Total loss"),
      line="loss {:.3f}",
      short_line="loss {:.2f}",
      group="Loss",
      charts={"total": ""},
    ),
    _loss(
      *(CONTRAST_LOSS, "contrastive loss (nats)", "Contrastive loss"),
      line="contrast {:.3f}",
      short_line="con {:.2f}",
      note="The mean over first views plus the mean over second views.",
      chance=lambda accuracy, loss: loss,
      group="Contrastive",
      charts={"loss": ""},
    ),
    Metric(
      *(CONTRAST_ACCURACY, "contrastive accuracy (%)", "Contrastive accuracy"),
      line="acc {:.2f}",
      note="Share of first views whose nearest second view is their own.",
      chance=lambda accuracy, loss: accuracy,
      group="Contrastive",
      charts={"accuracy": ""},
    ),
    Metric(
      *(CONTRAST_ENTROPY, "contrastive entropy (nats)"),
      form=LOSS,
      group="Contrastive",
      charts={"entropy": ""},
    ),
    _loss(
      *(LOCAL_CROP_LOSS, "loss of local crops (nats)", "Contrastive loss of local crops"),
      group="Contrastive",
      charts={"local crops": ""},
    ),
    _loss(
      *(RECONSTRUCTION_LOSS, "reconstruction loss", "Reconstruction loss"),
      line="reconstruction {:.4f}",
      short_line="rec {:.3f}",
      note="Mean over pixels of the {loss}, before its weight.",
      group="Reconstruction",
      charts={"loss": "", "sharpness": SHARPNESS},
    ),
    _loss(*(TEACHER_LOSS, "1 - cosine", "Distance from the teacher"), line="teacher {:.3f}"),
    _loss(
      *(LEVELS_CONTRAST_LOSS, "mean loss (nats)", "Contrastive loss of inner levels"),
      group="Inner levels",
      charts={"losses": "train/levels_.*"},
    ),
    _loss(
      *(LEVELS_RECONSTRUCTION_LOSS, "mean loss", "Reconstruction loss of inner levels"),
      group="Inner levels",
      charts={"losses": "train/levels_.*"},
    ),
    _loss(
      *(ADVERSARIAL_LOSS, "adversarial loss", "Adversarial loss"),
      note="Of the network, small where its reconstructions pass for images; unweighted.",
    ),
    Metric(
      *(DISCRIMINATOR_ACCURACY, "patches judged rightly (%)", "Discriminator's accuracy"),
      line="discriminator acc {:.2f}",
      short_line="disc {:.2f}",
      note="Half is chance: reconstructions look like images.",
      chance=lambda accuracy, loss: 0.5,
      group="Discriminator",
      charts={"accuracy": "", "losses": "train/(adversarial|discriminator)_loss"},
    ),
    Metric(
      *(GRADIENT_COSINE, "cosine", "Gradients of contrast and reconstruction"),
      form=LOSS,
      line="cosine {:.2f}",
      short_line="cos {:.2f}",
      note="In the encoder; below 0 the two losses pull its weights apart.",
      group="Gradients",
      charts={"cosine": "", "cosine by level": "train/level_._gradient_cosine"},
    ),
    _loss(
      *(SEGMENTATION_LOSS, "segmentation loss", "Segmentation loss"),
      group="Segmentation",
      charts={"loss": ""},
    ),
    Metric(
      *(SEGMENTATION_ACCURACY, "accuracy in training (%)", "Pixel accuracy"),
      group="Segmentation",
      charts={"pixel accuracy in training": "", "evaluation": "eval/(dice|iou|pixel_.*)"},
    ),
    _loss(
      *(SUPERVISED_LOSS, "cross entropy (nats)", "Supervised loss"),
      group="Supervised head",
      charts={"loss": ""},
    ),
    Metric(
      *(SUPERVISED_ACCURACY, "accuracy in training (%)", "Supervised accuracy"),
      line="supervised acc {:.2f}",
      short_line="sup {:.2f}",
      group="Supervised head",
      charts={"accuracy in training": "", "evaluation": "eval/label_.*"},
    ),
    Metric(SKIPPED_UPDATES, form=COUNT, line="skipped {:.0f}"),
    _linear(KAPPA, "quadratic weighted kappa (%)", "quadratic_weighted_kappa"),
    _linear(LINEAR_ACCURACY, "linear accuracy (%)", "linear_top_._accuracy"),
    _linear(LINEAR_AUROC, "mean area under the ROC curve (%)", "linear_auroc"),
    Metric(LABEL_ACCURACY, "accuracy of the supervised head (%)", has_tile=True),
    Metric(LABEL_KAPPA, "kappa of the supervised head (%)", has_tile=True),
    Metric(DICE, "Dice (%)", has_tile=True),
    Metric(PIXEL_AUROC, has_tile=True),
    _rank(HAUSDORFF, "95 % Hausdorff distance (pixels)", smaller_is_better=True, has_tile=True),
    # Of several trainings a mean.
    Metric(ONE_SIDED_IMAGES, form=COUNT, smaller_is_better=True, has_tile=True),
    _loss(
      *(EVAL_TOTAL_LOSS, "total loss on the evaluation split"),
      has_tile=True,
      group="Evaluation split",
      charts={"losses": "eval/(untrained_)?.*loss"},
    ),
    Metric(KNN_ACCURACY, has_tile=True),
    Metric(KNN_AUROC, has_tile=True),
    _rank(RANK_ME, "RankMe"),
    _rank(EFFECTIVE_RANK, "effective rank"),
    _rank(UNIFORMITY, "uniformity", smaller_is_better=True),
    _rank(ALIGNMENT, "alignment", smaller_is_better=True),
    _rank(SHARPNESS, "sharpness of reconstructions"),
    Metric(DEAD_DIMENSIONS, "dead dimensions (%)", smaller_is_better=True),
    Metric(
      *(LEARNING_RATE, "learning rate", "Learning rate"),
      form=COUNT,
      group="Learning rate",
      charts={"learning rate": ""},
    ),
    Metric(
      *(IMAGES_PER_SECOND, "images per second", "Throughput"),
      form="{:.0f}",
      line="{:.0f} images/s",
      short_line="{:.0f}/s",
      group="Throughput",
      charts={"images per second": "", "seconds of an evaluation": EVALUATION_SECONDS},
    ),
    Metric(
      *(DATA_WAIT, "share of time (%)", "Waiting for data"),
      line="data wait {:.0%}",
      short_line="wait {:.0%}",
      group="Waiting for data",
      charts={"share of time": ""},
    ),
  )
}


def metric_of(key: str) -> Metric:
  """Returns what is known of a number, by its key or a variant of it; its axis is the variant's.

  A number without a record of its own is a step, a loss, an entropy, a cosine or else a share, as
  the end of its key says.
  """
  plain = VARIANT.sub(EVAL, key.removesuffix("_std"))
  metric = METRICS.get(plain, Metric(plain))
  if plain not in METRICS and plain.endswith("step"):
    metric = Metric(plain, form="{}")
  elif plain not in METRICS and plain.endswith(("loss", "entropy", "cosine")):
    metric = Metric(plain, form=LOSS, smaller_is_better=plain.endswith("loss"))
  words, bracket, unit = metric.axis.partition(" (")
  if words and is_standardised(key):
    words += ", standardised embeddings"
  return dataclasses.replace(metric, axis=words + bracket + unit or display_name(key))


def level_cosine(level: int) -> str:
  """Returns the key of `GRADIENT_COSINE` in one level of the encoder, from 1."""
  return GRADIENT_COSINE.replace("/", f"/level_{level}_")


def supervised_metric(ordinal: bool) -> str:
  """Returns the name of the number that counts of a supervised head on grades, or on classes."""
  return LABEL_KAPPA if ordinal else LABEL_ACCURACY


READINGS = {False: "raw", True: "standardised"}  # of embeddings


def scaling_prefix(standardised: bool) -> str:
  """Returns what names begin with, of standardised or of raw embeddings."""
  return STANDARDISED if standardised else EVAL


def is_standardised(name: str) -> bool:
  """Returns whether a number is of embeddings scaled to mean 0 and variance 1."""
  return name.startswith(STANDARDISED)


def _variant(name: str) -> Callable[[str], str]:
  return lambda key: key.replace(EVAL, f"{EVAL}{name}_")


# From the key of a number to that of a variant of it.
best_key = _variant("best")  # of the best checkpoint
untrained_key = _variant("untrained")  # of the untrained network
recomputed_key = _variant("recomputed")  # after batch norm's statistics were computed anew
validation_key = _variant("validation")  # on a held-out share of the training labels
standardised_key = _variant("standardised")  # on embeddings scaled to mean 0 and variance 1


def is_number(value: Any) -> bool:
  """Returns whether a value of a result is one number, neither a text nor a list."""
  return isinstance(value, (int, float))


def is_decisive(key: str) -> bool:
  """Returns whether the terminal shows a number of an evaluation; the rest is in `result.json`.

  It does what has a tile in the report, on raw or standardised embeddings.
  """
  plain = key.replace(STANDARDISED, EVAL)
  return plain in METRICS and METRICS[plain].has_tile


def selection_score(key: str, value: float) -> float:
  """Returns what is to be as large as possible: of losses and distances, the negative."""
  return -value if metric_of(key).smaller_is_better else value


def format_value(key: str, value: Any) -> str:
  """Returns a share in per cent; a loss, an entropy, a rank or a step as it is."""
  return metric_of(key).form.format(value)


def format_interval(result: dict[str, Any], name: str) -> str:
  """Returns the interval of a result's number as text to put after it; empty where it has none."""
  bounds = result.get(INTERVALS, {}).get(name)
  return "" if not bounds else " ({} to {})".format(*(format_value(name, end) for end in bounds))


def display_name(name: str) -> str:
  """Returns the name of a number as tables show it."""
  return name.removeprefix(EVAL).replace("_", " ")
