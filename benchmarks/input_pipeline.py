"""Augmentation against a plain form of the same pipeline: tf.image calls, loops, NumPy.

    python -m benchmarks.input_pipeline --rounds=5 --views=200

Every row runs both through `Dataset.map` in turn; the table gives medians of views per second
and the median of the pairs' ratios. Where albumentations is installed its form of stage 1 (on
uint8, in one process) stands beside. Nothing else should run on the machine meanwhile.
"""

import argparse
import itertools
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from sklearn.datasets import load_sample_images  # noqa: E402
import tensorflow as tf  # noqa: E402

from conrec_tf.data.augmentation import (
  color,  # noqa: E402
  corruption,  # noqa: E402
  views,  # noqa: E402
)

RGB_SIZE, ONE_CHANNEL_SIZE = 224, 128
uniform = tf.random.uniform


def chance(probability):
  return uniform([]) < probability


def whole(low, high):
  return uniform([], low, high, tf.int32)


def plain_crop(image, size):
  begin, extent, _ = tf.image.sample_distorted_bounding_box(
    tf.shape(image),
    [[[0.0, 0.0, 1.0, 1.0]]],
    min_object_covered=0.0,
    aspect_ratio_range=(3 / 4, 4 / 3),
    area_range=(0.08, 1.0),
  )
  image = tf.image.convert_image_dtype(image, tf.float32)
  return tf.image.resize(tf.slice(image, begin, extent), [size, size], "bicubic")


def plain_jitter(view):
  for kind in tf.random.shuffle(tf.range(4)):
    if kind == 0:
      view = view * uniform([], 0.2, 1.8)
    elif kind == 1:
      view = tf.image.adjust_contrast(view, uniform([], 0.2, 1.8))
    elif kind == 2:
      view = tf.image.adjust_saturation(view, uniform([], 0.2, 1.8))
    else:
      view = tf.image.adjust_hue(view, uniform([], -0.2, 0.2))
    view = tf.clip_by_value(view, 0.0, 1.0)
  return view


def plain_blur(view):
  reach, sigma = view.shape[0] // 10 // 2, uniform([], 0.1, 2.0)
  kernel = tf.exp(-(tf.range(-reach, reach + 1.0) ** 2) / (2.0 * sigma**2))
  kernel = tf.tile(tf.reshape(kernel / tf.reduce_sum(kernel), [-1, 1, 1, 1]), [1, 1, 3, 1])
  for filters in (kernel, tf.transpose(kernel, [1, 0, 2, 3])):
    view = tf.nn.depthwise_conv2d(view[tf.newaxis], filters, [1, 1, 1, 1], "SAME")[0]
  return view


def plain_view(image, size):
  view = tf.ensure_shape(plain_crop(image, size), [size, size, image.shape[-1]])
  view = tf.image.random_flip_left_right(view)
  if image.shape[-1] == 1:
    view = tf.image.adjust_contrast(view, uniform([], 0.2, 1.8)) * uniform([], 0.2, 1.8)
    return tf.clip_by_value(view, 0.0, 1.0)
  if chance(0.8):
    view = plain_jitter(view)
  if chance(0.2):
    view = tf.tile(tf.image.rgb_to_grayscale(view), [1, 1, 3])
  if chance(0.5):
    view = plain_blur(view)
  return tf.clip_by_value(view, 0.0, 1.0)


def paste(view, top, left, content):
  rows, columns = tf.range(tf.shape(content)[0]) + top, tf.range(tf.shape(content)[1]) + left
  where = tf.stack(tf.meshgrid(rows, columns, indexing="ij"), axis=-1)
  return tf.tensor_scatter_nd_update(view, where, content)


