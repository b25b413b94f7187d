"""Datasets by name: a folder of images, an archive, or one of TensorFlow Datasets."""

from collections.abc import Callable
import dataclasses

from conrec_tf.config import Config, UsageError
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.image_folder import open_image_folder
from conrec_tf.data.npz import open_npz
from conrec_tf.data.tfds import open_tfds

OWN_DATA: dict[str, Callable[[Config], DatasetSource]] = {
  "image_folder": open_image_folder,
  "npz": open_npz,
}


def load_dataset(config: Config) -> DatasetSource:
  """Loads the dataset that `config.dataset` names: an image folder, an archive, or TFDS's.

  Raises:
    UsageError: it can't be opened; see the module of each kind.
  """
  return OWN_DATA.get(config.dataset, open_tfds)(config)


def load_eval_dataset(config: Config, source: DatasetSource) -> DatasetSource:
  """Loads the labelled dataset of linear evaluation: `eval_dataset`, or the training's own.

  Args:
    config: the options of the run.
    source: dataset that the network learns from; the other one gets as many channels.

  Raises:
    UsageError: it can't be opened or has no labels.
  """
  if not config.eval_dataset:
    return source
  channels = source.channels if source.channels in (1, 3) else 0
  eval_source = load_dataset(
    dataclasses.replace(
      config,
      dataset=config.eval_dataset,
      data_dir=config.eval_data_dir or config.data_dir,
      train_split=config.eval_train_split,
      label_mode="auto",
      image_channels=channels,
    )
  )
  if not eval_source.class_names:
    raise UsageError(f"eval_dataset must have labels. Received: {config.eval_dataset}")
  if eval_source.channels != source.channels:
    raise UsageError(
      f"eval_dataset must have {source.channels} channels. Received: {eval_source.channels}"
    )
  return eval_source
