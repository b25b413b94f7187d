"""The loss of pre-training: the sum of the objectives' losses (paper, Eq. 1)."""

from collections.abc import Iterable
import importlib
import pathlib
from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.losses import view_major
from conrec_tf.models import ConRec, FeatureLevels, LinearHead, Outputs, build_model
from conrec_tf.pretrained.find import AVERAGE
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective
from conrec_tf.training.objectives.supervised import SupervisedHead


class PretrainLoss:
  """The sum of the objectives' losses, and the networks that it is of.

  Attributes:
    objectives: whose losses are added up.
    evaluated: the network that is evaluated and exported: the one that is trained, or its average.
    networks: `{name: trackable}` of what the best checkpoint keeps.
    only_to_resume: `{name: trackable}` of what else a training needs to go on.

  Args:
    model: the network, with the weights that it starts from.
    head: a supervised head beside the network, or None. In training batches then have `label`
      `[B]` too.
    channels: of the images; None takes `options.channels`.
    in_training: whether it is learnt by; else there is nothing but what held-out images are
      measured by.
  """

  def __init__(
    self,
    options: Training,
    model: ConRec,
    head: LinearHead | None = None,
    channels: int | None = None,
    in_training: bool = True,
  ) -> None:
    self._options = options
    channels = channels or options.channels
    kinds = map(objective_class, options.objectives)
    self.objectives = [
      kind(options, model, channels) for kind in kinds if in_training or kind.in_validation
    ]
    if head:
      self.objectives.append(SupervisedHead(head, options, model, channels))
    self.evaluated, self.networks = model, {"model": model}
    if options.moving_average_decay:
      self.evaluated = self.networks[AVERAGE] = build_model(options, channels)
      self.evaluated.set_weights(model.get_weights())
    self.only_to_resume: dict[str, Any] = {}

  def build(self, iterations: tf.Variable, last_step: int, skip_non_finite: bool = False) -> None:
    """Creates what has an optimizer or a schedule of its own; see `PretrainingObjective.build`."""
    for objective in self.objectives:
      objective.build(iterations, last_step, skip_non_finite)
      self.networks |= objective.networks
      self.only_to_resume |= objective.only_to_resume

  def prepared(self, source: DatasetSource, folder: pathlib.Path) -> DatasetSource:
    """Returns the dataset to learn from, with what the objectives need of each image.

    What takes long is kept in the folder, that of the run.
    """
    for objective in self.objectives:
      source = objective.prepared(source, folder)
    return source

  @property
  def has_validation(self) -> bool:
    """True where held-out images have a loss."""
    return any(objective.in_validation for objective in self.objectives)

  def validation(self, model: ConRec, batch: Batch) -> Loss:
    """Computes loss and metrics of a network in inference mode, of a batch of pairs of views.

    What its inner levels, a discriminator or a head add in training isn't in it.
    """
    batch = view_major_batch(batch)
    outputs, maps = self.outputs(model, batch)
    validated = [objective for objective in self.objectives if objective.in_validation]
    return summed(objective.loss(batch, outputs, maps, training=False) for objective in validated)

  def outputs(
    self, model: ConRec, batch: Batch, training: bool = False, seed: tf.Tensor | None = None
  ) -> tuple[Outputs, FeatureLevels]:
    """Computes what a network makes of a view-major batch."""
    options = self._options
    clean = options.contrastive_weight and options.contrastive_inputs == "clean"
    return model.with_maps(
      batch["corrupted"],
      training,
      seed,
      num_views=2,
      contrastive_images=batch["target"] if clean else None,
    )


def objective_class(name: str) -> type[PretrainingObjective]:
  """Returns the objective of a name: of `local_crops` the class `LocalCrops` of that module."""
  module = importlib.import_module(f"conrec_tf.training.objectives.{name}")
  return getattr(module, name.title().replace("_", ""))


def view_major_batch(batch: Batch) -> Batch:
  """Returns a batch with its views `[B, 2, H, W, C]` as `[2B, H, W, C]`, all first ones first."""
  return {**batch, **{name: view_major(batch[name]) for name in ("corrupted", "target")}}


def summed(losses: Iterable[Loss]) -> Loss:
  """Adds up losses; returns the sum and all their metrics."""
  total, metrics = 0.0, dict[str, tf.Tensor]()
  for loss, measures in losses:
    total += loss
    metrics |= measures
  return total, metrics
