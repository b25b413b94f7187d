"""Opens datasets by name: image files in any storage, arrays, or one of TensorFlow Datasets."""

from collections.abc import Callable
import dataclasses
import logging
import os

from conrec_tf.config import Data, Experiment
from conrec_tf.config.options.data import as_image_channels
from conrec_tf.config.options.option import section_with, written
from conrec_tf.data.augmentation.resizing import crops_centre
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.files.bucket import local_copy
from conrec_tf.data.label_subsets import with_share_of_labels
from conrec_tf.data.sources.image_folder import open_files, open_image_folder
from conrec_tf.data.sources.npz import open_npz
from conrec_tf.data.sources.parquet import open_parquet
from conrec_tf.data.sources.tfds import open_tfds
from conrec_tf.data.sources.webdataset import open_webdataset
from conrec_tf.data.splits import check_splits, with_fold_held_out
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

EVALUATION = {True: "takes the centre of images", False: "takes whole images"}
IMAGE_FILES: dict[str, Callable[[Data, str | None], DatasetSource]] = {
  "image_folder": open_image_folder,
  "webdataset": open_webdataset,
  "parquet": open_parquet,
}


def load_dataset(config: Experiment, center_crop: bool | None = None) -> DatasetSource:
  """Loads the dataset that `config.dataset` names, without masks.

  Commands that take images alone, see `Task.opens_training_data`, get all of its splits: also those
  that a fold or a share of the labels holds back from a training, and those without a label.

  Args:
    center_crop: whether evaluation crops, as a network is known to have been evaluated; None
      decides by the data. `config.eval_crop` comes first.

  Raises:
    UsageError: it can't be opened; see the module of each kind.
  """
  data = config.with_splits(config.train_split, config.train_split) if config.cv_fold else config
  source = _opened(data, None if config.mode == "check_data" else config.max_undecodable)
  if config.opens_training_data:
    if config.is_finetuning:
      source = source.labelled
    if config.cv_fold:
      source = with_fold_held_out(source, *config.fold)
    if config.train_label_fraction < 1:
      source = with_share_of_labels(source, config.train_label_fraction, config.seed)
  return _with_crop(source, config, center_crop)


def load_eval_dataset(
  config: Experiment, source: DatasetSource, center_crop: bool | None = None
) -> DatasetSource:
  """Loads the dataset of evaluation: `eval_dataset` with its labels, or the training's own.

  It has each image once; in training a good one may stand in for a bad one. Images without a label
  (-1) are left out. What is wrong with its splits is said; see `check_splits`.

  Args:
    config: the options of the run.
    source: dataset that the network learns from; the other one gets as many channels.
    center_crop: see `load_dataset`.

  Raises:
    UsageError: it can't be opened or has no labels, or groups stand in both of its splits.
  """
  eval_source = source
  if config.eval_dataset:
    eval_source = _with_crop(_eval_dataset(config, source.channels), config, center_crop)
    ordered = {frozenset(each.class_names) for each in (source, eval_source)}
    if config.label_order and frozenset(config.label_order) not in ordered:
      logger.warning(
        "label_order=%s doesn't count: it names neither the labels of dataset nor those of "
        "eval_dataset, %s",
        written(config.label_order),
        listed(eval_source.class_names),
      )
  eval_source = eval_source.without_stand_ins
  if config.is_pretraining and eval_source.class_names:
    eval_source = eval_source.labelled
  if config.learns_or_measures:
    check_splits(config, eval_source, bool(config.cv_fold or config.cv_folds))
  return eval_source


def load_files(
  config: Experiment, root: str, files: list[str], center_crop: bool | None = None
) -> DatasetSource:
  """Loads image files below a folder as one split, without labels; see `load_dataset`.

  Args:
    files: their names below `root`.
  """
  return _with_crop(open_files(config, root, files), config, center_crop)


def takes_centre(eval_crop: str, center_crop: bool | None, by_data: bool) -> bool:
  """Returns whether evaluation takes the central 87.5 % of images: by the first that says so.

  Args:
    eval_crop: the option of that name.
    center_crop: whether a network is known to have been evaluated so; None where that isn't known.
    by_data: whether images differ in size.
  """
  known = {"center": True, "none": False}.get(eval_crop, center_crop)
  return by_data if known is None else known


def _opened(data: Data, max_undecodable: str | None) -> DatasetSource:
  """Opens a dataset; None lets any number of image files fail, as `image_source` says."""
  if data.dataset in IMAGE_FILES:
    local = section_with(type(data), data, data_dir=local_copy(data.data_dir))
    source = IMAGE_FILES[data.dataset](local, max_undecodable)
    if local.data_dir == data.data_dir:
      return source
    return dataclasses.replace(source, name=os.path.basename(data.data_dir.rstrip("/")))
  return open_npz(data) if data.dataset == "npz" else open_tfds(data)


def _with_crop(
  source: DatasetSource, options: Experiment, center_crop: bool | None
) -> DatasetSource:
  """Returns a dataset that says whether evaluation crops; see `load_dataset`."""
  by_data = not source.one_size
  crop = takes_centre(options.eval_crop, center_crop, by_data)
  matters = crops_centre(options.evaluation_size, True)
  if crop != by_data and options.eval_crop == "auto" and matters:
    logger.info("Evaluation %s, as the network was evaluated before", EVALUATION[crop])
  return dataclasses.replace(source, center_crop=crop)


def _eval_dataset(data: Data, channels: int) -> DatasetSource:
  """Opens `eval_dataset`, which must have labels and as many channels as the training's images."""
  try:
    own = data.of_eval_dataset(as_image_channels(channels))
    eval_source = _opened(own, data.max_undecodable)
  except UsageError as error:  # it speaks of options that training has of the same kind
    raise UsageError(f"Of eval_dataset={data.eval_dataset}: {error}") from error
  if not eval_source.class_names:
    raise UsageError(f"eval_dataset must have labels. Received: {data.eval_dataset}")
  if eval_source.channels != channels:
    raise UsageError(
      f"eval_dataset must have {channels} channels. Received: {eval_source.channels}"
    )
  return eval_source
