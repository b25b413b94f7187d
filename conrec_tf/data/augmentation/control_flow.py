"""Conditional execution in the graph, at little cost for small images."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def switch_case(
  index: tf.Tensor, branches: Sequence[Callable[..., tf.Tensor]], *inputs: tf.Tensor
) -> tf.Tensor:
  """Returns `branches[index](*inputs)`; only that branch runs.

  What `tf.switch_case` and `tf.cond` do, as a call: they put the nodes of all branches into the
  graph, and to pass over those of the others takes longer than the work on a small image.

  Args:
    index: bool, or int32 in [0, len(branches)).
    branches: functions of `inputs`, and of no other tensors; each returns one tensor of the
      first input's dtype and shape. A `tf.function` isn't traced again.
    inputs: tensors.
  """
  specs = [tf.TensorSpec.from_tensor(tf.convert_to_tensor(value)) for value in inputs]
  functions = [_graph(branch).get_concrete_function(*specs) for branch in branches]
  (chosen,) = tf.raw_ops.StatelessCase(
    branch_index=tf.cast(index, tf.int32), input=inputs, Tout=[inputs[0].dtype], branches=functions
  )
  return tf.ensure_shape(chosen, inputs[0].shape)


def maybe_apply(
  condition: tf.Tensor, function: Callable[..., tf.Tensor], *inputs: tf.Tensor
) -> tf.Tensor:
  """Returns `function(*inputs)` where the condition holds, else the first input."""
  return switch_case(condition, [_first, function], *inputs)


@tf.function(autograph=False)
def _first(first: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
  return first


def _graph(function: Callable[..., tf.Tensor]) -> tf.types.experimental.GenericFunction:
  if isinstance(function, tf.types.experimental.GenericFunction):
    return function
  return tf.function(function, autograph=False)
