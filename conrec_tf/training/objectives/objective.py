"""The interface of all objectives of pre-training."""

from collections.abc import Sequence
import pathlib
from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.models import ConRec, FeatureLevels, Outputs

Batch = dict[str, tf.Tensor]
Loss = tuple[tf.Tensor, dict[str, tf.Tensor]]  # as it counts, and `{metric name: scalar}`


class PretrainingObjective:
  """A term of the loss, and what learns for it beside the network.

  Attributes:
    part: contrastive or reconstruction, if it is that part of the loss of the network's outputs.
    in_validation: whether held-out images have this loss too; else it is of training alone.
    metrics: names of the scalars that it reports.
    variables: what the network's optimizer trains for it.
    untrained: variables that a forward pass changes, such as batch norm's statistics.
    networks: `{name: trackable}` of what the best checkpoint keeps.
    only_to_resume: `{name: trackable}` of what else a training needs to go on.

  Args:
    model: the network, built.
    channels: of the images.
  """

  part = ""
  in_validation = False
  metrics: Sequence[str]

  def __init__(self, options: Training, model: ConRec, channels: int) -> None:
    self.options, self.model, self.channels = options, model, channels
    self.variables: Sequence[tf.Variable] = ()
    self.untrained: Sequence[tf.Variable] = ()
    self.networks: dict[str, tf.keras.Model | tf.Variable] = {}
    self.only_to_resume: dict[str, Any] = {}

  def build(self, iterations: tf.Variable, last_step: int, skip_non_finite: bool) -> None:
    """Creates what has an optimizer or a schedule of its own.

    Args:
      iterations: the steps taken so far, a scalar variable.
      last_step: where training ends.
      skip_non_finite: whether a step that isn't finite is left out.
    """

  def prepared(self, source: DatasetSource, folder: pathlib.Path) -> DatasetSource:
    """Returns the dataset to learn from, with what the loss needs of each image beside it.

    Args:
      folder: of the run, where what takes long is kept.
    """
    return source

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes the loss of a batch.

    Args:
      batch: float32 `corrupted` and `target`, `[2B, H, W, C]` in [0, 1], view-major.
      outputs: of the network for it.
      maps: its inner levels.
      training: whether an update follows.
    """
    raise NotImplementedError

  def after_update(
    self, batch: Batch, outputs: Outputs, counts: float | tf.Tensor
  ) -> dict[str, Any]:
    """Updates what the network's optimizer doesn't train; returns what a guard of it reports.

    Args:
      counts: 1, or 0 where the network's own update was left out, scalar.
    """
    return {}
