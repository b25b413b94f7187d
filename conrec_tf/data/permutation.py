"""Permutations that are computed place by place and not stored."""

import tensorflow as tf

# `tf.random.experimental.index_shuffle` takes 4 rounds of its cipher, and this seed before the two
# that it is given. In some sizes above `SMALL`, places of neighbours then stay near each other; of
# a million they correlate by 0.4. With 8 rounds they don't.
FIRST_SEED, FEW_ROUNDS, MANY_ROUNDS = 498247692, 4, 8
SMALL = 2**14


def permuted(index: tf.Tensor, seeds: tf.Tensor, last: tf.Tensor | int, largest: int) -> tf.Tensor:
  """Returns where places stand in a permutation of the numbers from 0 to `last`.

  Args:
    index: int64 in [0, last], of any shape.
    seeds: int64 `[2]`; others give another permutation.
    last: int64 scalar.
    largest: how many numbers are permuted, or the largest count of several permutations.

  Returns:
    int64 in [0, last], of the shape of `index`; other places have other numbers.
  """
  all_seeds = tf.concat([tf.constant([FIRST_SEED], tf.int64), seeds], 0)
  rounds = FEW_ROUNDS if largest <= SMALL else MANY_ROUNDS
  return tf.random_index_shuffle(index, all_seeds, tf.cast(last, tf.int64), rounds=rounds)
