"""The adversarial loss of the reconstruction: a discriminator that learns beside the network."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.metrics import (
  DISCRIMINATOR_ACCURACY,
  DISCRIMINATOR_LOSS,
  FIRST_NON_FINITE_STEP,
  SKIPPED_UPDATES,
)
from conrec_tf.models.discriminator import PatchDiscriminator
from conrec_tf.training.update_step import NonFiniteGuard

BETA_1 = 0.5  # of Adam, as arXiv 1611.07004


class Adversary:
  """A discriminator, its optimizer, and what either side loses (arXiv 1611.07004).

  Attributes:
    discriminator: the patch discriminator, as wide as the U-net's second level.
    optimizer: its Adam, at a constant rate.

  Args:
    config: the options of the run.
    channels: of the images.
    iterations: the steps taken so far, a scalar variable.
  """

  def __init__(self, config: Config, channels: int, iterations: tf.Variable) -> None:
    self._kind, self._iterations = config.adversarial_loss, iterations
    self._weight, self._start = config.adversarial_weight, config.adversarial_start_step
    self.discriminator = PatchDiscriminator(2 * config.base_filters, name="discriminator")
    images = tf.zeros([1, config.image_size, config.image_size, channels])
    self.discriminator([images, images])  # creates the variables
    self.optimizer = tf.keras.optimizers.Adam(config.discriminator_learning_rate, beta_1=BETA_1)
    self._variables = self.discriminator.trainable_variables
    self.optimizer.build(self._variables)
    self._update = NonFiniteGuard(self.optimizer, self._variables, [], skip=config.on_nan == "skip")

  def loss(self, corrupted: tf.Tensor, reconstruction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what the network loses by being told from images.

    Args:
      corrupted: float32 `[2B, H, W, C]`, what the network saw.
      reconstruction: of the same shape.

    Returns:
      The loss as it counts, weighted and 0 before its start, and as it is; scalars.
    """
    loss = adversarial_loss(self.discriminator([corrupted, reconstruction]), self._kind)
    counts = tf.cast(self._iterations >= self._start, loss.dtype)
    return self._weight * counts * loss, loss

  def update(
    self, corrupted: tf.Tensor, target: tf.Tensor, reconstruction: tf.Tensor
  ) -> dict[str, Any]:
    """Updates the discriminator by a batch; returns what `NonFiniteGuard` does.

    Args:
      corrupted: float32 `[2B, H, W, C]`, what the network saw.
      target: of the same shape, the image.
      reconstruction: of the same shape; no gradient reaches it.
    """
    with tf.GradientTape() as tape:
      real = self.discriminator([corrupted, target])
      made = self.discriminator([corrupted, tf.stop_gradient(reconstruction)])
      loss = discriminator_loss(real, made, self._kind)
      scaled = self._update.scaled(loss)
    reported = {
      DISCRIMINATOR_LOSS: loss,
      DISCRIMINATOR_ACCURACY: discriminator_accuracy(real, made, self._kind),
    }
    return self._update(loss, tape.gradient(scaled, self._variables), [], reported)


def adversarial_loss(made: tf.Tensor, kind: str) -> tf.Tensor:
  """Computes the loss of the network whose reconstructions are judged.

  Args:
    made: float, judgements of reconstructions.
    kind: least_squares, (D - 1)^2 (arXiv 1611.04076, Eq. 9 without its half), or hinge, -D
      (arXiv 1705.02894).

  Returns:
    Scalar: the mean over patches.
  """
  if kind == "hinge":
    return -tf.reduce_mean(made)
  return tf.reduce_mean(tf.math.squared_difference(made, 1.0))


def discriminator_loss(real: tf.Tensor, made: tf.Tensor, kind: str) -> tf.Tensor:
  """Computes the loss of the discriminator.

  Args:
    real: float, judgements of images.
    made: float, judgements of reconstructions.
    kind: least_squares, half of (D(real) - 1)^2 + D(made)^2, or hinge, half of max(0, 1 - D(real))
      + max(0, 1 + D(made)).

  Returns:
    Scalar: the mean over patches.
  """
  if kind == "hinge":
    return (tf.reduce_mean(tf.nn.relu(1.0 - real)) + tf.reduce_mean(tf.nn.relu(1.0 + made))) / 2.0
  return (
    tf.reduce_mean(tf.math.squared_difference(real, 1.0)) + tf.reduce_mean(tf.square(made))
  ) / 2.0


def discriminator_accuracy(real: tf.Tensor, made: tf.Tensor, kind: str) -> tf.Tensor:
  """Returns the share of patches that are judged rightly; half is chance."""
  border = {"least_squares": 0.5, "hinge": 0.0}[kind]
  right = [tf.cast(real > border, tf.float32), tf.cast(made <= border, tf.float32)]
  return tf.reduce_mean([tf.reduce_mean(share) for share in right])


def merged_reports(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Merges what the guards of several networks report of a step.

  A step was skipped, or wasn't finite, if it was for one of them.
  """
  merged = {name: value for report in reports for name, value in report.items()}
  happened = [report[FIRST_NON_FINITE_STEP] for report in reports]
  step = happened[0][0]
  merged[FIRST_NON_FINITE_STEP] = step, tf.reduce_any([one for _, one in happened])
  merged[SKIPPED_UPDATES] = tf.reduce_max([report[SKIPPED_UPDATES] for report in reports])
  return merged
