"""A TFDS dataset of images of floats."""

import numpy as np
import tensorflow_datasets as tfds


class TinyFloats(tfds.core.GeneratorBasedBuilder):
  """Grey values from 0 to 1 in train, to 255 in test."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    image = tfds.features.Image(shape=(24, 24, 1), dtype=np.float32)
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"image": image}))

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(1.0), "test": self._generate_examples(255.0)}

  def _generate_examples(self, white):
    for index in range(4):
      image = np.linspace(0, white, 24 * 24, dtype=np.float32).reshape(24, 24, 1)
      yield index, {"image": image}
