"""Hands a training that isn't done from one machine to another, in small files.

    python -m experiments.handover --model_dir=runs/experiments/paper_scale/conrec_0 --pieces=out
    python -m experiments.handover --model_dir=runs/experiments/paper_scale/conrec_0 --from=out

The first packs what continues the run, its settings, its metrics and its newest checkpoint, into
pieces of 15 MB; the second makes the folder of them, with which the command that began the run goes
on. What the optimizer keeps of each weight is handed over in bfloat16, half its size, so that the
training goes on nearly as it would have, not to the bit.
"""

import argparse
import io
import os
import pathlib
import tarfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from conrec_tf.files import replacing, write_bytes  # noqa: E402
from conrec_tf.run_dir.run_directory import CHECKPOINTS, prefixes  # noqa: E402

PIECE_BYTES = 15_000_000
OPTIMIZER = "optimizer/_variables/"  # in the names of what is kept of each weight
ROUNDED = "bfloat16:"  # before the name of one that is handed over so
TOLD = (".json", ".jsonl", ".cfg")  # endings of a run's files that say what it is and did


def pack(model_dir):
  """What continues a run, the bytes of a tar archive."""
  prefix = prefixes(model_dir / CHECKPOINTS)[-1]
  reader = tf.train.load_checkpoint(prefix)
  tensors = {}
  for name in reader.get_variable_to_shape_map():
    value = reader.get_tensor(name)
    if OPTIMIZER in name and value.dtype == np.float32:
      bits = tf.bitcast(tf.cast(value, tf.bfloat16), tf.uint16).numpy()
      tensors[ROUNDED + name] = bits
    else:  # texts as bytes
      tensors[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
  archive, content = io.BytesIO(), io.BytesIO()
  np.savez(content, **tensors)
  with tarfile.open(fileobj=archive, mode="w") as tar:
    for path in sorted(model_dir.iterdir()):
      if path.suffix in TOLD:
        tar.add(path, path.name)
    entry = tarfile.TarInfo(f"{CHECKPOINTS}/{os.path.basename(prefix)}.npz")
    entry.size = len(content.getvalue())
    tar.addfile(entry, io.BytesIO(content.getvalue()))
  return archive.getvalue()


def unpack(archive, model_dir):
  """Makes the folder of a run of what `pack` returned; there must be none yet."""
  model_dir.parent.mkdir(parents=True, exist_ok=True)
  with replacing(model_dir) as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
    tar.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
    tar.extractall(folder)
    [path] = (folder / CHECKPOINTS).iterdir()
    save(dict(np.load(path)), path.with_suffix(""))
    path.unlink()


def save(tensors, prefix):
  """Writes a checkpoint of arrays by name."""
  values = {
    name.removeprefix(ROUNDED): (
      tf.cast(tf.bitcast(value, tf.bfloat16), tf.float32)
      if name.startswith(ROUNDED)
      else tf.constant(value.tobytes() if is_text(name) else value)
    )
    for name, value in tensors.items()
  }
  tf.raw_ops.SaveV2(
    prefix=str(prefix),
    tensor_names=list(values),
    shape_and_slices=[""] * len(values),
    tensors=list(values.values()),
  )


def is_text(name):
  """Whether a tensor of a checkpoint is a text: that of which objects there are."""
  return name == "_CHECKPOINTABLE_OBJECT_GRAPH"


def write_pieces(content, folder):
  """Writes bytes as files of at most 15 MB."""
  folder.mkdir(parents=True, exist_ok=True)
  for number, start in enumerate(range(0, len(content), PIECE_BYTES)):
    write_bytes(folder / f"piece_{number:03d}", content[start : start + PIECE_BYTES])


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model_dir", type=pathlib.Path, required=True)
  ways = parser.add_mutually_exclusive_group(required=True)
  ways.add_argument("--pieces", type=pathlib.Path, help="a new folder that the pieces go to")
  ways.add_argument("--from", type=pathlib.Path, dest="source", help="the folder with the pieces")
  args = parser.parse_args()
  if args.pieces:
    content = pack(args.model_dir)
    write_pieces(content, args.pieces)
  else:
    content = b"".join(path.read_bytes() for path in sorted(args.source.glob("piece_*")))
    unpack(content, args.model_dir)
  print(f"{len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
  main()
