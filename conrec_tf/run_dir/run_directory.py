"""The files of a run: its `model_dir`."""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import errno
import fcntl
import functools
import json
import logging
import math
import os
import pathlib
import re
import socket
import time
from typing import IO, Any

from conrec_tf.config import Config, Description
from conrec_tf.config.migrations import current_settings
from conrec_tf.config.options.option import shown
from conrec_tf.config.options.table import BY_CONTENT
from conrec_tf.config.rules.unread import unread
from conrec_tf.errors import UsageError, as_usage_error, listed, short_message
from conrec_tf.files import CONFIG_FILE, io_as_usage_error, make_output_folder, write_text
from conrec_tf.metrics import EVALUATED_WITH, GLOBAL_STEP, MEASURED_ON

logger = logging.getLogger(__name__)

SEEDS = "seeds"  # in result.json of a folder of several
PROCESSES, METRICS_FILE = "processes.jsonl", "metrics.jsonl"
SUMMARY_FILE = "result.json"
IMAGES = "images.json"
CHECKPOINTS, BEST = "checkpoints", "best"
VERDICT, VERDICT_FILE = "verdict", "verdict.json"  # its folder in that of a run, and what it says
ELSEWHERE = "evaluations"  # what of a run was measured otherwise than its own results
CHECKPOINT_FILE, RESULT_FILE = ("ckpt-", ".index"), ("result_", ".json")  # around the step
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
STARTS_FROM = ("checkpoint", "encoder_weights")
OF_SEVERAL = ("seeds", "cv_folds", "train_mode")  # options that make several trainings of one
SECONDS_TO_RETRY = 0.2  # where another process only looked whether the lock is taken


