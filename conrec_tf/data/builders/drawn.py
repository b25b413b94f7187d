"""Datasets whose pictures are drawn locally, from fixed seeds."""

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

SIZE = 128

Examples = Iterator[tuple[Any, dict[str, Any]]]  # of key and features


class DrawnPictures(tfds.core.GeneratorBasedBuilder):
  """Pictures uint8 `[128, 128, 1]` of some classes, which are equally frequent in each split.

  Attributes:
    CLASSES: their names.
    COUNTS: how many pictures each split has.
  """

  VERSION = tfds.core.Version("1.0.0")
  CLASSES: tuple[str, ...]
  COUNTS: dict[str, int]

  @abc.abstractmethod
  def picture(self, rng: np.random.Generator, label: int) -> np.ndarray:
    """Draws a picture of a class."""

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(SIZE, SIZE, 1), encoding_format="png"),
          "label": tfds.features.ClassLabel(names=self.CLASSES),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="https://arxiv.org/abs/2104.04323",
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    del dl_manager  # nothing to download
    return {
      name: self._generate_examples(stream, count)
      for stream, (name, count) in enumerate(self.COUNTS.items())
    }

  def _generate_examples(self, stream: int, count: int) -> Examples:
    for index in range(count):
      label = index % len(self.CLASSES)
      image = self.picture(np.random.default_rng([stream, index]), label)
      yield index, {"image": image, "label": label}
