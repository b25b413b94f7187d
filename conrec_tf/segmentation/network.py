"""A segmentation head on the decoder."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.errors import UsageError
from conrec_tf.export.saved_model import Exported
from conrec_tf.models import ConRec, build_model
from conrec_tf.pretrained.load import parts_of
from conrec_tf.segmentation.tiling import predict_image


class SegmentationHead(tf.keras.Model):
  """A 1x1 convolution on the decoder's last level; `[B, H, W, f]` to logits `[B, H, W, K]`."""

  def __init__(self, classes: int, **kwargs: Any) -> None:
    super().__init__(dtype=tf.keras.backend.floatx(), **kwargs)
    self.convolution = tf.keras.layers.Conv2D(classes, 1, dtype=self.dtype)

  def call(self, maps: tf.Tensor) -> tf.Tensor:
    """Returns logits `[B, H, W, K]` of maps `[B, H, W, f]`."""
    return self.convolution(maps)


def segmentation_logits(
  model: ConRec, head: SegmentationHead, images: tf.Tensor, training: bool = False
) -> tf.Tensor:
  """Computes logits float32 `[B, H, W, K]` of images float32 `[B, H, W, C]` in [0, 1]."""
  assert model.decoder is not None
  features, skips = model.encoder(images, training=training)
  _, maps = model.decoder(features, skips, training=training)
  return head(maps[-1])


def segment_images(
  model: ConRec, head: SegmentationHead, images: tf.Tensor, training: bool = False
) -> tf.Tensor:
  """Computes probabilities of images of any size at once, without tiles.

  Args:
    images: float32 `[B, H, W, C]` in [0, 1]; padded by their border to the network's stride.
    training: whether batch norm takes the statistics of the batch.

  Returns:
    float32 `[B, H, W, K]`.
  """
  stride, padded = model.encoder.stride, images
  sizes = [
    size if size is not None else tf.shape(images)[axis] for axis, size in enumerate(images.shape)
  ]
  for axis in (1, 2):
    side = sizes[axis]
    if isinstance(side, int) and side % stride == 0:
      continue  # TensorFlow Lite can't gather along a whole axis
    # Of numbers from 0: of negative ones ONNX has another remainder, which cut images off.
    index = tf.minimum(tf.range((side + stride - 1) // stride * stride), side - 1)
    padded = tf.gather(padded, index, axis=axis)
  probabilities = tf.nn.softmax(segmentation_logits(model, head, padded, training))
  return probabilities[:, : sizes[1], : sizes[2]]


def exported_segmentation(model: ConRec, head: tf.keras.Model | None, metadata: dict) -> Exported:
  """Returns what is exported: probabilities `[B, H, W, K]` of images of any size, at once."""
  assert isinstance(head, SegmentationHead)
  parts = parts_of(model, head)
  return Exported(
    "probabilities",
    lambda images, training: segment_images(model, head, images, training),
    parts,
    [parts[name] for name in ("encoder", "decoder", "head")],
    functions={},
    signatures={"segment": "probabilities"},
  )


def build_segmentation_network(
  options: Training, channels: int, num_classes: int
) -> tuple[ConRec, SegmentationHead]:
  """Builds the network that options describe, with a segmentation head."""
  model = build_model(options, channels)
  return model, build_segmentation_head(model, channels, num_classes)


def build_segmentation_head(model: ConRec, channels: int, classes: int) -> SegmentationHead:
  """Builds a head with its variables on a built network, of images with so many channels."""
  head = SegmentationHead(classes, name="segmentation_head")
  side = 2 * model.encoder.stride
  segmentation_logits(model, head, tf.zeros([1, side, side, channels]))
  return head


class Segmenter:
  """Says of each pixel of an image of any size how likely it is of each class.

  Args:
    model: a network with a decoder.
    tile: larger images are predicted in tiles of this side, pixels.
    flips: whether to average over mirror images.
  """

  def __init__(
    self, model: ConRec, head: SegmentationHead, tile: int = 512, flips: bool = False
  ) -> None:
    self._stride = model.encoder.stride
    self._context = receptive_context(self._stride)
    self._tile = max(math.ceil(tile / self._stride) * self._stride, 2 * self._context)
    self._flips = flips
    self._classes = head.convolution.filters

    @tf.function(reduce_retracing=True, autograph=False)
    def probabilities(images: tf.Tensor) -> tf.Tensor:
      return tf.nn.softmax(segmentation_logits(model, head, images))

    self._probabilities = probabilities

  def __call__(self, image: np.ndarray) -> np.ndarray:
    """Returns probabilities float32 `[h, w, K]` of an image float32 `[h, w, C]` in [0, 1].

    Raises:
      UsageError: one isn't finite.
    """
    axes = [(), (0,), (1,), (0, 1)] if self._flips else [()]
    found = np.mean([np.flip(self._predicted(np.flip(image, axis)), axis) for axis in axes], axis=0)
    if not np.isfinite(found).all():  # which would pass for the background
      raise UsageError(
        "the network must give finite numbers for each pixel. "
        "Received: others for an image of {} x {}".format(*image.shape[:2])
      )
    return found

  def _predicted(self, image: np.ndarray) -> np.ndarray:
    return predict_image(
      lambda tiles: self._probabilities(tf.constant(tiles)).numpy(),
      image,
      stride=self._stride,
      context=self._context,
      tile=self._tile,
      outputs=self._classes,
    )


def receptive_context(stride: int) -> int:
  """Returns how many pixels around one its answer depends on at most, a multiple of the stride.

  In a U-net two 3x3 convolutions at each level of encoder and decoder, and the rounding of pools,
  reach less than 8 strides. Other encoders reach further: what is beyond hardly matters.
  """
  return 8 * stride