def plain_shuffle(view):
  size, channels = view.shape[0], view.shape[-1]
  result, count = view, 0
  while count < 15 and chance(0.99):
    height, width = whole(1, size // 5), whole(1, size // 5)
    top, left = whole(0, size - height + 1), whole(0, size - width + 1)
    window = view[top : top + height, left : left + width]
    pixels = tf.random.shuffle(tf.reshape(window, [-1, channels]))
    result = paste(result, top, left, tf.reshape(pixels, tf.shape(window)))
    count += 1
  return result


def plain_in_paint(view):
  size, channels = view.shape[0], view.shape[-1]
  count = 0
  while count < 5 and chance(0.95):
    height, width = whole(int(0.14 * size), size // 5), whole(int(0.14 * size), size // 5)
    colour = tf.ones([height, width, 1]) * uniform([channels])
    view = paste(view, whole(3, size - height - 2), whole(3, size - width - 2), colour)
    count += 1
  return view


def plain_out_paint(view):
  size, channels = view.shape[0], view.shape[-1]
  result, count = tf.ones_like(view) * uniform([channels]), tf.constant(0)
  low, high = size - 3 * size // 7 + 1, size - 2 * size // 7 + 1
  while count < 5 and (count == 0 or chance(0.95)):
    height, width = whole(low, high), whole(low, high)
    top, left = whole(3, size - height - 2), whole(3, size - width - 2)
    result = paste(result, top, left, view[top : top + height, left : left + width])
    count += 1
  return result


def plain_intensity_map(view):
  def bezier(view, points, falls):
    t = np.linspace(0.0, 1.0, 100000)[:, np.newaxis]  # as Models Genesis
    x, y = (3 * t * (1 - t) ** 2 * points[0] + 3 * t**2 * (1 - t) * points[1] + t**3).T
    return np.interp(view, x, y[::-1] if falls else y).astype(np.float32)

  return tf.numpy_function(bezier, [view, uniform([2, 2]), chance(0.5)], tf.float32)


def plain_corrupt(view):
  kind = whole(0, 3 if view.shape[-1] == 3 else 4)
  if kind == 0:
    view = plain_shuffle(view)
  elif kind == 1:
    view = plain_in_paint(view)
  elif kind == 2:
    view = plain_out_paint(view)
  else:
    view = tf.ensure_shape(plain_intensity_map(view), view.shape)
  return view


def pipelines(read, size, stages):
  """Ours and the plain one, from `read()` to two views; maps of a seed."""

  def ours(seed):
    image, result = read(), []
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    for view_seed, corruption_seed in zip(seeds[:2], seeds[2:], strict=True):
      result.append(views.make_view(image, view_seed, image_size=size))
      if stages == 2:
        result.append(corruption.corrupt(result[-1], corruption_seed))
    return result

  def plain(_):
    image, result = read(), []
    for _ in range(2):
      result.append(plain_view(image, size))
      if stages == 2:
        result.append(plain_corrupt(result[-1]))
    return result

  return ours, plain


def parts(image, view):
  """name: (ours, plain) for what makes up the two stages; maps of a seed, one view each."""
  size, channels, shape = view.shape[0], view.shape[-1], view.shape.as_list()
  yield (
    "crop, resize",
    lambda s: views.crop_and_resize(image, *views.draw_crop(s, tf.shape(image)), size),
    lambda _: plain_crop(image, size),
  )
  if channels == 3:
    always = {"jitter": tf.constant(True), "grey": tf.constant(False)}
    yield (
      "colour jitter",
      lambda s: color.apply_color(view, views.draw_color(s) | always),
      lambda _: plain_jitter(view),
    )
    yield (
      "blur",
      lambda s: views.blur(view, views.draw_color(s)["sigma"]),
      lambda _: plain_blur(view),
    )
  yield (
    "shuffling",
    lambda s: corruption.shuffle_blocks(view, *corruption.draw_blocks(s, shape[:2], 0.99)),
    lambda _: plain_shuffle(view),
  )
  yield (
    "in-painting",
    lambda s: corruption.in_paint(view, *corruption.draw_in_painting(s, shape)),
    lambda _: plain_in_paint(view),
  )
  yield (
    "out-painting",
    lambda s: corruption.out_paint(view, *corruption.draw_out_painting(s, shape)),
    lambda _: plain_out_paint(view),
  )
  if channels == 1:
    yield (
      "intensity map",
      lambda s: corruption.map_intensity(view, *corruption.draw_intensity_map(s)),
      lambda _: plain_intensity_map(view),
    )


def rate(stream, elements):
  """Elements per second over the next ones."""
  began = time.perf_counter()
  for _ in itertools.islice(stream, elements):
    pass
  return elements / (time.perf_counter() - began)


def albumentations_stream(encoded, size):
  """Two views of stage 1 an element, as albumentations makes them; None without it."""
  try:
    import albumentations
    import cv2
  except ImportError:
    return None
  augment = albumentations.Compose(
    [
      albumentations.RandomResizedCrop(
        size=(size, size), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=cv2.INTER_CUBIC
      ),
      albumentations.HorizontalFlip(p=0.5),
      albumentations.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
      albumentations.ToGray(p=0.2),
      albumentations.GaussianBlur(blur_limit=(23, 23), sigma_limit=(0.1, 2.0), p=0.5),
    ]
  )
  encoded = np.frombuffer(encoded.numpy(), np.uint8)

  def stream():
    while True:
      image = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
      yield [augment(image=image)["image"] for _ in range(2)]

  return stream()


def measure(rows, rounds, count):
  """Prints a row for each (name, views per element, maps, another stream or None)."""
  print(f"{'views/s':32}{'plain':>8}{'ours':>8}{'ours / plain':>14}{'albumentations':>16}")
  for name, per_element, maps, other in rows:
    # Nothing is prefetched: a stream that isn't measured must not work ahead meanwhile.
    streams = [
      iter(tf.data.Dataset.range(2**60).batch(2).map(function, tf.data.AUTOTUNE))
      for function in maps
    ]
    streams += [other] if other else []
    for stream in streams:
      rate(stream, 50)
    pairs = [
      [per_element * rate(stream, count // per_element) for stream in streams]
      for _ in range(rounds)
    ]
    ours, plain, *others = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratio = statistics.median(rates[0] / rates[1] for rates in pairs)
    print(
      f"{name:32}{plain:8.0f}{ours:8.0f}{ratio:14.2f}"
      + "".join(f"{rate:16.0f}" for rate in others),
      flush=True,
    )


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements a row")
  parser.add_argument("--views", type=int, default=200, help="views in a measurement")
  args = parser.parse_args()
  photo = tf.image.resize(load_sample_images().images[0], [375, 500], "area")
  photo = tf.cast(photo, tf.uint8)
  encoded = tf.io.encode_jpeg(photo, quality=90)
  shape = np.zeros([128, 128, 1], np.uint8)
  shape[30:100, 25:105] = 255
  for y in range(40):
    shape[45 + y, 40 : 41 + y] = 0
  shape = tf.constant(shape)

  def from_jpeg():
    return tf.io.decode_jpeg(encoded, 3)

  def from_memory():
    return photo

  def one_channel():
    return shape

  rows = [
    (
      f"{kind}, {name}",
      2,
      pipelines(read, size, stages),
      albumentations_stream(encoded, size) if (read, stages) == (from_jpeg, 1) else None,
    )
    for kind, read, size in (
      ("RGB 224 from JPEG", from_jpeg, RGB_SIZE),
      ("RGB 224", from_memory, RGB_SIZE),
      ("one channel 128", one_channel, ONE_CHANNEL_SIZE),
    )
    for name, stages in (("both stages", 2), ("stage 1", 1))
  ]
  for kind, image, size in (("RGB", photo, RGB_SIZE), ("one channel", shape, ONE_CHANNEL_SIZE)):
    view = tf.image.resize(image, [size, size]) / 255.0
    rows += [(f"{kind}: {name}", 1, maps, None) for name, *maps in parts(image, view)]
  measure(rows, args.rounds, args.views)


if __name__ == "__main__":
  main()
