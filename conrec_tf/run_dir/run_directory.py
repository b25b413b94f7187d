"""The files of a run: its `model_dir`.

Everything is written under a temporary name and renamed, so that a reader never
meets half a file.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
import fcntl
import json
import logging
import math
import os
import pathlib
import socket
import time
from typing import Any

from conrec_tf.config import Config, UsageError, listed, short_message
from conrec_tf.config.options import BY_CONTENT, current_settings

logger = logging.getLogger(__name__)

SEEDS = "seeds"  # in result.json of a folder of several
PROCESSES = "processes.jsonl"
IMAGES = "images.json"
CHECKPOINTS = "checkpoints"
STARTS_FROM = ("checkpoint", "encoder_weights")
SECONDS_TO_RETRY = 0.2  # where another process only looked whether the lock is taken
RENAMED_FILES = {PROCESSES: "sessions.jsonl"}  # the names that earlier versions gave


class RunDirectory:
  """A `model_dir` and what lies in it.

  Args:
    path: the folder; created by `start`.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    self.path = pathlib.Path(path)

  def start(
    self, config: Config, data: str = "", class_names: Sequence[str] = (), network: str = ""
  ) -> None:
    """Creates the folder, or checks that it belongs to the same training.

    Args:
      config: the options of the run.
      data: digest of what is learnt from; empty where nothing is.
      class_names: of its labels; empty where there are none.
      network: what tells the weights that training starts from, or empty; see `starting_network`.

    Raises:
      UsageError: the folder holds a run with other values of what determines
        training, or of other images, labels or names of labels, or can't be written.
    """
    stored = current_settings(self.read("config.json") or {})
    if stored.get("mixed_precision") == "auto":  # version 0.1.0 didn't keep what that was
      del stored["mixed_precision"]
    images = self.read(IMAGES) or {}
    moved = STARTS_FROM if network and images.get("network") == network else ()
    if stored:
      new = config.training_fingerprint
      changed = [
        f"{name}: {stored[name]} -> {value}"
        for name, value in new.items()
        if name in stored and stored[name] != value and name not in (*BY_CONTENT, *moved)
      ]
      if changed:
        raise UsageError(
          "model_dir must be new, or the values that determine training must be "
          f"those of the run in it. Received: {'; '.join(changed)} for {self.path}"
        )
    known, labels = images.get("digest"), other_labels(images, class_names)
    if data and known and (known != data or labels):
      received = f"others in {config.data_dir or config.dataset}"
      received += f", with {labels}" if labels else ""
      raise UsageError(
        "data_dir and train_split must give the images that the run began with (names, sizes, "
        f"labels, groups, which of them can't be decoded). Received: {received} for {self.path}"
      )
    with io_as_usage_error(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
    self.write("config.json", dataclasses.asdict(config))
    write_text(self.path / "flags.cfg", flagfile(config))

  @property
  def has_checkpoints(self) -> bool:
    """Whether a training has saved anything here."""
    return any((self.path / CHECKPOINTS).glob("ckpt-*.index"))

  @property
  def is_in_use(self) -> bool:
    """Whether a process trains here."""
    try:
      with open(self.path / "lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
      return False
    except BlockingIOError:
      return True
    return False

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Keeps other trainings out; the lock of a process that died is free.

    Temporary files of processes that died are removed.

    Raises:
      UsageError: another process trains here.
    """
    with io_as_usage_error(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
      file = open(self.path / "lock", "a+")
    with file:
      with io_as_usage_error(self.path):
        try:
          try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
          except BlockingIOError:
            time.sleep(SECONDS_TO_RETRY)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
          file.seek(0)
          raise UsageError(
            "model_dir must not be in use by another training. "
            f"Received: {self.path}, in use by {file.read().strip()}"
          ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
      for leftover in self.path.glob("*.tmp"):
        if not os.path.exists(f"/proc/{leftover.suffixes[-2:][0][1:]}"):
          leftover.unlink(missing_ok=True)
      yield

  def read(self, name: str) -> Any:
    """Returns a JSON file's content, or None if there is no such file."""
    try:
      return json.loads((self.path / name).read_text())
    except (FileNotFoundError, NotADirectoryError):
      return None
    except (OSError, ValueError) as error:
      raise UsageError(
        f"{name} must be a JSON file that can be read ({short_message(error)}). "
        f"Received: {self.path / name}"
      ) from error

  def write(self, name: str, content: Any, indent: int | None = 2) -> None:
    """Writes a JSON file."""
    write_text(self.path / name, json.dumps(content, indent=indent) + "\n")

  def write_lines(self, name: str, lines: Iterable[str]) -> None:
    """Writes a text file, or removes it where there is nothing to say."""
    if lines:
      write_text(self.path / name, "\n".join(lines) + "\n")
    else:
      (self.path / name).unlink(missing_ok=True)

  def rows(self, name: str) -> list[dict[str, Any]]:
    """Returns the rows of a file of JSON lines; a last one that is half written is left out."""
    path = self.path / name
    if not path.exists() and name in RENAMED_FILES:
      path = self.path / RENAMED_FILES[name]
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]

  def add_row(self, name: str, row: dict[str, Any]) -> None:
    """Adds a row to a file of JSON lines, which gets its present name if it had another."""
    rows = [*self.rows(name), row]
    write_text(self.path / name, "".join(json.dumps(each) + "\n" for each in rows))
    old = RENAMED_FILES.get(name)
    if old and (self.path / old).exists():
      (self.path / old).unlink()
      logger.info("Renamed file: %s is %s", old, name)

  def evaluations(self, last_step: float = math.inf) -> dict[int, dict[str, Any]]:
    """Returns `{step: result}` of the evaluations made at or before `last_step`, in order."""
    steps = [int(path.stem.split("_")[1]) for path in self.path.glob("result_*.json")]
    return {step: self.read(f"result_{step}.json") for step in sorted(steps) if step <= last_step}


def other_labels(images: dict[str, Any], class_names: Sequence[str]) -> str:
  """Says how labels differ from those that a run began with; nothing where they are the same.

  Args:
    images: what `IMAGES` holds of the run.
    class_names: of the labels at hand; empty where there are none, which isn't told from them.
  """
  known = images.get("class_names") or []
  if not known or not class_names or list(class_names) == list(known):
    return ""
  added, gone = sorted(set(class_names) - set(known)), sorted(set(known) - set(class_names))
  return f"labels {listed(added) or 'ordered anew'} for {listed(gone) or 'its own'}"


def seed_folder(seed: int) -> str:
  """Returns the name of the folder of a seed's run in that of several seeds."""
  return f"seed_{seed}"


def flagfile(config: Config) -> str:
  """Returns the text of a flagfile that repeats `config` in another `model_dir`."""
  lines = [
    f"--{name}={value}" for name, value in dataclasses.asdict(config).items() if name != "model_dir"
  ]
  return "\n".join(lines) + "\n"


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file under a temporary name and renames it."""
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # others may write beside
  with io_as_usage_error(path.parent):
    try:
      with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
    except OSError:
      with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
      raise


@contextlib.contextmanager
def io_as_usage_error(folder: str | os.PathLike, *errors: type[Exception]) -> Iterator[None]:
  """Says in one line that a folder can't be written, full disks included.

  Args:
    folder: what is written to.
    *errors: exception classes that mean the same as an OSError there.

  Raises:
    UsageError: an OSError or one of `errors` was raised inside.
  """
  try:
    yield
  except (OSError,) + errors as error:
    raise UsageError(
      f"model_dir must be a folder that can be written ({short_message(error)}). Received: {folder}"
    ) from error
