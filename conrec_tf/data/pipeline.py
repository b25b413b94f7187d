"""From a `DatasetSource` to batches: shuffle records, decode once, two views, corrupt, batch."""

from collections.abc import Callable, Iterator
import functools
import inspect
import logging
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from conrec_tf.config import Augmentation, Experiment, Objective, Training
from conrec_tf.data.augmentation.corruption import corrupt
from conrec_tf.data.augmentation.finetune import (
  cropped_reduction,
  make_cropped,
  make_zoomed,
  zoomed_reduction,
)
from conrec_tf.data.augmentation.resizing import evaluation_image, evaluation_reduction
from conrec_tf.data.augmentation.views import (
  largest_share,
  make_view,
  random_window,
  view_reduction,
)
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.records import TEACHER_VECTOR, Record
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.stream import WHOLE, WorkerShard, training_records

logger = logging.getLogger(__name__)

# From (position in the stream, record) to a training example.
Augment = Callable[[tf.Tensor, Record], Record]

# What `make_view` takes that are options, of views of any size.
VIEW_OPTIONS = [
  name
  for name in inspect.signature(make_view).parameters
  if hasattr(Augmentation, name) and name != "crop_min_area"
]


def pretraining_batches(
  config: Experiment,
  source: DatasetSource | None = None,
  shard: WorkerShard = WHOLE,
  image_size: int | None = None,
) -> tf.data.Dataset:
  """Returns endless batches of two augmented views for pre-training.

  Every epoch holds `examples // train_batch_size` batches; what is left over is
  dropped. Which images come and what is drawn for them depends only on `config.seed` and
  on the position in the stream, so that any process can begin at any step.

  Args:
    source: the dataset, or None to load the one that `config` names.
    shard: the part of each batch that this process takes.
    image_size: height and width of the views, pixels; None takes `config.image_size`. What is
      drawn doesn't depend on it: a smaller view shows the same part of the image.

  Returns:
    `tf.data.Dataset` of `{corrupted, target}`, each float32 `[B, 2, H, W, C]` in [0, 1]; with
    `local_crops` also `local_crops`, float32 `[B, N, h, w, C]`, with
    `lineareval_while_pretraining` `label`, int64 `[B]`, and `teacher_vector`, float32 `[B, F]`,
    where records have one. B is the part of the batch.

  Raises:
    UsageError: the batch is larger than the split.
  """
  source = source or load_dataset(config)
  with_labels = config.lineareval_while_pretraining
  size, local = image_size or config.image_size, local_crops(config)
  augment = two_views(source, config, size, config.seed, with_labels, local)
  return shuffled_batches(source, config, augment, shard)


