"""From a `DatasetSource` to batches: shuffle records, decode once, two views, corrupt, batch."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from conrec_tf.config import Config, UsageError
from conrec_tf.data.augmentation.corruption import corrupt
from conrec_tf.data.augmentation.evaluation import evaluation_image
from conrec_tf.data.augmentation.finetune import make_cropped, make_zoomed
from conrec_tf.data.augmentation.views import make_view
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.registry import load_dataset

SHUFFLE_BYTES = 64 * 2**20

# From (position in the stream, record) to a training example.
Augment = Callable[[tf.Tensor, dict[str, tf.Tensor]], dict[str, tf.Tensor]]


class Share(NamedTuple):
  """What a process takes of the stream of batches.

  Attributes:
    worker, num_workers: which of the equal parts of each batch; parts are consecutive images.
    first_step: how many batches to pass over, at the cost of an epoch's encoded records.
  """

  worker: int = 0
  num_workers: int = 1
  first_step: int = 0


WHOLE = Share()


def pretraining_batches(
  config: Config, source: DatasetSource | None = None, share: Share = WHOLE
) -> tf.data.Dataset:
  """Returns endless batches of two augmented views for pre-training.

  Every epoch holds `examples // train_batch_size` batches; what is left over is
  dropped. What is drawn for an image depends only on `config.seed` and on its
  position in the stream, so that an iterator restored from a checkpoint goes on
  as if it had never stopped.

  Args:
    config: the options of the run.
    source: the dataset, or None to load the one that `config` names.
    share: the part of each batch that this process takes.

  Returns:
    `tf.data.Dataset` of `{corrupted, target}`, each float32 `[B, 2, H, W, C]` in [0, 1]; with
    `lineareval_while_pretraining` also `label`, int64 `[B]`. B is the share of the batch.

  Raises:
    UsageError: the batch is larger than the split.
  """
  source = source or load_dataset(config)
  augment = two_views(config, source)
  return _shuffled_batches(source, config.train_batch_size, config.seed, augment, share)


def validation_batches(config: Config, source: DatasetSource) -> tf.data.Dataset:
  """Returns the eval split once, in its own order, in two views as for pre-training.

  Returns:
    See `pretraining_batches`; a batch holds as many images, or fewer in a smaller split.
  """
  images = (
    source.eval.records()
    .enumerate()
    .map(two_views(config, source), tf.data.AUTOTUNE, deterministic=True)
  )
  batch_size = min(config.train_batch_size, source.eval.num_examples)
  return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def two_views(config: Config, source: DatasetSource) -> Augment:
  """Returns the function of (position in the stream, record) that makes a training example."""

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position: tf.Tensor, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
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


def finetuning_batches(
  source: DatasetSource,
  batch_size: int,
  image_size: int,
  augmentation: str,
  seed: int,
  share: Share = WHOLE,
) -> tf.data.Dataset:
  """Returns endless batches of labelled images for finetuning, augmented without colour.

  Args:
    source: the dataset; it has labels.
    batch_size: images of a batch, of all processes together.
    image_size: height and width, pixels.
    augmentation: crop or zoom; see `make_cropped` and `make_zoomed`.
    seed: seed of the run.
    share: the part of each batch that this process takes.

  Returns:
    `tf.data.Dataset` of `{image, label}`: float32 `[B, H, W, C]` in [0, 1] and int64 `[B]`.

  Raises:
    UsageError: the batch is larger than the split.
  """
  make = {"crop": make_cropped, "zoom": make_zoomed}[augmentation]

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position: tf.Tensor, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    place = tf.stack([tf.constant(seed, tf.int64), position])
    return {
      "image": make(source.decode(record["image"]), place, image_size=image_size),
      "label": record["label"],
    }

  return _shuffled_batches(source, batch_size, seed, augment, share)


def _shuffled_batches(
  source: DatasetSource, batch_size: int, seed: int, augment: Augment, share: Share
) -> tf.data.Dataset:
  """Returns batches of `augment(position in the stream, record)`."""
  size = batch_size // share.num_workers
  records = shuffled_records(source.train, batch_size, seed, share.first_step)
  records = records.enumerate(share.first_step * batch_size)
  if share.num_workers > 1:  # before anything is decoded
    records = records.filter(
      lambda position, _: position // size % share.num_workers == share.worker
    )
  images = records.map(augment, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(split: Split, batch_size: int) -> int:
  """Returns how many whole batches a split holds.

  Raises:
    UsageError: there is none.
  """
  if batch_size > split.num_examples:
    raise UsageError(
      f"train_batch_size must be at most {split.num_examples}, the images in "
      f"{split.name}. Received: {batch_size}"
    )
  return split.num_examples // batch_size


def shuffled_records(
  split: Split, batch_size: int, seed: int, first_step: int = 0
) -> tf.data.Dataset:
  """Returns encoded records, shuffled anew each epoch, endlessly; the buffer takes 64 MiB at most.

  Args:
    split: the split.
    batch_size: images of a batch; an epoch consists of whole batches.
    seed: seed of the run.
    first_step: how many batches to pass over.
  """
  return _shuffled(split.records(), split, batch_size, seed, first_step)


def batch_ids(split: Split, batch_size: int, seed: int, step: int) -> list[int]:
  """Returns which images of a split a training step took: `batch_size` numbers within it."""
  numbers = tf.data.Dataset.range(split.num_examples)
  stream = _shuffled(numbers, split, batch_size, seed, step - 1)
  return [int(number) for number in stream.take(batch_size).as_numpy_iterator()]


def _shuffled(
  elements: tf.data.Dataset, split: Split, batch_size: int, seed: int, first_step: int
) -> tf.data.Dataset:
  """Returns elements, one for each record of a split, in the order of training after some steps."""
  buffer = min(split.num_examples, max(batch_size, int(SHUFFLE_BYTES / (split.record_bytes + 1))))
  elements = elements.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
  steps = steps_per_epoch(split, batch_size)
  for _ in range(first_step // steps):
    iter(elements)  # each iterator is the next epoch's
  stream = elements.take(steps * batch_size).repeat()
  passed = first_step % steps * batch_size
  return stream.skip(passed) if passed else stream


def evaluation_batches(
  source: DatasetSource, split: Split, image_size: int, batch_size: int
) -> tf.data.Dataset:
  """Returns a split once, in its own order, without augmentation.

  Args:
    source: the dataset.
    split: a split of it.
    image_size: height and width, pixels.
    batch_size: images of a batch; the last batch may be smaller.

  Returns:
    `tf.data.Dataset` of (images float32 `[B, H, W, C]` in [0, 1], labels int64 `[B]`).
  """

  @tf.autograph.experimental.do_not_convert
  def prepare(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    image = source.decode(record["image"])
    return evaluation_image(image, image_size, source.one_size), record["label"]

  images = split.records().map(prepare, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)