class RunDirectory:
  """A `model_dir` and what lies in it."""

  def __init__(self, path: str | os.PathLike) -> None:
    self.path = pathlib.Path(path)

  def start(
    self, config: Config, data: str = "", class_names: Sequence[str] = (), network: str = ""
  ) -> None:
    """Creates the folder, or checks that it belongs to the same training.

    Args:
      data: digest of what is learnt from; empty where nothing is.
      class_names: of its labels; empty where there are none.
      network: what tells the weights that training starts from, or empty.

    Raises:
      UsageError: the folder holds a run with other values of what determines
        training, or of other images, labels or names of labels, or several runs, or evaluations of
        another run, or can't be written.
    """
    above = self.path.absolute().parent
    if above.name == ELSEWHERE and (above.parent / CONFIG_FILE).exists():
      raise UsageError(
        f"model_dir must not lie in the {ELSEWHERE} of another run. Received: {self.path}"
      )
    self.check_training(config, network)
    images = self.images
    known, labels = images.get("digest"), other_labels(images, class_names)
    if data and known and (known != data or labels):
      received = f"others in {config.data_dir or config.dataset}"
      received += f", with {labels}" if labels else ""
      raise UsageError(
        "data_dir and train_split must give the images that the run began with (names, sizes, "
        f"labels, groups, which of them can't be decoded). Received: {received} for {self.path}"
      )
    make_output_folder(self.path)
    self.write(CONFIG_FILE, config.settings)
    write_text(self.path / "flags.cfg", flagfile(config.settings))

  def check_training(self, config: Config, network: str) -> None:
    """Raises UsageError where a run lies here whose training is another one; see `start`."""
    self.check_kind(config.is_of_several)
    stored = current_settings(self.settings)
    if stored.get("mixed_precision") == "auto":  # of several trainings, or none
      del stored["mixed_precision"]
    if stored.get("image_size_schedule") == "auto":  # as what it comes to
      as_begun = Description.from_settings(stored).training_fingerprint
      stored["image_size_schedule"] = as_begun["image_size_schedule"]
    known = self.images.get("network")
    moved = STARTS_FROM if network and known == network else ()
    passed_over = {*BY_CONTENT, *moved}.union(*(names for names, _ in unread(config)))
    changed = [
      f"{name}: {shown(stored[name])} -> {shown(value)}"
      for name, value in config.training_fingerprint.items()
      if name in stored and stored[name] != value and name not in passed_over
    ]
    if changed:
      raise UsageError(
        "model_dir must be new, or the values that determine training must be "
        f"those of the run in it. Received: {'; '.join(changed)} for {self.path}"
      )

  def check_kind(self, is_of_several: bool) -> None:
    """Raises UsageError where one training would write over what several left, or they over its."""
    stored = self.settings
    known = {name: stored[name] for name in OF_SEVERAL if name in stored}
    if known and Description(**known).is_of_several != is_of_several:
      kinds = {True: "several trainings (seeds, cv_folds)", False: "one training"}
      raise UsageError(
        f"model_dir must be new, or the folder of {kinds[is_of_several]}. "
        f"Received: {self.path}, that of {kinds[not is_of_several]}"
      )

  def check_is_run(self, mode: str, checkpoint: str = "") -> None:
    """Raises UsageError where no run lies here, for a command that looks at one.

    So it does where a network from elsewhere was evaluated here, or another one is asked for than
    that which this run began from.
    """
    stored = self.settings
    if not stored:
      raise UsageError(
        f"model_dir must be the folder of a run, for mode={mode}. Received: {self.path}"
      )
    if stored.get("mode") == "eval" and stored.get("checkpoint"):
      raise UsageError(
        f"model_dir must be the folder of a training, for mode={mode}; --compare_with takes that "
        f"of an evaluation. Received: {self.path}, of {stored['checkpoint']}"
      )
    if checkpoint not in ("", stored.get("checkpoint")):
      raise UsageError(
        f"checkpoint must be left out for mode={mode}, which is of the run in model_dir. "
        f"Received: {checkpoint}"
      )

  @property
  def settings(self) -> dict[str, Any]:
    """`{option: value}` that the run was given, as it wrote them down; nothing without a run."""
    return self.read(CONFIG_FILE) or {}

  @property
  def images(self) -> dict[str, Any]:
    """What the run noted of its images when it began; nothing before."""
    return self.read(IMAGES) or {}

  @property
  def summary(self) -> dict[str, Any]:
    """`{name: value}` of `result.json`; nothing before the first evaluation."""
    return self.read(SUMMARY_FILE) or {}

  @property
  def has_checkpoints(self) -> bool:
    """True where a training has saved anything here."""
    return bool(numbered(self.path / CHECKPOINTS, *CHECKPOINT_FILE))

  @property
  def is_in_use(self) -> bool:
    """True where a process trains here; without locks of the file system nobody knows: False."""
    try:
      with open(self.path / "lock") as file:
        return not _lock(file, fcntl.LOCK_SH)
    except OSError:  # there is none, or it's another user's
      return False

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Keeps other trainings out; the lock of a process that died is free.

    On a file system without locks nobody is kept out, which is a warning.

    Raises:
      UsageError: another process trains here.
    """
    make_output_folder(self.path)
    with io_as_usage_error(self.path):
      file = open(self.path / "lock", "a+", errors="replace")
    with file:
      with io_as_usage_error(self.path):
        if not _lock(file, fcntl.LOCK_EX):
          time.sleep(SECONDS_TO_RETRY)
          if not _lock(file, fcntl.LOCK_EX):
            file.seek(0)
            raise UsageError(
              "model_dir must not be in use by another training. "
              f"Received: {self.path}, in use by {file.read().strip()}"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
      yield

  def read(self, name: str) -> dict[str, Any] | None:
    """Returns what a JSON file holds, `{name: value}`, or None if there is no such file.

    Raises:
      UsageError: it can't be read, or holds something else.
    """
    path = self.path / name
    with as_usage_error(f"{name} must be a JSON file that can be read", path, OSError, ValueError):
      try:
        content = json.loads(path.read_text("utf-8"))
      except (FileNotFoundError, NotADirectoryError):
        return None
      if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
      for record in (EVALUATED_WITH, MEASURED_ON):
        if not isinstance(content.get(record, {}), dict):
          raise ValueError(f"its {record} is a {type(content[record]).__name__}")
      return content

  def write(self, name: str, content: Any, indent: int | None = 2) -> None:
    """Writes a JSON file."""
    write_text(self.path / name, json.dumps(content, indent=indent) + "\n")

  def write_lines(self, name: str, lines: Iterable[str]) -> None:
    """Writes a text file, or removes it where there is nothing to say."""
    if lines:
      write_text(self.path / name, "\n".join(lines) + "\n")
    else:
      (self.path / name).unlink(missing_ok=True)

  def rows(self, name: str, key: str) -> list[dict[str, Any]]:
    """Returns the rows of a file of JSON lines; a last one that is half written is left out.

    Others that can't be read, or lack a number `key`, are left out with a warning: these files only
    tell of a run.

    Raises:
      UsageError: the file can't be opened.
    """
    path = self.path / name
    with as_usage_error(f"{name} must be a file that can be read", path, OSError):
      lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    rows = [_row(line, key) for line in whole]
    if unreadable := [number for number, row in enumerate(rows, start=1) if row is None]:
      logger.warning(
        "%d of %d lines of %s can't be read and are left out, the first is line %d",
        len(unreadable),
        len(rows),
        path,
        unreadable[0],
      )
    return [row for row in rows if row is not None]

  def processes(self) -> list[dict[str, Any]]:
    """Returns `{step, started, machine, versions}` of each process that trained, in order."""
    return self.rows(PROCESSES, "step")

  def add_process(self, row: dict[str, Any]) -> None:
    """Adds one to `processes`."""
    rows = [*self.processes(), row]
    write_text(self.path / PROCESSES, "".join(json.dumps(each) + "\n" for each in rows))

  def evaluations(self, last_step: float = math.inf) -> dict[int, dict[str, Any]]:
    """Returns `{step: result}` of the evaluations made at or before `last_step`, in order."""
    steps = [step for step in numbered(self.path, *RESULT_FILE) if step <= last_step]
    results = {step: self.result(step) for step in steps}
    return {step: result for step, result in results.items() if result}

  def result(self, step: int) -> dict[str, Any]:
    """Returns the result of a step; nothing where there is none, or a copy of another step's."""
    name = result_name(step)
    result = self.read(name) or {}
    if result.get(GLOBAL_STEP, step) == step:
      return result
    logger.warning(
      "%s is of step %s, whatever its name, and doesn't count",
      self.path / name,
      result[GLOBAL_STEP],
    )
    return {}


