#!/usr/bin/env bash
# Expected: tf.random.experimental.index_shuffle gives a pseudorandom permutation, as its reference
# says, so that what lies side by side in a set is spread over the whole of it.
# Happens: in some sizes neighbours stay near each other, for every seed: of a million, the places
# of each index and the next correlate by 0.4, and a batch of a set sorted by class is of few. It
# takes 4 rounds of its cipher, which can't be asked for otherwise; tf.random_index_shuffle with
# rounds=8 doesn't do that.
# TensorFlow 2.15.1 and 2.21.0, python/ops/stateless_random_ops.py, index_shuffle.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.15.1 numpy==1.26.4
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tensorflow as tf

print("TensorFlow", tf.__version__)
found = {}
for count in (10_000, 1_000_000):
  for rounds in (4, 8):
    correlations = []
    for seed in range(5):
      index, last = tf.range(10_000, dtype=tf.int64), tf.constant(count - 1, tf.int64)
      if rounds == 4:
        places = tf.random.experimental.index_shuffle(index, [seed, 0], last)
      else:
        places = tf.random_index_shuffle(index, [1, seed, 0], last, rounds=rounds)
      places = places.numpy().astype(float)
      correlations.append(np.corrcoef(places[:-1], places[1:])[0, 1])
    found[count, rounds] = correlations
    print(f"{count:9} indices, {rounds} rounds, five seeds:", np.round(correlations, 3))
assert min(found[1_000_000, 4]) > 0.3
assert max(map(abs, found[10_000, 4])) < 0.05 > max(map(abs, found[1_000_000, 8]))
PYTHON
