"""The same 24 images and labels in each kind of data that a training can learn from."""

import csv
import io
import tarfile

import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import tensorflow_datasets as tfds

from conrec_tf.data.sources import tfds_records

COUNTS = {"train": 20, "test": 4}
LABELS = ("iris", "rose")
# Those of TFDS lie in memory, or only stream, or are reached in their files by number.
OF_TFDS = {
  "tfds_in_memory": "tfrecord",
  "tfds_streamed": "tfrecord",
  "tfds_numbered": "array_record",
}
# Those that keep the order of the files; Parquet files are read in one of their own.
KINDS = ("image_folder", "label_table", "webdataset", "npz", *OF_TFDS)


def images(channels=3):
  """`{split: uint8 [n, 24, 32, C]}`, each of another tint, without a generator of numbers."""
  rows, columns, colors = np.ogrid[:24, :32, :channels]
  count = sum(COUNTS.values())
  pixels = np.stack(
    [7 * rows + (3 + number) * columns + 50 * colors + 11 * number for number in range(count)]
  )
  pixels = (pixels % 256).astype(np.uint8)
  return {"train": pixels[: COUNTS["train"]], "test": pixels[COUNTS["train"] :]}


def write(kind, folder, monkeypatch):
  """Writes them, and returns keyword arguments of the configuration that reads them."""
  if kind in OF_TFDS:
    return _write_tfds(kind, folder, monkeypatch)
  values = dict(dataset=kind, data_dir=str(folder), train_split="train", eval_split="test")
  if kind == "npz":
    arrays = {f"x_{split}": pixels for split, pixels in images().items()}
    arrays |= {f"y_{split}": np.arange(count) % 2 for split, count in COUNTS.items()}
    np.savez(folder / "images.npz", **arrays)
    return values | dict(data_dir=str(folder / "images.npz"))
  samples = [
    (split, LABELS[number % 2], f"{number:02}.png", _png(image))
    for split, pixels in images().items()
    for number, image in enumerate(pixels)
  ]
  if kind == "parquet":
    for split in COUNTS:
      rows = [
        {"image": content, "label": label} for part, label, _, content in samples if part == split
      ]
      parquet.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return values
  if kind == "webdataset":
    for split in COUNTS:
      with tarfile.open(folder / f"{split}-000.tar", "w") as archive:
        for part, label, name, content in samples:
          if part == split:
            _add(archive, name, content)
            _add(archive, name.replace(".png", ".cls"), label.encode())
    return values
  for split, label, name, content in samples:
    place = folder / split / (label if kind == "image_folder" else "")
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)
  if kind == "image_folder":
    return values
  table = folder / "labels.csv"
  with table.open("w") as file:
    rows = [(f"{split}/{name}", label, split) for split, label, name, _ in samples]
    csv.writer(file).writerows([("image", "label", "split"), *rows])
  return values | dict(dataset="image_folder", label_table=str(table))


def write_masks(folder):
  """Writes them with masks of their bright halves, and returns what reads them."""
  for split, pixels in images().items():
    for number, image in enumerate(pixels):
      for kind, content in (("images", image), ("masks", image[..., 0] // 128)):
        place = folder / split / kind
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02}.png").write_bytes(_png(content))
  return dict(
    dataset="image_folder",
    data_dir=str(folder),
    train_split="train",
    eval_split="test",
    train_mode="segment",
    crops_per_image=1,
  )


def _write_tfds(kind, folder, monkeypatch):
  builder = TintedImages(data_dir=str(folder), file_format=OF_TFDS[kind])
  builder.download_and_prepare()
  if kind != "tfds_in_memory":
    monkeypatch.setattr(tfds_records, "BYTES_IN_MEMORY", 1000)  # less than they need
  return dict(dataset=builder.name, data_dir=str(folder))


class TintedImages(tfds.core.GeneratorBasedBuilder):
  """The images as a set of TensorFlow Datasets."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    label = tfds.features.ClassLabel(names=LABELS)
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({"image": image, "label": label})
    )

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(pixels) for split, pixels in images().items()}

  def _generate_examples(self, pixels):
    for number, image in enumerate(pixels):
      yield number, {"image": image, "label": number % 2}


def _png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "PNG")
  return buffer.getvalue()


def _add(archive, name, content):
  info = tarfile.TarInfo(name)
  info.size = len(content)
  archive.addfile(info, io.BytesIO(content))
