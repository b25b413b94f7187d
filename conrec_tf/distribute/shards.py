"""Processes that share a pass over images: which files each makes, and whether the others live.

Each process makes its files on its own; they see each other by the folder that they write to.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import threading
import time
from typing import Self

from conrec_tf.distribute.strategy import check_cluster
from conrec_tf.distribute.workers import place_in
from conrec_tf.errors import UsageError

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_BEATS = 5.0
SECONDS_WITHOUT_BEAT = 60.0  # after which a process counts as lost
SECONDS_TO_START = 300.0  # until the first beat
BEATS = ".worker-*-of-*"  # files, of all processes


@dataclasses.dataclass(frozen=True)
class Shards:
  """The part of a pass that this process takes: every `count`-th file from `index` on.

  Attributes:
    index: which of the processes this is; the first one gathers what all have made.
    count: how many there are.
  """

  index: int = 0
  count: int = 1

  @classmethod
  def of_environment(cls) -> Self:
    """Returns what `TF_CONFIG` says, or Slurm's variables of a step; else one process.

    Raises:
      UsageError: TF_CONFIG isn't what it should be.
    """
    if text := os.environ.get("TF_CONFIG"):
      check_cluster(text)
      values = json.loads(text)
      task = values["task"]
      return cls(*place_in(values["cluster"], task["type"], int(task["index"])))
    count, index = (os.environ.get(f"SLURM_{name}", "") for name in ("STEP_NUM_TASKS", "PROCID"))
    if count.isdecimal() and index.isdecimal():
      return cls(int(index), int(count))
    return cls()

  @property
  def is_first(self) -> bool:
    """True in the process that gathers."""
    return self.index == 0

  def takes(self, number: int) -> bool:
    """Returns whether this process makes a file."""
    return number % self.count == self.index

  def first_first(
    self, folder: pathlib.Path, is_prepared: Callable[[], bool], prepare: Callable[[], None]
  ) -> None:
    """Prepares a folder: the first process does, the others wait until nothing is left to do.

    What shows that a process of an earlier call lived is removed; one that lives shows it again.

    Args:
      is_prepared: tells whether `prepare` of the first process would change nothing.
      prepare: raises UsageError where the folder is of something else.

    Raises:
      UsageError: it was raised, of the others where the first one hasn't come for minutes.
    """
    if self.is_first:
      for path in folder.glob(BEATS):
        path.unlink(missing_ok=True)
    began = time.monotonic()
    while not self.is_first and not is_prepared():
      if time.monotonic() - began > SECONDS_TO_START:
        break
      time.sleep(SECONDS_BETWEEN_BEATS / 10)
    prepare()

  @contextlib.contextmanager
  def beating(self, folder: pathlib.Path) -> Iterator[None]:
    """Shows the other processes that this one lives, by a file that changes."""
    if self.count == 1:
      yield
      return
    path, ended = self._beat_file(folder, self.index), threading.Event()

    def beat() -> None:
      while not ended.is_set():
        with contextlib.suppress(OSError):  # whatever it is, the files themselves will meet it
          path.write_text(f"{os.getpid()} {time.time()}\n")
        ended.wait(SECONDS_BETWEEN_BEATS)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
      yield
    finally:
      ended.set()
      thread.join()
      path.unlink(missing_ok=True)

  def wait_for_others(self, folder: pathlib.Path, missing: Callable[[], list[int]]) -> None:
    """Waits until the other processes have made their files.

    Args:
      missing: returns the numbers of the files that aren't there.

    Raises:
      UsageError: one of them is lost, with files left to make.
    """
    seen: dict[int, tuple[str, float]] = {}
    began = time.monotonic()
    while left := missing():
      now = time.monotonic()
      for index in sorted({number % self.count for number in left}):
        file = self._beat_file(folder, index)
        with contextlib.suppress(OSError):
          content = file.read_text()  # empty of a process that ended as it wrote its first
          if index not in seen or seen[index][0] != content:
            seen[index] = content, now
        _, last = seen.get(index, ("", began))
        patience = SECONDS_WITHOUT_BEAT if index in seen else SECONDS_TO_START
        if now - last > patience:
          raise UsageError(
            "all workers must run through; the same command makes what is missing. "
            f"Received: worker {index} of {self.count} lost, {len(left)} files missing"
          )
      time.sleep(SECONDS_BETWEEN_BEATS / 10)

  def _beat_file(self, folder: pathlib.Path, index: int) -> pathlib.Path:
    return folder / BEATS.replace("*", "{}").format(index, self.count)
