"""Computes for figures, as arrays, what a trained network makes of images."""

from collections.abc import Iterator, Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from conrec_tf.config import Experiment
from conrec_tf.data.augmentation import corruption
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.evaluation.embedding import embed_split
from conrec_tf.evaluation.probes import Labelled, evaluation_folds
from conrec_tf.evaluation.supervised_evaluation import head_kind
from conrec_tf.metrics import LABEL, LABEL_ACCURACY, READINGS, is_standardised, scaling_prefix
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.reporting.figures.image_grids import color_max, upsample_nearest
from conrec_tf.reporting.figures.plot_style import Sheet, overlay_heatmap, to_rgb
from conrec_tf.reporting.run_record import RunRecord
from conrec_tf.training.evaluations import label_kind

IN_TENSORBOARD = 4  # images
MOST_IMAGES = 4000  # of a split; more would say little more and take long


@dataclasses.dataclass(frozen=True)
class Predictions:
  """The predictions of a classifier for images.

  Attributes:
    split: where the images are from.
    index: theirs in the split, int `[N]`.
    labels, classes: int `[N]`, true and predicted.
    true_class_probability: float `[N]`, the probability of the true class.
    classifier: what it is, in words.
    is_kept: whether they are those that the run's numbers are of, and not made anew.
  """

  split: Split
  index: np.ndarray
  labels: np.ndarray
  classes: np.ndarray
  true_class_probability: np.ndarray
  classifier: str
  is_kept: bool


