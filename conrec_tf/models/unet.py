"""The U-net (paper, section 2.1): encoder and decoder with skip connections."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from conrec_tf.models.encoder import Encoder
from conrec_tf.models.normalization import batch_norm

BATCH_NORM_EPSILON = 1e-5


class ConvBlock(tf.keras.layers.Layer):
  """Convolution with bias, batch norm, ReLU; `[B, h, w, c]` to `[B, h, w, filters]`."""

  def __init__(
    self,
    filters: int,
    kernel_size: int,
    batch_norm_decay: float = 0.9,
    epsilon: float = BATCH_NORM_EPSILON,
    global_bn: bool = True,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.convolution = tf.keras.layers.Conv2D(filters, kernel_size, padding="same")
    self.batch_norm = batch_norm(global_bn, momentum=batch_norm_decay, epsilon=epsilon)

  def build(self, input_shape: tf.TensorShape) -> None:
    self.convolution.build(input_shape)
    super().build(input_shape)

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Computes `[B, h, w, filters]` from `[B, h, w, c]`."""
    return self.normalize(self.convolve(inputs, self.convolution.kernel, training), training)

  def convolve(self, inputs: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
    """Convolves `[B, h, w, c]` with `[k, k, c, filters]` and adds the bias, which is fused."""
    return self.add_bias(self.convolution.convolution_op(inputs, kernel), training)

  def add_bias(self, convolved: tf.Tensor, training: bool) -> tf.Tensor:
    """Adds the bias to `[B, h, w, filters]`."""
    bias = tf.cast(self.convolution.bias, convolved.dtype)
    return tf.nn.bias_add(convolved, with_gradient_zero(bias) if training else bias)

  def normalize(self, convolved: tf.Tensor, training: bool) -> tf.Tensor:
    """Applies batch norm and ReLU to `[B, h, w, filters]`."""
    return tf.nn.relu(self.batch_norm(convolved, training=training))


@tf.custom_gradient
def with_gradient_zero(bias: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
  """Gives a bias the gradient 0, which it has where batch norm follows in training.

  Computed, it is rounding, which in bfloat16 moved biases by hundreds of standard deviations,
  until no digits were left for the signal.
  """
  return tf.identity(bias), lambda upstream: tf.zeros(bias.shape, bias.dtype)


class UNetEncoder(Encoder):
  """Contracting path: at each level two 3x3 blocks, between levels a 2x2 max-pool.

  Args:
    base_filters: filters of the first level; level l has base_filters * 2**l.
    depth: number of levels.
    batch_norm_decay: momentum of the moving statistics.
    gradient_checkpointing: whether the gradient computes inner maps again, in less memory.
    global_bn: whether batch norm looks at the batches of all replicas.
  """

  def __init__(
    self,
    base_filters: int = 64,
    depth: int = 4,
    batch_norm_decay: float = 0.9,
    gradient_checkpointing: bool = False,
    global_bn: bool = True,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.gradient_checkpointing = gradient_checkpointing
    self.filters = [base_filters * 2**level for level in range(depth)]
    self.levels = [
      [ConvBlock(filters, 3, batch_norm_decay, global_bn=global_bn) for _ in range(2)]
      for filters in self.filters
    ]

  @property
  def stride(self) -> int:
    """2**(depth - 1), for a max-pool between levels."""
    return 2 ** (len(self.levels) - 1)

  @property
  def num_skips(self) -> int:
    """The number of levels but the deepest."""
    return len(self.levels) - 1

  @property
  def num_blocks(self) -> int:
    """The number of blocks that `freeze` counts: the levels."""
    return len(self.levels)

  def freeze(self, blocks: int) -> None:
    """Freezes the first `blocks` levels, batch norm included."""
    for level in self.levels[:blocks]:
      for block in level:
        block.trainable = False

  def variables_by_level(self) -> list[list[tf.Variable]]:
    """Returns the trainable variables of each level."""
    return [
      [variable for block in level for variable in block.trainable_variables]
      for level in self.levels
    ]

  def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Encodes images.

    Args:
      images: float32 `[B, H, W, C]` in [0, 1]; H and W multiples of 2**(depth - 1).

    Returns:
      features `[B, H/2**(depth-1), W/2**(depth-1), base_filters * 2**(depth-1)]` and
      skips, a list of `[B, H/2**l, W/2**l, base_filters * 2**l]` for l = 0 ... depth-2.
    """
    skips, x = [], images
    for level, blocks in enumerate(self.levels):
      if level:
        skips.append(x)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
      x = sequential(blocks, training, self.gradient_checkpointing)(x)
    return x, skips


class UpConvBlock(ConvBlock):
  """`ConvBlock` on the nearest upsampling by 2 of x; see `UpConcatBlock`."""

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Computes `[B, 2h, 2w, filters]` from `[B, h, w, c]`."""
    kernel = tf.cast(self.convolution.kernel, inputs.dtype)
    size = tf.shape(inputs)
    output_shape = tf.stack([size[0], 2 * size[1], 2 * size[2], kernel.shape[-1]])
    convolved = tf.nn.conv2d_transpose(inputs, transposed_kernel(kernel), output_shape, 2, "SAME")
    return self.normalize(self.add_bias(convolved, training), training)


class UpConcatBlock(ConvBlock):
  """`ConvBlock` on [nearest upsampling by 2 of x, skip], without upsampling anything.

  A 3x3 window over an upsampled map sees only 2x2 distinct pixels, so that the part of the
  kernel that meets x is a transposed convolution with stride 2 and a composed 4x4 kernel:
  the same weights and the same function with less than half of the multiplications.
  """

  def build(self, input_shapes: Sequence[tf.TensorShape]) -> None:
    inputs, skip = input_shapes
    super().build([*skip[:-1], inputs[-1] + skip[-1]])

  def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
    """Joins `[x [B, h, w, c], skip [B, 2h, 2w, k]]` to `[B, 2h, 2w, filters]`."""
    x, skip = inputs
    kernel = tf.cast(self.convolution.kernel, x.dtype)
    of_x, of_skip = kernel[:, :, : x.shape[-1]], kernel[:, :, x.shape[-1] :]
    output_shape = tf.concat([tf.shape(skip)[:-1], kernel.shape[-1:]], axis=0)
    joined = self.convolve(skip, of_skip, training) + tf.nn.conv2d_transpose(
      x, transposed_kernel(of_x), output_shape, 2, "SAME"
    )
    return self.normalize(joined, training)


def transposed_kernel(kernel: tf.Tensor) -> tf.Tensor:
  """Returns the stride-2 transposed kernel `[4, 4, f, c]` of "upsample, then convolve with kernel".

  Args:
    kernel: `[3, 3, c, f]`. On one axis its taps a, b, c become c, b + c, a + b, a.
  """
  taps = tf.constant([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], kernel.dtype)
  return tf.einsum("ua,vb,abcf->uvfc", taps, taps, kernel)


class UNetDecoder(tf.keras.Model):
  """Expanding path: upsample, join with the skip, two 3x3 blocks; last a 1x1 sigmoid.

  As the authors: a skip first goes through a 1x1 block of the same width. Other arguments than
  these are those of `UNetEncoder`.

  Args:
    channels: channels of the reconstruction.
    depth: number of levels, the features among them.
    skip_connections: all, deep (that of the deepest level that has one) or none.
    num_skips: how many skips the encoder has, which are those of its deepest levels; None for one
      of each level.
  """

  def __init__(
    self,
    channels: int,
    base_filters: int = 64,
    depth: int = 4,
    batch_norm_decay: float = 0.9,
    gradient_checkpointing: bool = False,
    global_bn: bool = True,
    skip_connections: str = "all",
    num_skips: int | None = None,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.gradient_checkpointing = gradient_checkpointing
    filters = [base_filters * 2**level for level in range(depth - 1)]
    sizes: dict[str, Any] = dict(batch_norm_decay=batch_norm_decay, global_bn=global_bn)
    lacking = 0 if num_skips is None else depth - 1 - num_skips
    without = {"all": lacking, "deep": depth - 2, "none": depth - 1}[skip_connections]
    self.skip_blocks = [ConvBlock(width, 1, **sizes) for width in filters[without:]]
    self.levels = [
      [block(width, 3, **sizes) for block in (up, ConvBlock)]
      for up, width in zip(
        [UpConvBlock] * without + [UpConcatBlock] * len(self.skip_blocks), filters, strict=True
      )
    ]
    self.output_convolution = tf.keras.layers.Conv2D(channels, 1, dtype=self.variable_dtype)

  def call(
    self, features: tf.Tensor, skips: Sequence[tf.Tensor], training: bool = False
  ) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Reconstructs images.

    Args:
      skips: the encoder's skips, of which those of the deepest levels may be used alone.

    Returns:
      reconstruction float32 `[B, H, W, channels]` in [0, 1] and maps, a list of what each level
      gave, `[B, H/2**l, W/2**l, base_filters * 2**l]` for l = depth-2 ... 0.
    """
    x, maps, left = features, [], list(self.skip_blocks)
    of_each = [None] * (len(self.levels) - len(skips)) + list(skips)
    for skip, blocks in reversed(list(zip(of_each, self.levels, strict=True))):
      inputs = x
      if left:
        inputs = [x, sequential([left.pop()], training, self.gradient_checkpointing)(skip)]
      x = sequential(blocks, training, self.gradient_checkpointing)(inputs)
      maps.append(x)
    return tf.sigmoid(self.output_convolution(x)), maps


def sequential(
  blocks: Sequence[ConvBlock], training: bool, gradient_checkpointing: bool
) -> Callable[[Any], tf.Tensor]:
  """Returns a function that applies blocks one after the other."""
  calls: list[None] = []

  def run(x: Any) -> tf.Tensor:
    calls.append(None)
    for block in blocks:
      momentum = block.batch_norm.momentum
      if len(calls) > 1:
        block.batch_norm.momentum = 1.0  # the statistics moved when the maps were first computed
      x = block(x, training=training)
      block.batch_norm.momentum = momentum
    return x

  return tf.recompute_grad(run) if gradient_checkpointing and training else run
