"""Looks through a folder for images and tables."""

from collections.abc import Iterator, Sequence
import dataclasses
import logging
import os

from conrec_tf.errors import UsageError
from conrec_tf.files import is_output_folder

logger = logging.getLogger(__name__)

DICOM_ENDINGS = (".dcm", ".dicom")
NIFTI_ENDINGS = (".nii", ".nii.gz")
ENDINGS = (
  *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp"),
  *(".tif", ".tiff", ".webp", ".jp2", ".avif", ".heic", ".heif", ".jxl", *DICOM_ENDINGS),
  *(".ppm", ".pgm", ".pnm", *NIFTI_ENDINGS),
)
# How an image begins, for files whose names have no ending, or a number for one.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
# What unpacking, cameras, servers and file managers leave behind, beside names with a dot in front.
LEFT_BEHIND = {
  *("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
  *("Thumbs.db", "desktop.ini"),
}
# Tables of the images beside them, as Hugging Face's ImageFolder names them.
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
LINES_AT_MOST = 10


@dataclasses.dataclass
class _Folder:
  """Names below the root of the files in one folder."""

  images: list[str] = dataclasses.field(default_factory=list)
  tables: list[str] = dataclasses.field(default_factory=list)  # of METADATA
  others: list[str] = dataclasses.field(default_factory=list)
  passed_over: list[str] = dataclasses.field(default_factory=list)
  has_folders: bool = False
  is_output: bool = False  # of this program


def existing_path(data_dir: str, dataset: str, what: str) -> str:
  """Returns `data_dir` as a path that exists.

  Raises:
    UsageError: there is nothing there; `what` says what it should be for the dataset.
  """
  path = os.path.expanduser(data_dir)
  if not path or not os.path.exists(path):
    raise UsageError(
      f"data_dir must be {what}, for dataset={dataset}. "
      f"Received: {data_dir or 'nothing'}" + (", which doesn't exist" if path else "")
    )
  return path


def image_files(root: str) -> list[str]:
  """Returns the paths of all images below a folder; see `images_and_tables`."""
  return images_and_tables(root)[0]


def images_and_tables(root: str) -> tuple[list[str], list[str]]:
  """Returns the paths of all images below a folder, relative to it, and of METADATA.

  Links are followed. Hidden names and what programs leave behind are passed over, as is what this
  one has written: a run below the folder would learn from the pictures of its own report. A folder
  that loses files is a warning that names it.

  Raises:
    UsageError: a folder can't be read, or there are no images.
  """
  folders = dict(_walk(root, "", (os.path.realpath(root),)))
  images = [name for folder in folders.values() for name in folder.images]
  others = [name for folder in folders.values() for name in folder.others]
  passed_over = [name for folder in folders.values() for name in folder.passed_over]
  outputs = [name for name, folder in folders.items() if folder.is_output]
  if not images:
    raise UsageError(
      f"data_dir must hold images ({', '.join(ENDINGS)}). Received: {root} with "
      f"{len(others)} other files"
      + (f" and {len(outputs)} folders that runs have left" if outputs else "")
    )
  if passed_over:
    logger.info(
      "Passed over %d hidden files and folders, e.g. %s", len(passed_over), min(passed_over)
    )
  if outputs:
    logger.info(
      "Passed over %d folders that runs of this program have left, e.g. %s",
      len(outputs),
      min(outputs),
    )
  if at_root := folders[""].others:
    logger.info("Left out %d files that aren't images, e.g. %s", len(at_root), min(at_root))
  _warn_of_lost_files({name: folder for name, folder in folders.items() if name})
  return images, sorted(name for folder in folders.values() for name in folder.tables)


def _walk(root: str, below: str, ancestors: tuple[str, ...]) -> Iterator[tuple[str, _Folder]]:
  """Yields `(name below the root, what lies there)`; a link to an ancestor ends the walk."""
  found, folders = _Folder(), []
  if below and is_output_folder(os.path.join(root, below)):
    found.is_output = True
    yield below, found
    return
  try:
    with os.scandir(os.path.join(root, below)) as entries:
      for entry in entries:
        name = f"{below}{os.sep}{entry.name}" if below else entry.name
        if entry.name.startswith(".") or entry.name in LEFT_BEHIND:
          found.passed_over.append(name)
        elif entry.is_dir():
          folders.append((name, entry))
        elif entry.name in METADATA:
          found.tables.append(name)
        elif _is_image(entry):
          found.images.append(name)
        else:
          found.others.append(name)
  except OSError as error:
    raise UsageError(
      f"data_dir must be a folder that can be read ({error.strerror}). Received: {error.filename}"
    ) from error
  found.has_folders = bool(folders)
  yield below, found
  for name, entry in folders:
    # A folder that is no link lies where its name says; asking for more would take its time.
    path = (
      os.path.realpath(entry.path) if entry.is_symlink() else f"{ancestors[-1]}{os.sep}{entry.name}"
    )
    if path not in ancestors:
      yield from _walk(root, name, (*ancestors, path))


def _is_image(entry: os.DirEntry) -> bool:
  ending = entry.name.rpartition(".")[1:]
  if ending[0] and not ending[1].isdecimal():  # DICOM's names are often numbers with dots
    return entry.name.lower().endswith(ENDINGS)
  try:
    with open(entry.path, "rb") as file:
      start = file.read(132)
      return start.startswith(BEGINNINGS) or start.endswith(b"DICM")
  except OSError:
    return False


def _warn_of_lost_files(folders: dict[str, _Folder]) -> None:
  lines = []
  for name, folder in sorted(folders.items()):
    if folder.others:
      count = len(folder.images) + len(folder.others)
      example = os.path.basename(min(folder.others))
      lines.append(f"{len(folder.others)} of {count} files in {name} aren't images, e.g. {example}")
    elif (
      not folder.images and not folder.tables and not folder.has_folders and not folder.is_output
    ):
      lines.append(f"{name} holds no files")
  for line in lines[:LINES_AT_MOST]:
    logger.warning("Lost: %s", line)
  if len(lines) > LINES_AT_MOST:
    logger.warning("Lost: and so on in %d more folders", len(lines) - LINES_AT_MOST)


def paths_below(root: str, names: Sequence[str]) -> Iterator[str]:
  """Returns the paths of files below a folder."""
  start = os.path.join(root, "")  # put together once, and not for each of many files
  return (start + name for name in names)


def base_name(name: str) -> str:
  """Returns what `os.path.basename` does, sooner."""
  return name.rpartition(os.sep)[2]


def without_ending(name: str) -> str:
  """Returns a name without the ending of an image file, if it has one.

  What comes after another dot belongs to the name, as in `1.2.840.0` or `v1.5_0003`.
  """
  stem, ending = os.path.splitext(name)
  if ending.lower() == ".gz":
    stem, inner = os.path.splitext(stem)
    ending = inner + ending
  return stem if ending.lower() in ENDINGS else name


def readable(name: str) -> str:
  """Returns a file's name as text that can be written, whatever bytes it has."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")
