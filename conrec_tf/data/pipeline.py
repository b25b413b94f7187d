"""From a `DatasetSource` to batches: shuffle records, decode once, two views, corrupt, batch."""

from typing import NamedTuple

import tensorflow as tf

from conrec_tf.config import UsageError
from conrec_tf.data.augmentation.corruption import corrupt
from conrec_tf.data.augmentation.finetune import make_cropped, make_zoomed
from conrec_tf.data.augmentation.views import make_view
from conrec_tf.data.registry import load_dataset

SHUFFLE_BYTES = 64 * 2**20
CENTRE_CROP = 0.875
LARGEST_UNCROPPED = 32


class Share(NamedTuple):
  """What a process takes of the stream of batches.

  Attributes:
    index, count: of the parts that each batch has; parts are consecutive images.
    first_step: how many batches to pass over, at the cost of an epoch's encoded records.
  """

  index: int = 0
  count: int = 1
  first_step: int = 0


def pretraining_batches(config, source=None, share=Share()):  # noqa: B008  # it is immutable
  """Endless batches of two augmented views for pre-training.

  Every epoch holds `examples // train_batch_size` batches; what is left over is
  dropped. What is drawn for an image depends only on `config.seed` and on its
  position in the stream, so that an iterator restored from a checkpoint goes on
  as if it had never stopped.

  Args:
    config: `Config`.
    source: `DatasetSource`, or None to open `config.dataset`.
    share: `Share`.

  Returns:
    `tf.data.Dataset` of `{corrupted, target}`, each float32 `[B, 2, H, W, C]` in [0, 1]; with
    `lineareval_while_pretraining` also `label`, int64 `[B]`. B is the share of the batch.

  Raises:
    UsageError: the batch is larger than the split.
  """
  source = source or load_dataset(config)
  return _shuffled_batches(config, source, two_views(config, source), share)


def validation_batches(config, source):
  """The eval split once, in its own order, in two views as for pre-training.

  Returns:
    As of `pretraining_batches`, with as many images a batch, or fewer in a smaller split.
  """
  images = (
    source.eval.records()
    .enumerate()
    .map(two_views(config, source), tf.data.AUTOTUNE, deterministic=True)
  )
  batch_size = min(config.train_batch_size, source.eval.num_examples)
  return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def two_views(config, source):
  """The function of (position in the stream, record) that makes a training example."""

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position, record):
    image = source.decode(record["image"])
    seeds = tf.random.experimental.stateless_split(
      tf.stack([tf.constant(config.seed, tf.int64), position]), 4
    )
    targets = [
      make_view(
        image,
        seed,
        image_size=config.image_size,
        color_jitter_strength=config.color_jitter_strength,
        use_blur=config.use_blur,
      )
      for seed in tf.unstack(seeds[:2])
    ]
    if config.corruption == "none":
      corrupted = targets
    else:
      corrupted = [corrupt(view, seed) for view, seed in zip(targets, tf.unstack(seeds[2:]))]
    batch = {"corrupted": tf.stack(corrupted), "target": tf.stack(targets)}
    if config.lineareval_while_pretraining:
      batch["label"] = record["label"]
    return batch

  return augment


def finetuning_batches(config, source, share=Share()):  # noqa: B008
  """Endless batches of labelled images for finetuning, augmented without colour.

  Args and Raises: as of `pretraining_batches`.

  Returns:
    `tf.data.Dataset` of `{image, label}`: float32 `[B, H, W, C]` in [0, 1] and int64 `[B]`.
  """

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position, record):
    seed = tf.stack([tf.constant(config.seed, tf.int64), position])
    make = {"crop": make_cropped, "zoom": make_zoomed}[config.supervised_augmentation]
    return {
      "image": make(source.decode(record["image"]), seed, image_size=config.image_size),
      "label": record["label"],
    }

  return _shuffled_batches(config, source, augment, share)


def _shuffled_batches(config, source, augment, share):
  """Batches of `augment(position in the stream, record)`."""
  size = config.train_batch_size // share.count
  records = shuffled_records(source.train, config.train_batch_size, config.seed, share.first_step)
  records = records.enumerate(share.first_step * config.train_batch_size)
  if share.count > 1:  # before anything is decoded
    records = records.filter(lambda position, _: position // size % share.count == share.index)
  images = records.map(augment, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(split, batch_size):
  """Whole batches in a split.

  Raises:
    UsageError: there is none.
  """
  if batch_size > split.num_examples:
    raise UsageError(
      f"train_batch_size must be at most {split.num_examples}, the images in "
      f"{split.name}. Received: {batch_size}"
    )
  return split.num_examples // batch_size


def shuffled_records(split, batch_size, seed, first_step=0):
  """Encoded records, shuffled anew each epoch, endlessly; the buffer takes at most 64 MiB."""
  return _shuffled(split.records(), split, batch_size, seed, first_step)


def batch_ids(config, source, step):
  """Which images a training step took: `config.train_batch_size` numbers within its split."""
  batch_size = config.train_batch_size
  numbers = tf.data.Dataset.range(source.train.num_examples)
  stream = _shuffled(numbers, source.train, batch_size, config.seed, step - 1)
  return [int(number) for number in stream.take(batch_size).as_numpy_iterator()]


def _shuffled(elements, split, batch_size, seed, first_step):
  """Elements, one for each record of a split, in the order of training after some steps."""
  buffer = min(split.num_examples, max(batch_size, int(SHUFFLE_BYTES / (split.record_bytes + 1))))
  elements = elements.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
  steps = steps_per_epoch(split, batch_size)
  for _ in range(first_step // steps):
    iter(elements)  # each iterator is the next epoch's
  stream = elements.take(steps * batch_size).repeat()
  passed = first_step % steps * batch_size
  return stream.skip(passed) if passed else stream


def evaluation_batches(config, source, split):
  """A split once, in its own order, without augmentation.

  Returns:
    `tf.data.Dataset` of (images float32 `[B, H, W, C]` in [0, 1], labels int64 `[B]`);
    the last batch may be smaller.
  """

  @tf.autograph.experimental.do_not_convert
  def prepare(record):
    image = source.decode(record["image"])
    return evaluation_image(image, config.image_size, source.one_size), record["label"]

  images = split.records().map(prepare, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(config.eval_batch_size).prefetch(tf.data.AUTOTUNE)


def evaluation_image(image, image_size, one_size):
  """Resizes bicubically; images of differing sizes lose all but the central 87.5 %.

  As the authors (and SimCLR): no crop at 32 pixels or less.

  Args:
    image: uint8 `[h, w, C]`.
    image_size: pixels.
    one_size: whether all images of the dataset have one size.

  Returns:
    float32 `[image_size, image_size, C]` in [0, 1].
  """
  if not one_size and image_size > LARGEST_UNCROPPED:
    shape = tf.shape(image)[:2]
    side = tf.cast(tf.round(CENTRE_CROP * tf.cast(tf.reduce_min(shape), tf.float32)), tf.int32)
    offset = (shape - side) // 2
    image = image[offset[0] : offset[0] + side, offset[1] : offset[1] + side]
  image = tf.image.resize(image, [image_size, image_size], "bicubic") / 255.0
  return tf.clip_by_value(image, 0.0, 1.0)