def result_name(step: int) -> str:
  """Returns the name of the file of a step's result."""
  return str(step).join(RESULT_FILE)


def numbered(folder: str | os.PathLike, start: str = "", end: str = "") -> dict[int, pathlib.Path]:
  """Returns `{number: path}` of what is named `<start><number><end>` in a folder, in order.

  What else lies there is passed over, such as the copies `result_20 (1).json` of a file manager.

  Args:
    folder: it may not be there.
  """
  pattern = re.compile(f"{re.escape(start)}(0|[1-9][0-9]*){re.escape(end)}")
  try:
    names = os.listdir(folder)
  except OSError:
    return {}
  matches = filter(None, map(pattern.fullmatch, names))
  return dict(sorted((int(match[1]), pathlib.Path(folder, match[0])) for match in matches))


def prefixes(folder: str | os.PathLike) -> list[str]:
  """Returns the prefixes of the checkpoints in a folder, those of earlier steps first."""
  return [
    os.fspath(path).removesuffix(".index") for path in numbered(folder, *CHECKPOINT_FILE).values()
  ]


def step_of(prefix: str) -> int:
  """Returns the step in a checkpoint's name; 0 if there is none."""
  number = prefix.rsplit("-", 1)[-1]
  return int(number) if number.isdecimal() else 0


def _row(line: bytes, key: str) -> dict[str, Any] | None:
  """Returns what a line of JSON holds, `{name: value}` with a number; None if it's no such line."""
  try:
    row = json.loads(line)
  except ValueError:
    return None
  return row if isinstance(row, dict) and isinstance(row.get(key), int | float) else None


def _lock(file: IO[str], kind: int) -> bool:
  """Locks a file without waiting; returns False if another process has locked it."""
  try:
    fcntl.flock(file, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno not in NO_LOCKS:
      raise
    _warn_of_no_locks(os.path.dirname(file.name), short_message(error))
  return True


@functools.cache  # once for a folder
def _warn_of_no_locks(folder: str, reason: str) -> None:
  logger.warning(
    "The file system has no locks (%s): mind yourself that one process at a time trains in %s",
    reason,
    folder,
  )


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


def flagfile(options: dict[str, Any]) -> str:
  """Returns the text of a flagfile that repeats `{option: value}` in another `model_dir`."""
  lines = [f"--{name}={value}" for name, value in options.items() if name != "model_dir"]
  return "\n".join(lines) + "\n"
