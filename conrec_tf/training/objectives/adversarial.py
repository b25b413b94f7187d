"""An adversarial loss of the reconstruction: a discriminator learns beside the network."""

from collections.abc import Sequence
import logging
from typing import Any

import tensorflow as tf

from conrec_tf.metrics import ADVERSARIAL_LOSS, DISCRIMINATOR_ACCURACY, DISCRIMINATOR_LOSS
from conrec_tf.models import FeatureLevels, Outputs
from conrec_tf.training.objectives.objective import Batch, Loss, PretrainingObjective
from conrec_tf.training.update_step import NonFiniteGuard

logger = logging.getLogger(__name__)

BETA_1 = 0.5  # of Adam, as arXiv 1611.07004
SLOPE = 0.2  # of leaky ReLU


class Adversarial(PretrainingObjective):
  """The judgement of reconstructions by a discriminator (arXiv 1611.07004).

  Attributes:
    discriminator: the patch discriminator, as wide as the U-net's second level.
    optimizer: its Adam, at a constant rate.
  """

  part = "reconstruction"
  metrics = (ADVERSARIAL_LOSS, DISCRIMINATOR_LOSS, DISCRIMINATOR_ACCURACY)

  def build(self, iterations: tf.Variable, last_step: int, skip_non_finite: bool) -> None:
    """Creates the discriminator and its optimizer."""
    options, self._iterations = self.options, iterations
    if 0 < last_step <= options.adversarial_start_step:
      logger.warning(
        "The discriminator's judgement counts after the end of the training, of %d steps: "
        "--adversarial_start_step=%d",
        last_step,
        options.adversarial_start_step,
      )
    self.discriminator = PatchDiscriminator(2 * options.base_filters, name="discriminator")
    images = tf.zeros([1, options.image_size, options.image_size, self.channels])
    self.discriminator([images, images])  # creates the variables
    self.optimizer = tf.keras.optimizers.Adam(options.discriminator_learning_rate, beta_1=BETA_1)
    self._judging = self.discriminator.trainable_variables
    self.optimizer.build(self._judging)
    self._update = NonFiniteGuard(self.optimizer, self._judging, [], skip=skip_non_finite)
    self.only_to_resume = {
      "discriminator": self.discriminator,
      "discriminator_optimizer": self.optimizer,
    }

  def loss(self, batch: Batch, outputs: Outputs, maps: FeatureLevels, training: bool) -> Loss:
    """Computes what the network loses by being told from images; it counts from its start on."""
    options, pair = self.options, [batch["corrupted"], outputs.reconstruction]
    loss = adversarial_loss(self.discriminator(pair), options.adversarial_loss)
    counts = tf.cast(self._iterations >= options.adversarial_start_step, loss.dtype)
    return options.adversarial_weight * counts * loss, {ADVERSARIAL_LOSS: loss}

  def after_update(
    self, batch: Batch, outputs: Outputs, counts: float | tf.Tensor
  ) -> dict[str, Any]:
    """Updates the discriminator; no gradient reaches the reconstruction."""
    kind, corrupted = self.options.adversarial_loss, batch["corrupted"]
    with tf.GradientTape() as tape:
      real = self.discriminator([corrupted, batch["target"]])
      made = self.discriminator([corrupted, tf.stop_gradient(outputs.reconstruction)])
      loss = discriminator_loss(real, made, kind)
      scaled = self._update.scaled(loss)
    reported = {
      DISCRIMINATOR_LOSS: loss,
      DISCRIMINATOR_ACCURACY: discriminator_accuracy(real, made, kind),
    }
    return self._update(loss, tape.gradient(scaled, self._judging), [], reported)


class PatchDiscriminator(tf.keras.Model):
  """Judges whether patches are of a reconstruction or of the image, beside what was corrupted.

  4x4 convolutions, two of stride 2 and two of stride 1, so that a judgement is of 34 x 34 pixels.
  Each image is normalised by itself, as by batch norm at the batch size of 1 of the paper.

  Args:
    filters: of the first convolution; doubled at each of the next two.
  """

  def __init__(self, filters: int = 64, **kwargs: Any) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.convolutions = [
      tf.keras.layers.Conv2D(
        width,
        4,
        strides=stride,
        padding="same",
        kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        dtype=self.dtype,
      )
      for width, stride in ((filters, 2), (2 * filters, 2), (4 * filters, 1), (1, 1))
    ]
    self.norms = [
      tf.keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, dtype=self.dtype)
      for _ in range(2)
    ]

  def call(self, pairs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Judges images.

    Args:
      pairs: two float32 `[B, H, W, C]` in [0, 1]: what the network saw, and what it is to have
        been.

    Returns:
      Judgements float32 `[B, H/4, W/4, 1]`, the higher the more like an image.
    """
    x = 2.0 * tf.concat(pairs, axis=-1) - 1.0
    first, *inner, last = self.convolutions
    x = tf.nn.leaky_relu(first(x), SLOPE)
    for convolution, norm in zip(inner, self.norms, strict=True):
      x = tf.nn.leaky_relu(norm(convolution(x)), SLOPE)
    return last(x)


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
