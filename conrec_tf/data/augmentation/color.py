"""Colour of a view: jitter and grey, on planes `[C, H, W]` of float32 in [0, 1]."""

import tensorflow as tf

from conrec_tf.data.augmentation.control_flow import maybe_apply, switch_case


def apply_color(view: tf.Tensor, drawn: dict[str, tf.Tensor]) -> tf.Tensor:
  """Jitters (in the drawn order, clipping after each) and removes colour; `[H, W, C]`."""
  # Planes are contiguous: several times faster than [H, W, 3] with its short last axis.
  planes = transpose(view, [2, 0, 1])
  if view.shape[-1] == 3:
    amounts = tf.stack([drawn[kind.__name__] for kind in KINDS])
    planes = maybe_apply(drawn["jitter"], _jitter, planes, amounts, drawn["order"])
    planes = maybe_apply(drawn["grey"], _grey, planes)
  else:  # as the authors: one channel always changes in contrast, then brightness
    planes = brightness(contrast(planes, drawn["contrast"]), drawn["brightness"])
  return transpose(planes, [1, 2, 0])


def brightness(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """Multiplies; SimCLR's second version, unlike an additive change."""
  return planes * factor


def contrast(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """Moves each channel away from its mean by `factor`; `[C, H, W]`."""
  mean = tf.reduce_mean(planes, axis=[1, 2], keepdims=True)
  return planes * factor + mean * (1.0 - factor)


def saturation(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """Scales HSV saturation by `factor`, up to 1; `[3, H, W]`.

  With V the largest channel and m the smallest, saturation is (V - m) / V, and
  every channel x keeps its share of V - m: x' = V - (V - x) min(factor, V / (V - m)).
  """
  value, chroma = _value_and_chroma(planes)
  scale = tf.minimum(factor, tf.math.divide_no_nan(value, chroma))
  return planes * scale + (value - value * scale)


def hue(planes: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
  """Turns the HSV hue by `delta` of a full circle, in [-0.5, 0.5]; `[3, H, W]`.

  A channel is a trapezoid over the hue circle, so that no trip through HSV is needed: with
  smallest channel m, chroma c and hue s in sextants, red is m + c clip(|s - 3| - 1, 0, 1),
  green m + c clip(2 - |s - 2|, 0, 1) and blue m + c clip(2 - |s - 4|, 0, 1).
  """
  red, green, blue = tf.unstack(planes)
  value, chroma = _value_and_chroma(planes)
  least = value - chroma
  # Choosing is slow: sextants are chosen together with what is divided, as multiples of chroma.
  difference = tf.where(
    value == red,
    green - blue,
    tf.where(value == green, blue - red + 2.0 * chroma, red - green + 4.0 * chroma),
  )
  sextant = tf.math.divide_no_nan(difference, chroma) + 6.0 * delta
  sextant -= 6.0 * tf.floor(sextant / 6.0)
  return tf.stack(
    [
      least + chroma * tf.clip_by_value(trapezoid, 0.0, 1.0)
      for trapezoid in (
        tf.abs(sextant - 3.0) - 1.0,
        2.0 - tf.abs(sextant - 2.0),
        2.0 - tf.abs(sextant - 4.0),
      )
    ]
  )


def grey(planes: tf.Tensor) -> tf.Tensor:
  """Returns luma (ITU-R 601) in all three channels; `[3, H, W]`."""
  red, green, blue = tf.unstack(planes)
  luma = 0.2989 * red + 0.5870 * green + 0.1140 * blue
  return tf.stack([luma, luma, luma])


# As graphs, each is traced once for all its places and all calls.
KINDS = (brightness, contrast, saturation, hue)
_KINDS = tuple(tf.function(kind, autograph=False) for kind in KINDS)
_grey = tf.function(grey, autograph=False)


@tf.function(autograph=False)
def _jitter(planes: tf.Tensor, amounts: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
  """Applies the kinds with their amounts in an order, and clips after each."""
  for kind in tf.unstack(order):
    planes = tf.clip_by_value(switch_case(kind, _KINDS, planes, amounts[kind]), 0.0, 1.0)
  return planes


def _value_and_chroma(planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the largest channel, and by how much it exceeds the smallest; `[H, W]` each."""
  red, green, blue = tf.unstack(planes)
  value = tf.maximum(tf.maximum(red, green), blue)
  return value, value - tf.minimum(tf.minimum(red, green), blue)


def transpose(values: tf.Tensor, order: list[int]) -> tf.Tensor:
  """Transposes float32 as int32, which oneDNN, slow for small images, leaves alone."""
  return tf.bitcast(tf.transpose(tf.bitcast(values, tf.int32), order), tf.float32)
