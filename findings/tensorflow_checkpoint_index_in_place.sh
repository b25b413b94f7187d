#!/usr/bin/env bash
# Expected: a checkpoint of tf.train.Checkpoint is there whole or not at all, as its data file is
# written under a temporary name and renamed, and so is the list of checkpoints.
# Happens: the index, without which nothing can be read, is written under its last name. Who ends in
# that moment (a kill, a full disk) leaves a checkpoint that isn't one, beside whole data; of two
# folders that look alike only the list, written afterwards, tells. It may be the only checkpoint.
# TensorFlow 2.15.1; MergeBundles in tensorflow/core/util/tensor_bundle/tensor_bundle.cc opens the
# merged index by NewWritableFile, where the data of each shard is renamed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.15.1 numpy==1.26.4 inotify-simple==2.0.1
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import pathlib
import sys

import inotify_simple
import tensorflow as tf

print("TensorFlow", tf.__version__)
folder = pathlib.Path(sys.argv[1], "checkpoints")
folder.mkdir()
manager = tf.train.CheckpointManager(
  tf.train.Checkpoint(weights=tf.Variable(tf.zeros([1000]))), str(folder), max_to_keep=None
)
flags = inotify_simple.flags
watch = inotify_simple.INotify()
watch.add_watch(str(folder), flags.CREATE | flags.MODIFY | flags.MOVED_TO)
manager.save()
how = {}
for event in watch.read(timeout=1000):
  if not event.mask & flags.ISDIR:
    kinds = how.setdefault(event.name, [])
    kinds += [kind.name for kind in flags.from_mask(event.mask) if kind.name not in kinds]
for name, kinds in how.items():
  print(f"{name:32}", *kinds)
assert how["ckpt-1.data-00000-of-00001"] == how["checkpoint"] == ["MOVED_TO"]
assert how["ckpt-1.index"] == ["CREATE", "MODIFY"]
assert list(how).index("ckpt-1.index") < list(how).index("checkpoint")
PYTHON
