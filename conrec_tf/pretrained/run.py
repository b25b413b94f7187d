"""A run on disk as an object of Python."""

import functools
import os
import pathlib
from typing import Any

from conrec_tf.config import Config
from conrec_tf.evaluation.embedding import Embedder
from conrec_tf.pretrained.find import resolve_checkpoint
from conrec_tf.pretrained.load import open_network
from conrec_tf.run_dir.run_directory import RunDirectory


class Run(os.PathLike[str]):
  """The folder of a training; takes the place of its path.

  Attributes:
    path: the folder.
  """

  def __init__(self, path: str | os.PathLike[str]) -> None:
    self.path = pathlib.Path(path)

  def __fspath__(self) -> str:
    """Returns the path."""
    return os.fspath(self.path)

  def __repr__(self) -> str:
    """Returns what makes such an object."""
    return f"Run({os.fspath(self.path)!r})"

  @property
  def result(self) -> dict[str, Any]:
    """`{name: value}` of its evaluations, as `result.json` has it; nothing before the first."""
    return RunDirectory(self.path).summary

  @functools.cached_property
  def network(self) -> Embedder:
    """The network of its last checkpoint, a `ConRec`.

    Raises:
      UsageError: there is none.
    """
    pretrained = resolve_checkpoint(self.path)
    config = Config(**{**pretrained.values, "mode": "embed", "checkpoint": os.fspath(self.path)})
    return open_network(config, pretrained, pretrained.channels or config.channels)[0]
