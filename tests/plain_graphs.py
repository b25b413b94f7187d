"""Graphs as they were traced, where tests trace much and their numbers come out alike.

TensorFlow's optimization of graphs takes a third of the time till a graph's first run. Commands of
their own, of `command_line`, have it as a user's do.
"""

from collections.abc import Iterator
import contextlib

import tensorflow as tf


@contextlib.contextmanager
def plain_graphs() -> Iterator[None]:
  """Leaves graphs that are traced within as they are."""
  tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
  try:
    yield
  finally:
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
