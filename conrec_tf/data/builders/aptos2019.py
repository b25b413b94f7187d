"""APTOS 2019: photographs of retinas, graded 0 to 4 for diabetic retinopathy."""

from collections.abc import Iterator
import concurrent.futures
import csv
import io
import os
import pathlib
from typing import Any

from PIL import Image
import tensorflow_datasets as tfds

SIZE = 224
GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")

Examples = Iterator[tuple[Any, dict[str, Any]]]  # of key and features


class Aptos2019(tfds.core.GeneratorBasedBuilder):
  """The labelled images of the Kaggle challenge, each squashed to 224x224 once.

  As the authors: Lanczos, without keeping the aspect ratio.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "3662 images."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Download train.csv and train_images/ from "
    "https://www.kaggle.com/c/aptos2019-blindness-detection/data and put them into the "
    "folder that the error message names."
  )

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
          "label": tfds.features.ClassLabel(names=GRADES),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="https://www.kaggle.com/c/aptos2019-blindness-detection",
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    return {"train": self._generate_examples(pathlib.Path(dl_manager.manual_dir))}

  def _generate_examples(self, folder: pathlib.Path) -> Examples:
    table = folder / "train.csv"
    if not table.exists():
      raise FileNotFoundError(f"train.csv is expected in {folder}")
    with table.open(newline="") as file:
      rows = csv.DictReader(file)
      if not {"id_code", "diagnosis"} <= set(rows.fieldnames or ()):
        raise ValueError(
          "train.csv must have the columns id_code and diagnosis. "
          f"Received: {', '.join(rows.fieldnames or ['nothing'])}"
        )
      grades = {row["id_code"]: row["diagnosis"] for row in rows}
    for name, grade in grades.items():
      if grade not in map(str, range(len(GRADES))):
        raise ValueError(f"train.csv: the diagnosis must be 0 to 4. Received: {grade} for {name}")
    paths = [os.fspath(folder / "train_images" / f"{name}.png") for name in grades]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow works beside Python
      for (name, grade), image in zip(grades.items(), pool.map(squash, paths), strict=True):
        yield name, {"id": name, "image": io.BytesIO(image), "label": int(grade)}


def squash(path: str) -> bytes:
  """Returns a picture at 224x224 as PNG bytes."""
  with Image.open(path) as picture:
    small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  small.save(buffer, "PNG")
  return buffer.getvalue()
