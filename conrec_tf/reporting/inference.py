"""What the trained network makes of images, as arrays: all that the pictures need of it."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.data.augmentation import corruption
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.evaluation import linear_evaluation as evaluation
from conrec_tf.evaluation import probes
from conrec_tf.run_dir.checkpoints import load_network
from conrec_tf.run_dir.pretrained import BEST, CHECKPOINTS, PretrainedModel, prefixes, step_of
from conrec_tf.training.task import build_task

MOST_IMAGES = 4000  # of a split; more would say little more and take long


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What a classifier makes of the measured images.

  Attributes:
    labels, classes: int `[N]`, true and predicted.
    true_class_probability: float `[N]`, the probability of the true class.
    classifier: what it is, in words.
  """

  labels: np.ndarray
  classes: np.ndarray
  true_class_probability: np.ndarray
  classifier: str


class ModelInspector:
  """A run's network and the images that it is shown.

  Args:
    config: `Config` of the run.
    eval_source: `DatasetSource` of linear evaluation.
    model: `ConRec`.
    head: `LinearHead` of a finetuned one, or None.
    step: that its weights are of.
  """

  def __init__(self, config, eval_source, model, head, step):
    self.config, self.eval_source, self.model, self.step = config, eval_source, model, step
    self._head = head
    self.class_names = eval_source.class_names
    self.train, self.measured = (_some(split) for split in _splits(config, eval_source))

  def embed(self, split):
    """Embeddings float32 `[N, F]` of a split, and labels int64 `[N]`, or None without classes."""
    embeddings, labels = evaluation.embed_split(self.config, self.model, self.eval_source, split)
    return embeddings, labels if self.class_names else None

  def predict(self, train, measured):
    """`Predictions` of linear evaluation, or of a finetuned network's own head.

    Args:
      train, measured: what `embed` returned for either split.
    """
    labels, count = measured[1], len(self.class_names)
    if not self.config.is_pretraining:
      logits = self._head(measured[0]).numpy()
      if self.config.ordinal_labels:
        return _graded(labels, 1.0 / (1.0 + np.exp(-logits)), "the supervised head")
      scores, columns = tf.nn.softmax(logits).numpy(), np.arange(count)
      name = "the supervised head"
    elif self.config.ordinal_labels:
      return _graded(labels, probes.ordinal_scores(train, measured, count), "linear evaluation")
    else:
      scores, columns = probes.linear_scores(train, measured)
      name = "linear evaluation"
    wide = np.zeros([len(labels), count])
    wide[:, columns] = scores
    return Predictions(labels, wide.argmax(axis=1), wide[np.arange(len(labels)), labels], name)

  def images(self, split, indices):
    """Images float32 `[n, H, W, C]` in [0, 1] of a split, in the order of `indices`."""
    indices = np.asarray(indices, int)
    wanted, places = np.unique(indices, return_inverse=True)
    chosen = subset(split, wanted)
    parts = [
      images.numpy() for images, _ in evaluation_batches(self.config, self.eval_source, chosen)
    ]
    return np.concatenate(parts)[places]

  @property
  def has_attention(self):
    """Whether its pooling weighs locations."""
    return hasattr(self.model.pooling, "attention")

  def attention(self, images):
    """How often as much as on average each location counts: float32 `[n, h, w]`, mean 1."""
    features, _ = self.model.encoder(tf.constant(images))
    weights = tf.cast(self.model.pooling.attention(features), tf.float32)[..., 0].numpy()
    return weights / weights.mean(axis=(1, 2), keepdims=True)

  @property
  def has_decoder(self):
    """Whether it has a decoder."""
    return self.model.decoder is not None

  def reconstruct(self, images):
    """`[(kind of corruption, corrupted, reconstruction)]`, float32 `[n, H, W, C]` each."""
    kinds = {"none": lambda view, _: view}
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
      rows.append((name, corrupted.numpy(), self.model(corrupted).reconstruction.numpy()))
    return rows


def restore_inspector(config, source, eval_source, step):
  """The `ModelInspector` of a run with the weights of a step, or where those are gone the best.

  Args:
    config, eval_source: as of `ModelInspector`.
    source: `DatasetSource` that it learnt from.
    step: of the last weights.

  Raises:
    UsageError: there are no weights, or they can't be read.
  """
  # Its weights are about to be restored; the network that they started from may be gone.
  task = build_task(dataclasses.replace(config, checkpoint=""), source, eval_source, max(1, step))
  folder = os.fspath(config.run_directory)
  found = [
    prefix for prefix in prefixes(os.path.join(folder, CHECKPOINTS)) if step_of(prefix) == step
  ] or prefixes(os.path.join(folder, BEST))
  head = task.networks.get("head")
  if found:
    step = step_of(found[-1])
    load_network(PretrainedModel("checkpoint", found[-1], step), task.model, head)
  elif step or not config.encoder_weights:  # else given weights, evaluated as they are
    raise UsageError(
      "model_dir must hold the checkpoint of its last step or the best one, for "
      f"the report. Received: {folder} without"
    )
  return ModelInspector(config, eval_source, task.model, head, step)


def _splits(config, eval_source):
  """What a classifier learns from, and what it is measured on."""
  train = eval_source.train
  if not (config.cv_folds and config.is_pretraining):
    return train, eval_source.eval
  # As the first of the folds: there is no eval split.
  indices = np.random.default_rng(config.seed).permutation(train.num_examples)
  held = train.num_examples // config.cv_folds
  return subset(train, indices[held:]), subset(train, indices[:held])


def subset(split, indices):
  """The `Split` of some examples, in their order."""
  chosen = np.zeros(split.num_examples, bool)
  chosen[indices] = True

  def records():
    numbered = split.records().enumerate()
    kept = numbered.filter(lambda number, _: tf.gather(tf.constant(chosen), number))
    return kept.map(lambda _, record: record)

  return dataclasses.replace(split, num_examples=int(chosen.sum()), records=records, shapes=None)


def _some(split):
  """All of a split, or of a large one a random part, the same each time; labels 0 without any."""
  split = dataclasses.replace(
    split,
    records=lambda records=split.records: records().map(
      lambda record: {"label": tf.constant(0, tf.int64), **record}
    ),
  )
  if split.num_examples <= MOST_IMAGES:
    return split
  indices = np.random.default_rng(0).permutation(split.num_examples)[:MOST_IMAGES]
  return subset(split, indices)


def _graded(labels, bits, name):
  """`Predictions` of grades, from the probabilities `[N, K]` of their cumulative bits."""
  above = np.append(bits, np.zeros([len(bits), 1]), axis=1)
  rows = np.arange(len(labels))
  true_class_probability = np.clip(above[rows, labels] - above[rows, labels + 1], 0.0, 1.0)
  return Predictions(labels, probes.decode_bits(bits), true_class_probability, name)
