"""What all that knows of a tracking service is written against."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, Protocol

PROJECT = "conrec_tf"  # unless the environment names another
REPORT, NETWORK = "report", "network"  # kinds of files


class Tracker(Protocol):
  """A tracking service, of which one run is open at a time.

  Where its server is, and the project, it takes from the environment variables that it documents.
  Each method may raise any exception of the service.

  Attributes:
    place: tells the server and the project from others; a run is known by its name there.
    address: where the open run is to be seen.
    keeps_at_once: whether rows are kept though the process is killed; else they are when the run is
      closed, and a run that is opened again has none of a process that didn't close it.
  """

  place: str
  address: str
  keeps_at_once: bool

  def open(self, run: str, name: str, settings: Mapping[str, Any]) -> str:
    """Opens a run and returns what the service knows it by.

    Args:
      run: of one that goes on; empty for a new one.
      name: how it is shown.
      settings: the options of the training, `{name: value}`.
    """

  def log(self, step: int, numbers: Mapping[str, float]) -> None:
    """Adds a row of metrics; steps come in any order."""

  def add_files(self, kind: str, paths: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Adds files and folders, in place of those that were added under the same names.

    Args:
      kind: what they are together, `REPORT` or `NETWORK`.
      folder: that they lie in; names are relative to it.
    """

  def close(self, is_done: bool) -> None:
    """Ends this process' part of the run, of which another one may go on if it isn't done."""