def validation_batches(source: DatasetSource, augment: Augment, batch_size: int) -> tf.data.Dataset:
  """Returns the eval split in a random order, the same each time, in two views.

  Views are as of `pretraining_batches`. As the contrastive loss depends on them, all batches are of
  one size and of any classes: files are often sorted by class. The first images come again, in
  other views, where the last batch would be smaller. There are fewer in that of a smaller split.
  Records that stream are in the order of their files.

  Args:
    augment: what `two_views` returned.
  """
  batch_size = min(batch_size, source.eval.num_examples)
  count = math.ceil(source.eval.num_examples / batch_size) * batch_size
  order = np.random.default_rng(0).permutation(source.eval.num_examples)
  records = source.eval.rows.part(order)().repeat().take(count).enumerate()
  images = records.map(augment, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class Crops(NamedTuple):
  """Random crops of an image that are resized to one size.

  Attributes:
    number: how many.
    size: height and width, pixels.
    min_area, max_area: the smallest and the largest share of the image's area.
  """

  number: int
  size: int
  min_area: float
  max_area: float

  def reduction(self, full_size: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Returns by how much an image can be reduced for them; seeds are int64 `[number, 2]`."""
    return view_reduction(full_size, tf.unstack(seeds), *self[1:])

  def function(self, options: Augmentation) -> Callable[..., tf.Tensor]:
    """Returns the function of (image, seed, full_size) that makes one, traced once."""
    values = {name: getattr(options, name) for name in VIEW_OPTIONS}
    return _view_function(
      **values, image_size=self.size, crop_min_area=self.min_area, crop_max_area=self.max_area
    )


def local_crops(objective: Objective) -> Crops | None:
  """Returns the small crops that a training compares with whole views, or None."""
  if "local_crops" not in objective.objectives:
    return None
  return Crops(
    objective.local_crops,
    objective.local_crop_size,
    objective.local_crop_min_area,
    objective.local_crop_max_area,
  )


def warn_of_long_images(source: DatasetSource, config: Training) -> None:
  """Says of how many images views show all, as no crop is as large as the smallest that is asked.

  Of images whose sizes nobody knows nothing is said.
  """
  if source.train.shapes is None:
    return
  sizes = source.train.shapes[:, :2]
  if config.window_size:
    sizes = np.minimum(sizes, config.window_size)
  shares = largest_share(sizes)
  for name in ("crop_min_area", *(("local_crop_min_area",) if local_crops(config) else ())):
    smallest = getattr(config, name)
    if smallest < 1 and (count := int(np.sum(shares < smallest))):
      logger.warning(
        "%d of %d training images are too long for crops of sides from 3:4 to 4:3 and --%s=%g of "
        "the area, and are shown in whole; the longest takes %.2g at most",
        count,
        len(shares),
        name,
        smallest,
        shares.min(),
      )


def two_views(
  source: DatasetSource,
  options: Augmentation,
  image_size: int,
  seed: int,
  with_labels: bool = False,
  local: Crops | None = None,
) -> Augment:
  """Returns the function of (position in the stream, record) that makes a training example.

  Args:
    options: of the views.
    image_size: height and width of the two views, pixels.
    with_labels: whether an example has its label.
    local: crops that come beside the views, as `local_crops`.
  """
  whole = Crops(2, image_size, options.crop_min_area, 1.0)

  def augment(position: tf.Tensor, record: Record) -> Record:
    seeds = tf.random.experimental.stateless_split(
      tf.stack([tf.constant(seed, tf.int64), position]), 4
    )
    drawn = {"target": (whole, seeds[:2])}
    if local:
      local_seed = tf.random.experimental.stateless_fold_in(seeds[1], local.number)
      local_seeds = tf.random.experimental.stateless_split(local_seed, local.number)
      drawn["local_crops"] = local, local_seeds
    if options.window_size:
      window_seed = tf.random.experimental.stateless_fold_in(seeds[0], options.window_size)
      image = random_window(source.decode(record["image"]), options.window_size, window_seed)
      full_size = tf.shape(image)[:2]
    else:
      image, full_size = source.decode_for(
        record["image"],
        lambda size: tf.reduce_min([crops.reduction(size, of) for crops, of in drawn.values()]),
      )
    made = {
      name: [crops.function(options)(image, each, full_size) for each in tf.unstack(crop_seeds)]
      for name, (crops, crop_seeds) in drawn.items()
    }
    made["corrupted"] = made["target"]
    if options.corruption != "none":
      pairs = zip(made["target"], tf.unstack(seeds[2:]), strict=True)
      made["corrupted"] = [_corrupted_view(*pair) for pair in pairs]
    batch = {name: tf.stack(images) for name, images in made.items()}
    if with_labels:
      batch["label"] = record["label"]
    if TEACHER_VECTOR in record:
      batch[TEACHER_VECTOR] = record[TEACHER_VECTOR]
    return batch

  key = "two views", options, image_size, seed, with_labels, local
  return source.traced_once(key, augment)


# Traced once for both views and all datasets.
_corrupted_view = tf.function(corrupt, autograph=False)


@functools.cache
def _view_function(**options: Any) -> Callable[..., tf.Tensor]:
  """Returns `make_view` of (image, seed, full_size) as a graph."""

  @tf.function(autograph=False)
  def view_of(image: tf.Tensor, seed: tf.Tensor, full_size: tf.Tensor) -> tf.Tensor:
    return make_view(image, seed, full_size=full_size, **options)

  return view_of


def finetuning_batches(
  config: Training,
  source: DatasetSource,
  shard: WorkerShard = WHOLE,
  image_size: int | None = None,
) -> tf.data.Dataset:
  """Returns endless batches of labelled images for finetuning, augmented without colour.

  They are `{image, label}`: float32 `[B, H, W, C]` in [0, 1] and int64 `[B]`.
  """
  make, reduction = {
    "crop": (make_cropped, cropped_reduction),
    "zoom": (make_zoomed, zoomed_reduction),
  }[config.supervised_augmentation]
  seed, size, flips = config.seed, image_size or config.image_size, config.random_flip != "none"

  @tf.autograph.experimental.do_not_convert  # AutoGraph takes seconds, nothing needs it
  def augment(position: tf.Tensor, record: Record) -> Record:
    seeds = tf.stack([tf.constant(seed, tf.int64), position])
    image, full_size = source.decode_for(
      record["image"], lambda full_size: reduction(full_size, seeds, size)
    )
    image = make(image, seeds, image_size=size, full_size=full_size, flips=flips)
    return {"image": image, "label": record["label"]}

  return shuffled_batches(source, config, augment, shard)


def shuffled_batches(
  source: DatasetSource, options: Training, augment: Augment, shard: WorkerShard
) -> tf.data.Dataset:
  """Returns endless batches of `augment(position in the stream, record)`."""
  batch_size = options.train_batch_size
  records = training_records(source.train, batch_size, options.seed, shard)
  images = records.map(augment, tf.data.AUTOTUNE, deterministic=True)
  size = batch_size // shard.num_workers
  return images.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
  source: DatasetSource, records: tf.data.Dataset, image_size: int, batch_size: int
) -> tf.data.Dataset:
  """Returns images once, without augmentation; the last batch may be smaller.

  Images are float32 `[B, H, W, C]` in [0, 1] and labels int64 `[B]`, or 0.
  """

  def prepare(record: Record) -> tuple[tf.Tensor, tf.Tensor]:
    image, _ = source.decode_for(
      record["image"], lambda size: evaluation_reduction(size, image_size, source.center_crop)
    )
    label = record.get("label", tf.constant(0, tf.int64))
    return evaluation_image(image, image_size, source.center_crop), label

  prepare = source.traced_once(("evaluation", image_size), prepare)
  images = records.map(prepare, tf.data.AUTOTUNE, deterministic=True)
  return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def split_batches(
  source: DatasetSource, split: Split, options: Experiment
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
  """Yields the images and labels of a split as `evaluation_batches`, from memory where they fit."""
  sizes = options.evaluation_size, options.eval_batch_size
  return source.batch_cache(
    (split, *sizes), lambda: evaluation_batches(source, split.records(), *sizes)
  )
