#!/usr/bin/env bash
# Expected: tf.random.experimental.index_shuffle gives a permutation for each seed, as its reference
# says, so that a seed of two numbers of which the second counts epochs gives each its own order.
# Happens: of each number the last 8 bits count (from 2**16 indices on 9, 10, ...), so that epoch
# 256 has the order of epoch 0, and all orders come again; seeds that differ by 256 have the same.
# TensorFlow 2.15.1, core/kernels/random_index_shuffle.cc, simon_key_schedule: words of the key are
# cut to half of a block, which has 16 bits at least.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.15.1 numpy==1.26.4
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import tensorflow as tf

print("TensorFlow", tf.__version__)
for count, period in ((1000, 2**8), (100_000, 2**9), (1_000_000, 2**10)):
  index, last = tf.range(1000, dtype=tf.int64), tf.constant(count - 1, tf.int64)
  orders = {
    epoch: tf.random.experimental.index_shuffle(index, [7, epoch], last).numpy().tobytes()
    for epoch in (0, 1, period // 2, period - 1, period, 3 * period)
  }
  print(f"{count:9} indices: orders of epochs that are alike:", *(
    f"{a} and {b}" for a in orders for b in orders if a < b and orders[a] == orders[b]
  ))
  assert orders[0] == orders[period] == orders[3 * period]
  assert len(set(orders.values())) == 4
PYTHON
