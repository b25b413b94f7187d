"""What a classifier says of images: the one set of predictions that a report speaks of."""

import dataclasses

import numpy as np

from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.metrics import LABEL, is_standardised
from conrec_tf.reporting.run_record import RunRecord


@dataclasses.dataclass(frozen=True)
class Predictions:
  """The predictions of a classifier for images.

  Attributes:
    split: where the images are from.
    places: int `[N]`, theirs in the split.
    labels, classes: int `[N]`, true and predicted.
    true_class_probability: float `[N]`, the probability of the true class.
    classifier: what it is, in words.
    is_kept: whether they are those that the run's numbers are of, and not made anew.
  """

  split: Split
  places: np.ndarray
  labels: np.ndarray
  classes: np.ndarray
  true_class_probability: np.ndarray
  classifier: str
  is_kept: bool


def kept_predictions(run: RunRecord, source: DatasetSource) -> Predictions | None:
  """Returns the predictions that a run's numbers are of.

  Args:
    run: the run.
    source: the dataset of its evaluation, with one class of each image.

  Returns:
    None where none were kept, or of other images, labels or classes than those of the eval split.
  """
  kept, split = run.predictions, source.eval
  is_cross_validated = run.config.cv_folds and run.config.is_pretraining
  if kept is None or kept.true_class_probability is None or is_cross_validated:
    return None
  names = range(split.num_examples) if split.names is None else split.names
  by_name = {str(name): place for place, name in enumerate(names)}
  places = np.array([by_name.get(image, -1) for image in kept.images], int)
  labels = np.array(
    [int(label) for label in split.records().map(lambda record: record["label"])], int
  )
  if (
    not len(places)
    or places.min() < 0
    or np.any(labels[places] != kept.labels)
    or kept.predictions.max() >= len(source.class_names)
  ):
    return None
  return Predictions(
    split,
    places,
    kept.labels,
    kept.predictions,
    kept.true_class_probability,
    classifier_words(run.metric),
    is_kept=True,
  )


def classifier_words(metric: str) -> str:
  """Returns what predicts, in words, from the name of the number that a run is compared by."""
  if metric.startswith(LABEL):
    return "the supervised head"
  reading = "standardised" if is_standardised(metric) else "raw"
  return f"linear evaluation of {reading} embeddings"
