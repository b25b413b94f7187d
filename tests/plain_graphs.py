"""Graphs as they were traced: tests trace much, and TensorFlow's optimization takes a third of it.

Numbers come out alike but for rounding. What a user has, the command, has it optimized, and so have
the tests that mark it (`optimized_graphs`) or start Python anew (`cold_command`).
"""

from collections.abc import Iterator
import contextlib

import tensorflow as tf


def set_optimization(on: bool) -> None:
  """Says whether graphs that are traced from now on are optimized."""
  tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on})


@contextlib.contextmanager
def optimized() -> Iterator[None]:
  """Optimizes graphs that are traced within."""
  set_optimization(True)
  try:
    yield
  finally:
    set_optimization(False)
