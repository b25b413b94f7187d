"""A TFDS dataset of colour photographs of differing sizes, in the layout of Oxford Flowers."""

import io

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds


class TinyFlowers(tfds.core.GeneratorBasedBuilder):
  """Three classes, each with its own hue; 24 train, 12 validation, 18 test images."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "file_name": tfds.features.Text(),
          "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=["rose", "iris", "daisy"]),
        }
      )
    )

  def _split_generators(self, dl_manager):
    return {
      name: self._generate_examples(stream, count)
      for stream, (name, count) in enumerate(dict(train=24, validation=12, test=18).items())
    }

  def _generate_examples(self, stream, count):
    for index in range(count):
      rng = np.random.default_rng([stream, index])
      height, width = rng.integers(40, 64, 2)
      image = rng.integers(0, 128, (height, width, 3), dtype=np.uint8)
      image[..., index % 3] += 127
      yield index, {"file_name": f"{index}.jpg", "image": image, "label": index % 3}


class TinyMasks(tfds.core.GeneratorBasedBuilder):
  """Bright squares on noise with their masks, 1 and 2; 6 train and 3 test images.

  The second of each split lies on its side, as its EXIF data says, and its mask doesn't.
  """

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(None, None, 3)),
          "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        }
      )
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(0, 6), "test": self._generate_examples(1, 3)}

  def _generate_examples(self, stream, count):
    for index in range(count):
      rng = np.random.default_rng([stream, index])
      mask = np.ones([40 + index, 50, 1], np.uint8)
      mask[10:20, 10 + index : 20 + index] = 2
      image = rng.integers(0, 100, (*mask.shape[:2], 3), np.uint8) + 100 * (mask == 2)
      image = image.astype(np.uint8)
      yield index, {"image": turned(image) if index == 1 else image, "segmentation_mask": mask}


def turned(image):
  """A PNG file that holds an image turned to the left, and says so."""
  exif, file = Image.Exif(), io.BytesIO()
  exif[0x0112] = 6
  Image.fromarray(np.rot90(image)).save(file, "PNG", exif=exif.tobytes())
  return io.BytesIO(file.getvalue())


class TinyRegression(tfds.core.GeneratorBasedBuilder):
  """Images with a number instead of a class."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(8, 8, 3)), "label": np.float32}
      )
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    yield 0, {"image": np.zeros((8, 8, 3), np.uint8), "label": 0.5}


class TinyNamed(tfds.core.GeneratorBasedBuilder):
  """Images and labels under other names, and a second label."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "photo": tfds.features.Image(shape=(8, 8, 3)),
          "species": tfds.features.ClassLabel(names=["cat", "dog"]),
          "breed": tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
      )
    )

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples() for name in ("train", "test")}

  def _generate_examples(self):
    for index in range(6):
      image = np.full((8, 8, 3), index, np.uint8)
      yield index, {"photo": image, "species": index % 2, "breed": index % 3}


class TinyScenes(tfds.core.GeneratorBasedBuilder):
  """Images with none, one or several labels."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(8, 8, 3)),
          "label": tfds.features.Sequence(tfds.features.ClassLabel(names=["sky", "sea", "tree"])),
        }
      )
    )

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples() for name in ("train", "test")}

  def _generate_examples(self):
    for index in range(8):
      marks = [place for place in range(3) if index >> place & 1]
      yield index, {"image": np.full((8, 8, 3), index, np.uint8), "label": marks}
