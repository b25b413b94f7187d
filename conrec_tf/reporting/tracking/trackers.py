"""What a training tells its trackers: each row once, whatever stops or fails."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
import importlib
import importlib.util
import logging
import os
import pathlib
from typing import Any

from conrec_tf.errors import UsageError, short_message
from conrec_tf.files import CONFIG_FILE, io_as_usage_error
from conrec_tf.metrics import BEST, GLOBAL_STEP, is_number
from conrec_tf.reporting.tracking.tracker import NETWORK, REPORT, Tracker
from conrec_tf.run_dir.metrics_log import is_evaluation
from conrec_tf.run_dir.run_directory import SUMMARY_FILE, RunDirectory

logger = logging.getLogger(__name__)

FOLDER = "trackers"  # in model_dir
# Modules of this package and the classes in them, by what is named in `tracker`, which is also the
# name of the library.
TRACKERS = {"mlflow": "MlflowTracker", "wandb": "WandbTracker"}
SHOWN = ("report", SUMMARY_FILE, CONFIG_FILE, "flags.cfg")  # in model_dir


def check_trackers(names: Sequence[str]) -> None:
  """Finds out before a training whether what its trackers need is there.

  Raises:
    UsageError: a package is missing.
  """
  missing = [name for name in names if not importlib.util.find_spec(name)]
  if missing:
    raise UsageError(
      f"tracker={','.join(names)} needs: pip install -r requirements-tracking.txt. "
      f"Received: no {' and no '.join(missing)}"
    )


def open_tracker(name: str, folder: pathlib.Path) -> Tracker:
  """Imports a library and returns its tracker; `folder` is for files of its own."""
  module = importlib.import_module(f"conrec_tf.reporting.tracking.{name}_tracker")
  return getattr(module, TRACKERS[name])(folder)


class Feed:
  """What goes to one tracker.

  A step that is trained again, after a process was killed, gives the same row: it is sent once. A
  tracker that fails stops no training; from the next evaluation on it is tried again. What it lacks
  at the end, the same command sends.

  Args:
    name: of the tracker, a key of `TRACKERS`.
    directory: of the run; what was sent is noted there.
    settings: the options of the training.
    rows: of metrics, of what was trained before; those that a tracker lacks are sent.
  """

  def __init__(
    self,
    name: str,
    directory: RunDirectory,
    settings: Mapping[str, Any],
    rows: Sequence[dict[str, Any]],
  ) -> None:
    self._name, self._directory, self._settings = name, directory, settings
    self._file = f"{FOLDER}/{name}.json"
    self._rows = deque(rows)
    self._tracker: Tracker | None = None
    self._works = True
    self._sent: dict[str, Any] = {}
    self._send()

  def log(self, row: dict[str, Any]) -> None:
    """Sends a row, `{name: number}` with its `global_step`, and those before that weren't sent."""
    self._rows.append(row)
    if self._works or is_evaluation(row):
      self._send()

  def finish(self, result: dict[str, Any], exports: Sequence[pathlib.Path]) -> None:
    """Sends the numbers of the best checkpoint, the report and what was exported.

    Args:
      result: that of `result.json`.
    """
    self._send()
    folder = self._directory.path
    best = {
      name: value for name, value in result.items() if name.startswith(BEST) and is_number(value)
    }
    shown = [path for path in (folder / name for name in SHOWN) if path.exists()]

    def send(tracker: Tracker) -> None:
      if best and best != self._sent["best"]:
        tracker.log(result[GLOBAL_STEP], best)
        self._sent["best"] = best
      for kind, paths in ((REPORT, shown), (NETWORK, exports)):
        if paths:
          tracker.add_files(kind, paths, folder)

    if self._works:
      self._try(send)

  def close(self, is_done: bool) -> None:
    """Ends this process' part of the run, if there is one."""
    if self._tracker:
      self._try(lambda tracker: tracker.close(is_done))
      if self._works:
        self._note()

  def _send(self) -> None:
    """Sends all rows that weren't sent, in their order."""

    def send(tracker: Tracker) -> None:
      while self._rows:
        row = self._rows[0]
        step, is_measured = row[GLOBAL_STEP], is_evaluation(row)
        if is_measured and step not in self._sent["evaluations"]:
          self._log(tracker, row)
          self._sent["evaluations"] = [*self._sent["evaluations"], step]
        elif not is_measured and step > self._sent["trained"]:
          self._log(tracker, row)
          self._sent["trained"] = step
        self._rows.popleft()

    self._try(send)

  @staticmethod
  def _log(tracker: Tracker, row: dict[str, Any]) -> None:
    numbers = {name: value for name, value in row.items() if name != GLOBAL_STEP}
    tracker.log(row[GLOBAL_STEP], numbers)

  def _try(self, action: Callable[[Tracker], None]) -> None:
    """Does something with the tracker, its run opened, and notes what was sent.

    Says where it begins to fail.
    """
    before = dict(self._sent)
    try:
      if self._tracker is None:
        self._tracker = self._open()
      action(self._tracker)
      self._works = True
    except Exception as error:
      if self._works:
        logger.warning(
          "tracker=%s fails (%s); the training goes on, and what is lacking there is sent with the "
          "next evaluation, or by the same command again",
          self._name,
          short_message(error),
        )
      self._works = False
    finally:
      if self._tracker and self._tracker.keeps_at_once and self._sent != before:
        self._note()

  def _note(self) -> None:
    self._directory.write(self._file, self._sent, indent=None)

  def _open(self) -> Tracker:
    """Opens the run that was begun, or a new one: on another server, or of another project."""
    folder = self._directory.path / FOLDER
    with io_as_usage_error(folder):
      folder.mkdir(exist_ok=True)
    tracker = open_tracker(self._name, folder)
    known = self._directory.read(self._file) or {}
    if known.get("place") != tracker.place:
      known = {}
    name = os.fspath(self._directory.path)
    run = tracker.open(known.get("run", ""), name, self._settings)
    nothing = {"trained": 0, "evaluations": [], "best": {}}
    self._sent = {**nothing, **known, "place": tracker.place, "run": run}
    self._note()
    logger.info("tracker=%s: %s", self._name, tracker.address)
    return tracker
