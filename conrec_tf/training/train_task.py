"""What a training consists of, whatever is learnt."""

from collections.abc import Callable
import dataclasses
from typing import Any

import tensorflow as tf

from conrec_tf.data.stream import WorkerShard
from conrec_tf.models import ConRec
from conrec_tf.training.loop import Step


@dataclasses.dataclass(frozen=True)
class TrainTask:
  """One training.

  Attributes:
    model: the network that is evaluated and exported: the one that is trained, or its average.
    networks: `{name: trackable}` of everything with weights; what the best checkpoint keeps.
    only_to_resume: `{name: trackable}` of what else learns.
    optimizer: its `iterations` is the global step.
    step: the training step.
    batches: makes the endless batches, or of a worker its shard of them.
    evaluate: from whether to take the slow measures too, to `{name: value}`.
    evaluate_untrained: measures a network like it that has learnt nothing, at any time, as
      `{name: value}`; None where that says nothing.
    metric: the name of the number that runs are compared by.
    selection_metric: the name of the number that the best checkpoint is chosen by.
  """

  model: ConRec
  networks: dict[str, tf.keras.Model | tf.Variable]
  only_to_resume: dict[str, Any]
  optimizer: tf.keras.optimizers.Optimizer
  step: Step
  batches: Callable[[WorkerShard], tf.data.Dataset]
  evaluate: Callable[[bool], dict[str, Any]]
  evaluate_untrained: Callable[[], dict[str, Any]] | None
  metric: str
  selection_metric: str
