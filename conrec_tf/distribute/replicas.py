"""What the replicas of a step tell each other, from inside it; a single one keeps to itself.

The loss of a step is the mean of what its replicas compute, each on its share of the batch:
consecutive images, in the order of the replicas. Gradients go through all of this.
"""

import tensorflow as tf


def num_replicas():
  """How many replicas there are; also while layers are made, in the scope of a strategy."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id():
  """Which of them this is, from 0: a number or an int32 scalar."""
  return tf.distribute.get_replica_context().replica_id_in_sync_group


def all_reduce_mean(values):
  """Means over the replicas of (a structure of) float tensors."""
  return _reduced(tf.distribute.ReduceOp.MEAN, values)


def all_reduce_sum(values):
  """Sums over the replicas of (a structure of) tensors."""
  return _reduced(tf.distribute.ReduceOp.SUM, values)


def all_gather(values, axis=0):
  """What the replicas hold, one after the other along an axis: n to n * num_replicas."""
  if num_replicas() == 1:
    return values
  return tf.distribute.get_replica_context().all_gather(values, axis=axis)


def _reduced(operation, values):
  if num_replicas() == 1:
    return values
  return tf.distribute.get_replica_context().all_reduce(operation, values)
