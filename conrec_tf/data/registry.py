"""Datasets by name: a folder of images, archives, or one of TensorFlow Datasets."""

from collections.abc import Callable
import dataclasses
import logging

from conrec_tf.config import Config, EvaluationData
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.folds import with_fold_held_out
from conrec_tf.data.sources.image_folder import open_image_folder
from conrec_tf.data.sources.npz import open_npz
from conrec_tf.data.sources.parquet import open_parquet
from conrec_tf.data.sources.tfds import open_tfds
from conrec_tf.data.sources.webdataset import open_webdataset
from conrec_tf.data.split_checks import check_splits
from conrec_tf.errors import UsageError
from conrec_tf.segmentation.folder import open_masked_folder
from conrec_tf.segmentation.tfds import open_masked_tfds

logger = logging.getLogger(__name__)

EVALUATION = {True: "takes the central 87.5 % of images", False: "takes whole images"}
OWN_DATA: dict[str, Callable[[Config], DatasetSource]] = {
  "image_folder": open_image_folder,
  "npz": open_npz,
  "webdataset": open_webdataset,
  "parquet": open_parquet,
}


def load_dataset(config: Config, center_crop: bool | None = None) -> DatasetSource:
  """Loads the dataset that `config.dataset` names: an image folder, an archive, or TFDS's.

  Args:
    config: the options of the run.
    center_crop: whether evaluation crops, as a network is known to have been evaluated; None
      decides by the data. `config.eval_crop` comes first.

  Raises:
    UsageError: it can't be opened; see the module of each kind.
  """
  if config.is_segmenting:
    opened = open_masked_folder if config.dataset == "image_folder" else open_masked_tfds
    return dataclasses.replace(opened(config), center_crop=False)
  source = _folds(config) if config.cv_fold else _opened(config)
  by_data = not source.one_size
  crop = {"center": True, "none": False}.get(config.eval_crop, center_crop)
  if crop is None:
    crop = by_data
  elif crop != by_data and config.eval_crop == "auto":
    logger.info("Evaluation %s, as the network was evaluated before", EVALUATION[crop])
  return dataclasses.replace(source, center_crop=crop)


def load_eval_dataset(
  config: Config, source: DatasetSource, center_crop: bool | None = None
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
  eval_source = source.without_stand_ins
  if config.eval_dataset:
    eval_source = _other_dataset(config, source, center_crop)
  if config.is_pretraining and eval_source.class_names:
    eval_source = eval_source.labelled
  if config.mode in ("train", "train_then_eval", "eval"):
    check_splits(config, eval_source)
  return eval_source


def _opened(config: Config) -> DatasetSource:
  """Opens a dataset without masks; for finetuning, images without a label are left out."""
  source = OWN_DATA.get(config.dataset, open_tfds)(config)
  return source.labelled if config.train_mode == "finetune" else source


def _folds(config: Config) -> DatasetSource:
  """Opens the dataset of a fold, of which nothing but the train split needs to be there."""
  source = _opened(dataclasses.replace(config, eval_split=config.train_split))
  return with_fold_held_out(source, *config.fold)


def _other_dataset(
  config: Config, source: DatasetSource, center_crop: bool | None
) -> DatasetSource:
  """Loads `eval_dataset`; see `load_eval_dataset`."""
  channels = source.channels if source.channels in (1, 3) else 0
  try:
    eval_source = load_dataset(EvaluationData.of(config, channels), center_crop)
  except UsageError as error:  # it speaks of options that training has of the same kind
    raise UsageError(f"Of eval_dataset={config.eval_dataset}: {error}") from error
  if not eval_source.class_names:
    raise UsageError(f"eval_dataset must have labels. Received: {config.eval_dataset}")
  if eval_source.channels != source.channels:
    raise UsageError(
      f"eval_dataset must have {source.channels} channels. Received: {eval_source.channels}"
    )
  return eval_source.without_stand_ins
