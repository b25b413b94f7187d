"""Which number of a training step first isn't finite."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
import re
import traceback
from typing import Any

import tensorflow as tf

PACKAGE = pathlib.Path(__file__).parents[1]
DETECTED = re.compile(r'Detected (?P<what>.+?) in output \d+ of .*?op "?(?P<op>\w+)')


def first_non_finite(
  step: Callable[[Mapping[str, tf.Tensor]], Any],
  batch: Mapping[str, tf.Tensor],
  variables: Sequence[tf.Variable],
) -> str:
  """Takes a step one operation at a time, and says in words which number isn't finite first.

  The batch comes first, then the weights, then what operations give, in the order of computing,
  gradients after losses. The weights are of no use afterwards.

  Args:
    step: a function of a batch that updates the weights.
    batch: tensors by name, images along the first axis.
    variables: all that the step computes with.
  """
  for name, values in batch.items():
    if (image := _first_bad(values)) is not None:
      return f"{name} of the batch, image {image} of {len(values)}"
  for variable in variables:
    if _first_bad(tf.reshape(variable, [1, -1])) is not None:
      return f"the weight {variable.name} before the step"
  tf.config.run_functions_eagerly(True)
  tf.debugging.enable_check_numerics()
  try:
    step(batch)
  except tf.errors.InvalidArgumentError as error:
    found = DETECTED.search(error.message)
    if not found:
      raise
    return f"{found['what']} given by {found['op']}{_place(error)}"
  finally:
    tf.debugging.disable_check_numerics()
    tf.config.run_functions_eagerly(False)
  return "none, when the step is taken again one operation at a time"


def _first_bad(values: tf.Tensor) -> int | None:
  """Returns the index along the first axis of what holds a number that isn't finite, or None."""
  if not values.dtype.is_floating:
    return None
  bad = tf.reduce_any(~tf.math.is_finite(tf.reshape(values, [len(values), -1])), axis=1)
  return int(tf.argmax(bad)) if tf.reduce_any(bad) else None


def _place(error: Exception) -> str:
  """Returns the innermost line of this package that was at work."""
  frames = traceback.extract_tb(error.__traceback__)
  own = [each for each in frames if PACKAGE in pathlib.Path(each.filename).parents]
  own = [each for each in own if each.filename != __file__]
  if not own:
    return ""
  return f" in {pathlib.Path(own[-1].filename).relative_to(PACKAGE.parent)}, line {own[-1].lineno}"
