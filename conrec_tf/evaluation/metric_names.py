"""The names of all numbers that are logged and kept, and how they are shown and compared.

Names follow SimCLR's where it has them. A name before the slash says where a number comes
from: `train/` from training steps, `eval/` from an evaluation.
"""

from typing import Any

# Of training steps, means over the steps since the last row.
TOTAL_LOSS = "train/total_loss"
CONTRAST_LOSS = "train/contrast_loss"
CONTRAST_ACCURACY = "train/contrast_acc"
CONTRAST_ENTROPY = "train/contrast_entropy"
RECONSTRUCTION_LOSS = "train/reconstruction_loss"
LEVELS_CONTRAST_LOSS = "train/levels_contrast_loss"
LEVELS_RECONSTRUCTION_LOSS = "train/levels_reconstruction_loss"
ADVERSARIAL_LOSS = "train/adversarial_loss"
DISCRIMINATOR_LOSS = "train/discriminator_loss"
DISCRIMINATOR_ACCURACY = "train/discriminator_acc"
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
  LINEAR_ACCURACY,
  KAPPA,
  LINEAR_AUROC,
  LABEL_KAPPA,
  LABEL_ACCURACY,
  DICE,
  EVAL_TOTAL_LOSS,
)


def supervised_metric(ordinal: bool) -> str:
  """Returns the name of the number that counts of a supervised head on grades, or on classes."""
  return LABEL_KAPPA if ordinal else LABEL_ACCURACY


def reading(standardised: bool) -> str:
  """Returns what names begin with, of standardised or of raw embeddings."""
  return STANDARDISED if standardised else EVAL


def is_standardised(name: str) -> bool:
  """Returns whether a number is of embeddings scaled to mean 0 and variance 1."""
  return name.startswith(STANDARDISED)


def best(name: str) -> str:
  """Returns the name of a number as the best checkpoint has it."""
  return name.replace(EVAL, BEST)


def standardised(name: str) -> str:
  """Returns the name of a number as it is on embeddings scaled to mean 0 and variance 1."""
  return name.replace(EVAL, STANDARDISED)


def untrained(name: str) -> str:
  """Returns the name of a number as the untrained network has it."""
  return name.replace(EVAL, "eval/untrained_")


def recomputed(name: str) -> str:
  """Returns the name of a number as it is after batch norm's statistics were computed anew."""
  return name.replace(EVAL, "eval/recomputed_")


def strongest_untrained(metrics: dict[str, Any], metric: str) -> tuple[float, str] | None:
  """Returns the highest of the readings of an untrained network, and which it is.

  Args:
    metrics: `{name: value}` of the untrained network, by their plain names.
    metric: the name of the number that runs are compared by; of whichever reading.
  """
  name = metric.replace(STANDARDISED, EVAL)
  readings = {
    words: read(name)
    for words, read in {
      "raw": lambda name: name,
      "standardised": standardised,
      "recomputed batch norm": recomputed,
      "recomputed batch norm, standardised": lambda name: recomputed(standardised(name)),
    }.items()
  }
  found = {words: metrics[key] for words, key in readings.items() if key in metrics}
  if is_loss(name) or not found:
    return None
  words = max(found, key=lambda words: found[words])
  return found[words], words


def validation(name: str) -> str:
  """Returns the name of a number as it is on a held-out share of the training labels."""
  return name.replace(EVAL, "eval/validation_")


def is_number(value: Any) -> bool:
  """Returns whether a value of a result is one number, neither a text nor a list."""
  return isinstance(value, (int, float))


def is_loss(name: str) -> bool:
  """Returns whether a number is a loss: to be small, and no share of one."""
  return name.endswith("loss")


def selection_score(name: str, value: float) -> float:
  """Returns what is to be as large as possible: of losses and distances, the negative."""
  return -value if is_loss(name) or name in (ALIGNMENT, UNIFORMITY) else value


def format_value(name: str, value: Any) -> str:
  """Returns a share in per cent; a loss, an entropy, a rank or a step as it is."""
  if name.endswith("step"):
    return str(value)
  if name == ONE_SIDED_IMAGES:
    return f"{value:g}"  # over several trainings a mean
  if name.endswith(
    ("rank_me", "effective_rank", "uniformity", "alignment", "sharpness", "hausdorff_95")
  ):
    return f"{value:.2f}"
  return f"{value:.4f}" if name.endswith(("loss", "entropy")) else f"{value:.2%}"


def format_interval(result: dict[str, Any], name: str) -> str:
  """Returns the interval of a result's number as text to put after it; empty where it has none."""
  bounds = result.get(INTERVALS, {}).get(name)
  return "" if not bounds else " ({} to {})".format(*(format_value(name, end) for end in bounds))


def display_name(name: str) -> str:
  """Returns the name of a number as tables show it."""
  return name.removeprefix(EVAL).replace("_", " ")