class ModelInspector:
  """Runs the network of a run on images of its evaluation dataset.

  Attributes:
    eval_source: dataset of linear evaluation.
    step: that its weights are of.
    class_names: of the labels; empty without labels.
    train, test: what a classifier learns from and is measured on; parts of large splits.
  """

  def __init__(
    self,
    config: Experiment,
    eval_source: DatasetSource,
    model: ConRec,
    head: LinearHead | None,
    step: int,
  ) -> None:
    self.config, self.eval_source, self.model, self.step = config, eval_source, model, step
    self._head = head
    self.class_names = eval_source.class_names
    self.train, self.test = (_some(split) for split in _splits(config, eval_source))
    self._sheet_images: np.ndarray | None = None

  def embed(self, split: Split) -> Labelled:
    """Returns embeddings float32 `[N, F]` of a split, and labels int64 `[N]`, 0 without classes."""
    return embed_split(self.model, self.eval_source, split, self.config)

  def predict(self, train: Labelled, test: Labelled, standardise: bool) -> Predictions:
    """Predicts as the numbers of a run are measured: by a classifier, or by the supervised head.

    Args:
      train, test: what `embed` returned for either split.
    """
    if self._head and not self.config.is_pretraining:
      metric = LABEL_ACCURACY
      learnt = head_kind(len(self.class_names), self.config.ordinal_labels)
      outputs = learnt.outputs_of_logits(self._head(test[0]).numpy())
      columns = learnt.predictions(outputs, test[1])
    else:
      metric = scaling_prefix(standardise)
      kind = label_kind(self.config, self.eval_source)
      columns = kind.predictions(kind.outputs(train, test[0], standardise), test[1])
    return Predictions(
      split=self.test,
      index=np.arange(self.test.num_examples),
      labels=columns["label"],
      classes=columns["prediction"],
      true_class_probability=columns["true_class_probability"],
      classifier=classifier_words(metric),
      is_kept=False,
    )

  def images(self, split: Split, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns images float32 `[n, H, W, C]` in [0, 1] of a split, in the order of `indices`."""
    wanted, inverse = np.unique(np.asarray(indices, int), return_inverse=True)
    sizes = self.config.evaluation_size, self.config.eval_batch_size
    batches = evaluation_batches(self.eval_source, split.rows.at(wanted), *sizes)
    return np.concatenate([images.numpy() for images, _ in batches])[inverse]

  @property
  def has_attention(self) -> bool:
    """True where the pooling weighs locations."""
    return hasattr(self.model.pooling, "attention")

  def attention(self, images: np.ndarray) -> np.ndarray:
    """Returns attention weights relative to the image's mean, float32 `[n, h, w]`."""
    features, _ = self.model.encoder(tf.constant(images))
    weights = tf.cast(self.model.pooling.attention(features), tf.float32)[..., 0].numpy()
    return weights / weights.mean(axis=(1, 2), keepdims=True)

  @property
  def has_decoder(self) -> bool:
    """True where the network reconstructs images."""
    return self.model.decoder is not None

  def reconstruct(self, images: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Returns `[(kind of corruption, corrupted, reconstruction)]`, float32 `[n, H, W, C]` each."""
    kinds: dict[str, corruption.Corruption] = {"none": lambda view, _: view}
    if self.config.corruption != "none":
      kinds = corruption.kinds_of_corruption(images.shape[-1])
    rows = []
    for number, (name, kind) in enumerate(kinds.items()):
      corrupted = tf.stack(
        [
          kind(tf.constant(image), [self.config.seed + 1000 * number, index])
          for index, image in enumerate(images)
        ]
      )
      rows.append((name, corrupted.numpy(), self.model.reconstruct(corrupted).numpy()))
    return rows

  def sheets(self) -> Iterator[Sheet]:
    """Yields title and rows of pictures for TensorBoard: reconstructions, attention."""
    if not (self.has_decoder or self.has_attention):
      return
    if self._sheet_images is None:
      count = self.test.num_examples
      chosen = np.random.default_rng(self.config.seed).permutation(count)[:IN_TENSORBOARD]
      self._sheet_images = self.images(self.test, chosen)
    images = self._sheet_images
    if self.has_decoder:
      kinds = self.reconstruct(images)
      rows = []
      for index, target in enumerate(images):
        _, corrupted, made = kinds[index % len(kinds)]
        rows.append([to_rgb(image) for image in (target, corrupted[index], made[index])])
      yield "target, corrupted, reconstruction", rows
    if self.has_attention:
      weights = self.attention(images)
      most = color_max(weights)
      yield (
        "image, attention",
        [
          [to_rgb(image), overlay_heatmap(image, upsample_nearest(weight, image.shape), most)]
          for image, weight in zip(images, weights, strict=True)
        ],
      )


def kept_predictions(run: RunRecord, source: DatasetSource) -> Predictions | None:
  """Returns the predictions that a run's numbers are of.

  Args:
    source: the dataset of its evaluation, with one class of each image.

  Returns:
    None where none were kept, or of other images, labels or classes than those of the eval split.
  """
  kept, split = run.predictions, source.eval
  is_cross_validated = run.config.cv_folds and run.config.is_pretraining
  if kept is None or kept.true_class_probability is None or is_cross_validated:
    return None
  by_name = {str(name): position for position, name in enumerate(split.image_names)}
  index = np.array([by_name.get(image, -1) for image in kept.images], int)
  labels = np.array(
    [int(label) for label in split.records().map(lambda record: record["label"])], int
  )
  if (
    not len(index)
    or len(by_name) < split.num_examples
    or index.min() < 0
    or np.any(labels[index] != kept.labels)
    or kept.predictions.max() >= len(source.class_names)
  ):
    return None
  return Predictions(
    split,
    index,
    kept.labels,
    kept.predictions,
    kept.true_class_probability,
    classifier_words(run.metric),
    is_kept=True,
  )


def classifier_words(metric: str) -> str:
  """Returns the classifier, in words, from the name of the number that runs are compared by."""
  if metric.startswith(LABEL):
    return "the supervised head"
  return f"linear evaluation of {READINGS[is_standardised(metric)]} embeddings"


def _splits(options: Experiment, eval_source: DatasetSource) -> tuple[Split, Split]:
  """Returns the splits that a classifier learns from and is measured on."""
  train = eval_source.train
  if not (options.cv_folds and options.is_pretraining):
    return train, eval_source.eval
  # The first of the folds: there is no eval split.
  labels = train.labels() if train.labels else np.zeros(train.num_examples, int)
  held = evaluation_folds(labels, options.cv_folds, options.seed, train.groups)[0]
  return train.part(np.flatnonzero(~held)), train.part(np.flatnonzero(held))


def _some(split: Split) -> Split:
  """Returns a split, or a random part of a large one."""
  if split.num_examples <= MOST_IMAGES:
    return split
  indices = np.random.default_rng(0).permutation(split.num_examples)[:MOST_IMAGES]
  return split.part(indices)
