"""The log of a training: `metrics.jsonl` and TensorBoard's scalars."""

from collections.abc import Iterator
import contextlib
import itertools
import json
import os
import pathlib
from typing import Any

import tensorflow as tf

from conrec_tf.files import io_as_usage_error, write_text
from conrec_tf.metrics import EVAL, GLOBAL_STEP
from conrec_tf.run_dir.run_directory import METRICS_FILE, RunDirectory


class MetricsLog:
  """`metrics.jsonl` and TensorBoard's scalars.

  Attributes:
    evaluated: the steps that have a row of an evaluation.

  Args:
    first_step: rows from the first of a later step, left by a run that was cut off, are dropped;
      with 0, all.

  Raises:
    UsageError: the folder can't be written.
  """

  def __init__(self, model_dir: pathlib.Path, first_step: int) -> None:
    self._path = model_dir / METRICS_FILE
    self.evaluated: set[int] = set()
    if self._path.exists():
      rows = RunDirectory(model_dir).rows(self._path.name, GLOBAL_STEP) if first_step else []
      rows = list(itertools.takewhile(lambda row: row[GLOBAL_STEP] <= first_step, rows))
      write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
      self.evaluated.update(row[GLOBAL_STEP] for row in rows if is_evaluation(row))
    with io_as_usage_error(model_dir, tf.errors.OpError):
      self._writer = tf.summary.create_file_writer(os.fspath(model_dir))

  def write(self, row: dict[str, Any]) -> None:
    """Appends a row, `{name: number}` with its `global_step`.

    Raises:
      UsageError: the folder can't be written.
    """
    with io_as_usage_error(self._path.parent), self._path.open("a") as file:
      file.write(json.dumps(row) + "\n")
    with self.summaries(row[GLOBAL_STEP]):
      for name, value in row.items():
        if name != GLOBAL_STEP:
          tf.summary.scalar(name, value)
    if is_evaluation(row):
      self.evaluated.add(row[GLOBAL_STEP])

  @contextlib.contextmanager
  def summaries(self, step: int) -> Iterator[None]:
    """Has `tf.summary` write to TensorBoard's file of the run, and nothing else fail inside.

    Raises:
      UsageError: the folder can't be written.
    """
    with io_as_usage_error(self._path.parent, tf.errors.OpError):
      with self._writer.as_default(step=step):
        yield
      self._writer.flush()


def is_evaluation(row: dict[str, Any]) -> bool:
  """Returns whether a row is of an evaluation; others are of training steps."""
  return any(name.startswith(EVAL) for name in row)
