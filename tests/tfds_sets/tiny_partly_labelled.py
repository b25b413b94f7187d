"""A TFDS dataset of which some images have no label."""

import numpy as np
import tensorflow_datasets as tfds


class TinyPartlyLabelled(tfds.core.GeneratorBasedBuilder):
  """Two classes told by brightness, and -1 of each fourth image; 24 train and 12 test images."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(24, 24, 3), encoding_format="png"),
          "label": tfds.features.ClassLabel(names=["dark", "bright"]),
        }
      )
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(0, 24), "test": self._generate_examples(1, 12)}

  def _generate_examples(self, stream, count):
    for index in range(count):
      rng = np.random.default_rng([stream, index])
      image = rng.integers(0, 128, (24, 24, 3), dtype=np.uint8) + 127 * np.uint8(index % 2)
      yield index, {"image": image, "label": -1 if index % 4 == 3 else index % 2}
