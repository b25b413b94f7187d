"""Communication between the replicas of a training step, from inside the step.

The loss of a step is the mean of what its replicas compute, each on its share of the batch:
consecutive images, in the order of the replicas. Gradients flow through all of these functions.
With one replica they return their input.
"""

from typing import Any

import tensorflow as tf


def num_replicas() -> int:
  """Returns the number of replicas; also while layers are built, in the scope of a strategy."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> int | tf.Tensor:
  """Returns which replica this is, from 0: a number or an int32 scalar."""
  return tf.distribute.get_replica_context().replica_id_in_sync_group


def own_rows(count: tf.Tensor) -> tf.Tensor:
  """Returns which rows of those of all replicas are this one's, int32 `[count]`; all have as many.

  They are in the order of `all_gather`.
  """
  return tf.range(count) + count * replica_id()


def all_reduce_mean(values: Any) -> Any:
  """Returns means over the replicas of (a structure of) float tensors."""
  return _all_reduce(tf.distribute.ReduceOp.MEAN, values)


def all_reduce_sum(values: Any) -> Any:
  """Returns sums over the replicas of (a structure of) tensors."""
  return _all_reduce(tf.distribute.ReduceOp.SUM, values)


def all_gather(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
  """Concatenates the replicas' tensors along an axis: n to n * num_replicas."""
  if num_replicas() == 1:
    return values
  return tf.distribute.get_replica_context().all_gather(values, axis=axis)


def _all_reduce(operation: tf.distribute.ReduceOp, values: Any) -> Any:
  if num_replicas() == 1:
    return values
  return tf.distribute.get_replica_context().all_reduce(operation, values)
