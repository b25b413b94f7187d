"""All that learns in a pre-training, put together."""

import dataclasses
from typing import Any

import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.models import ConRec, LinearHead, build_model
from conrec_tf.models.level_heads import build_level_heads
from conrec_tf.pretrained.find import AVERAGE, MOMENTUM
from conrec_tf.training.adversarial import Adversary
from conrec_tf.training.momentum_contrast import MomentumEncoder, warn_of_long_queue
from conrec_tf.training.moving_average import average_of_network
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep


@dataclasses.dataclass(frozen=True)
class Pretraining:
  """A pre-training's step and what it changes.

  Attributes:
    step: the training step.
    optimizer: of the network; its `iterations` is the global step.
    evaluated: the network that is evaluated and exported: the one that is trained, or its average.
    networks: `{name: trackable}` of the networks that are kept with the best evaluation.
    only_to_resume: `{name: trackable}` of what else learns.
  """

  step: PretrainStep
  optimizer: tf.keras.optimizers.Optimizer
  evaluated: ConRec
  networks: dict[str, tf.keras.Model | tf.Variable]
  only_to_resume: dict[str, Any]


def build_pretraining(
  config: Config,
  model: ConRec,
  channels: int,
  examples: int,
  last_step: int,
  head: LinearHead | None = None,
) -> Pretraining:
  """Builds what `config` describes around a network.

  Args:
    config: the options of the run.
    model: a built network, with the weights that it starts from.
    channels: of the images.
    examples: images of an epoch.
    last_step: where training ends.
    head: a supervised head to train beside it, or None.
  """
  level_heads = build_level_heads(config, model, channels)
  head_variables = head.trainable_variables if head else []
  level_variables = level_heads.trainable_variables if level_heads else []
  optimizer = build_optimizer(config, examples, last_step, head_variables)
  optimizer.build(model.trainable_variables + head_variables + level_variables)
  networks = {"model": model} | ({"head": head} if head else {})
  evaluated, average, momentum, adversary = model, None, None, None
  if config.moving_average_decay:
    evaluated = networks[AVERAGE] = build_model(config, channels)
    evaluated.set_weights(model.get_weights())
    average = average_of_network(
      model, evaluated, config.moving_average_decay, optimizer.iterations
    )
  if config.contrastive_method == "moco" and config.contrastive_weight:
    warn_of_long_queue(config.moco_queue_length, examples)
    momentum = MomentumEncoder(config, model, optimizer.iterations, last_step, channels)
    networks |= {MOMENTUM: momentum.network}
    if momentum.queue is not None:
      networks["queue"] = momentum.queue
  only_to_resume: dict[str, Any] = {"level_heads": level_heads} if level_heads else {}
  if config.adversarial_weight:
    adversary = Adversary(config, channels, optimizer.iterations)
    only_to_resume |= {
      "discriminator": adversary.discriminator,
      "discriminator_optimizer": adversary.optimizer,
    }
  step = PretrainStep(config, model, optimizer, head, average, momentum, level_heads, adversary)
  return Pretraining(step, optimizer, evaluated, networks, only_to_resume)
