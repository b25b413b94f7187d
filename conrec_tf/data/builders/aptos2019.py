"""APTOS 2019: photographs of retinas, graded 0 to 4 for diabetic retinopathy."""

from collections.abc import Iterable
import concurrent.futures
import contextlib
import io
import logging
import os
import pathlib

from PIL import Image
import tensorflow_datasets as tfds

from conrec_tf.data.builders.drawn import Examples
from conrec_tf.data.files.label_table import read_lines
from conrec_tf.errors import UsageError, as_usage_error, listed

logger = logging.getLogger(__name__)

SIZE = 224
GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")
ROWS = 3662  # of Kaggle's table
TABLE, IMAGES = "train.csv", "train_images"
COLUMNS = ("id_code", "diagnosis")
ENDINGS = (".png", ".jpg", ".jpeg")  # Kaggle's are PNG


class Aptos2019(tfds.core.GeneratorBasedBuilder):
  """The labelled images of the Kaggle challenge, each squashed to 224x224 once.

  As the authors: Lanczos, without keeping the aspect ratio.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "3662 images."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unzip train.csv and train_images/ of "
    "https://www.kaggle.com/c/aptos2019-blindness-detection/data into data_dir."
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
    places = [pathlib.Path(self.data_dir_root)]
    with contextlib.suppress(AssertionError):  # there is no such folder, or nothing in it
      places.insert(0, pathlib.Path(dl_manager.manual_dir))
    return {"train": self._generate_examples(unzipped(places))}

  def _generate_examples(self, folder: pathlib.Path) -> Examples:
    grades = read_grades(folder / TABLE)
    paths = image_paths(folder / IMAGES, grades)
    if len(grades) != ROWS:
      logger.warning("Kaggle's train.csv has %d rows, %s has %d", ROWS, folder / TABLE, len(grades))
    logger.info("Squashing %d images of %s", len(grades), folder / IMAGES)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow works beside Python
      for (name, grade), image in zip(grades.items(), pool.map(squash, paths), strict=True):
        yield name, {"id": name, "image": io.BytesIO(image), "label": grade}


def unzipped(places: list[pathlib.Path]) -> pathlib.Path:
  """Returns the folder that holds the table: one of some places, or a folder in one of them.

  Raises:
    UsageError: there is none, or several below the places and none in them.
  """
  within = [folder for place in places for folder in sorted(place.iterdir()) if folder.is_dir()]
  found = [place for place in places if (place / TABLE).is_file()][:1]
  found = found or [folder for folder in within if (folder / TABLE).is_file()]
  if len(found) == 1:
    return found[0]
  there = [
    os.fspath(path)
    for folder in found or (*places, *within)
    for path in sorted(folder.iterdir())
    if path.suffix in (".csv", ".zip")
  ]
  raise UsageError(
    f"dataset=aptos2019 must have {TABLE} and {IMAGES}/ of "
    "https://www.kaggle.com/c/aptos2019-blindness-detection/data, unzipped, in one folder: "
    f"{' or '.join(map(str, places))}. Received: {listed(there) or 'no table'}"
  )


def read_grades(table: pathlib.Path) -> dict[str, int]:
  """Reads a CSV file with the columns `id_code` and `diagnosis`; blanks around cells don't count.

  Returns:
    The grade, 0 to 4, of each image by its name without ending, in the order of the rows.

  Raises:
    UsageError: the table can't be read (see `read_lines`), or a row is without a name, without a
      grade of those, or of an image that an earlier one is of; the message has the row's line.
  """
  grades, lines = dict[str, int](), dict[str, int]()
  for line, cells in read_lines(TABLE, os.fspath(table), COLUMNS):
    name, grade = (cells[column] for column in COLUMNS)
    where = f"in line {line} of {table}"
    if not name:
      raise UsageError(f"{TABLE} must have an id_code in each row. Received: none {where}")
    if name in lines:
      raise UsageError(
        f"{TABLE} must name each image once. Received: {name} in line {lines[name]} and {where}"
      )
    if grade not in map(str, range(len(GRADES))):
      raise UsageError(
        f"{TABLE}: the diagnosis must be 0 to {len(GRADES) - 1}. "
        f"Received: {grade or 'none'} for {name} {where}"
      )
    grades[name], lines[name] = int(grade), line
  if not grades:
    raise UsageError(f"{TABLE} must have a row for each image. Received: none in {table}")
  return grades


def image_paths(folder: pathlib.Path, names: Iterable[str]) -> list[str]:
  """Finds the images of some names, in their order, in a folder and those below it.

  JPEG files, of which re-uploads are, and images that no name is of are said.

  Raises:
    UsageError: a name has no image, or several, none of which is where Kaggle has it.
  """
  there: dict[str, list[str]] = {}
  for parent, _, files in os.walk(folder, followlinks=True):
    for file in sorted(files):
      stem, ending = os.path.splitext(file)
      if ending.lower() in ENDINGS and not file.startswith("."):
        there.setdefault(stem, []).append(os.path.join(parent, file))
  names = list(names)
  if missing := [f"{name}.png" for name in names if name not in there]:
    raise UsageError(
      f"{folder} must hold an image of each row of {TABLE}. "
      f"Received: {len(missing)} of {len(names)} without one, {listed(missing)}"
    )
  for name in names:
    if len(there[name]) > 1 and (kaggles := os.path.join(folder, f"{name}.png")) in there[name]:
      there[name] = [kaggles]
  if twice := [path for name in names if len(there[name]) > 1 for path in there[name]]:
    raise UsageError(f"{folder} must hold each image once. Received: {listed(twice)}")
  if others := sorted(there.keys() - set(names)):
    logger.warning(
      "%d images of %s have no row in %s and are left out: %s",
      len(others),
      folder,
      TABLE,
      listed(others),
    )
  paths = [there[name][0] for name in names]
  if jpeg := [path for path in paths if not path.lower().endswith(".png")]:
    logger.warning(
      "%d of %d images of %s are JPEG files, where Kaggle's are PNG: not the pixels of the paper",
      len(jpeg),
      len(paths),
      folder,
    )
  return paths


def squash(path: str) -> bytes:
  """Returns a picture at 224x224 as PNG bytes.

  Raises:
    UsageError: it can't be read or decoded.
  """
  expected = f"{IMAGES}/ must hold images that can be decoded"
  with as_usage_error(expected, path, Exception), Image.open(path) as picture:
    small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  small.save(buffer, "PNG")
  return buffer.getvalue()
