"""Kills a real training with SIGKILL at random times and compares what it ends in.

    python -m benchmarks.kill --kills=50 --datasets=tfds,image_folder,npz,masks
    python -m benchmarks.kill --kills=5 --datasets=tfds --flags="--pooling=average"

`benchmarks.kill_everywhere` kills in the report, in exports and in other modes too.

A short pre-training (supervised head, warm-up, cosine, dropout, evaluations, checkpoints every
few steps), or with masks a segmentation, runs once without harm. Then it runs again and again,
killed at a random time after each start, every other time in the first write after that, and
started anew, until it is done; a folder or an archive has moved each time. Weights, optimizer,
metrics, results, the best checkpoint and the SavedModel's weights must be the same bits.
"""

import argparse
import glob
import itertools
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
import pyarrow as pa  # noqa: E402
from pyarrow import parquet  # noqa: E402
import tensorflow as tf  # noqa: E402

from conrec_tf.commands.tasks import load_dataset  # noqa: E402
from conrec_tf.config import Config  # noqa: E402
from conrec_tf.files import is_temporary  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
FLAGS = [
  "--mode=train_then_eval",
  "--image_size=24",
  "--unet_depth=3",
  "--base_filters=2",
  "--train_steps=40",
  "--checkpoint_steps=2",
  "--log_steps=3",
  "--eval_every_epochs=1",
  "--warmup_epochs=1",
  "--learning_rate_schedule=cosine",
  "--noreport",
]
OF_PRETRAINING = ["--lineareval_while_pretraining"]
OF_SEGMENTATION = ["--dataset=image_folder", "--train_mode=segment", "--crops_per_image=1"]
SECONDS_FOR_A_WRITE = 3.0
TIMES = ("images_per_second", "data_wait", "evaluation_seconds")


class Data:
  """200 training and 100 test images of the embedded dataset: prepared by TFDS, or as one's own.

  Args:
    kind: tfds, image_folder, npz, parquet or masks.
    folder: where it lies.
    flags: what else the command is told, after the data's.
    share: of the dataset's images.
  """

  def __init__(self, kind, folder, flags=(), share="20%"):
    self.kind, self._moves, self._flags = kind, 0, flags
    self._path = folder / "tfds"
    self._splits = {name: f"{name}[:{share}]" for name in ("train", "test")}
    if kind != "tfds":
      self._write(load_dataset(self._config()), folder)

  def _config(self):
    return Config(
      data_dir=str(self._path), train_split=self._splits["train"], eval_split=self._splits["test"]
    )

  def _write(self, source, folder):
    arrays, splits = {}, {"train": source.train, "test": source.eval}
    for name, split in splits.items():
      records = list(split.records())
      arrays[f"x_{name}"] = np.stack([source.decode(record["image"]) for record in records])
      arrays[f"y_{name}"] = np.array([int(record["label"]) for record in records])
    self._splits = {name: name for name in splits}
    self._path = folder / ("own.npz" if self.kind == "npz" else "own")
    if self.kind == "npz":
      np.savez(self._path, **arrays)
      return
    if self.kind == "parquet":
      self._path.mkdir(parents=True)
      for name in splits:
        images = [tf.io.encode_png(image).numpy() for image in arrays[f"x_{name}"]]
        table = pa.table({"image": images, "label": arrays[f"y_{name}"]})
        parquet.write_table(table, self._path / f"{name}.parquet")
      return
    for name in splits:
      for number, (image, label) in enumerate(
        zip(arrays[f"x_{name}"], arrays[f"y_{name}"], strict=True)
      ):
        files = {str(label): image[..., 0]}
        if self.kind == "masks":
          files = {"images": image[..., 0], "masks": (image[..., 0] > 127).astype(np.uint8)}
        for subfolder, pixels in files.items():
          path = self._path / name / subfolder / f"{number:03}.png"
          path.parent.mkdir(parents=True, exist_ok=True)
          Image.fromarray(pixels).save(path)

  def move(self):
    """Moves data of one's own."""
    if self.kind != "tfds":
      self._moves += 1
      ending = self._path.suffix
      self._path = self._path.rename(self._path.with_name(f"moved_{self._moves}{ending}"))

  @property
  def flags(self):
    """What the command is told of it, and what else was asked for."""
    dataset = [] if self.kind == "tfds" else [f"--dataset={self.kind}"]
    dataset = OF_SEGMENTATION if self.kind == "masks" else [*dataset, *OF_PRETRAINING]
    splits = [f"--train_split={self._splits['train']}", f"--eval_split={self._splits['test']}"]
    return [f"--data_dir={self._path}", *dataset, *splits, *self._flags]


def start(data, model_dir):
  """The training as a process."""
  command = [sys.executable, "run.py", f"--model_dir={model_dir}", *FLAGS, *data.flags]
  return subprocess.Popen(
    command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


def finish(process, timeout=None):
  """Waits for a process that must succeed, so many seconds at most."""
  output, errors = process.communicate(timeout=timeout)
  if process.returncode:
    raise RuntimeError(output + (errors or ""))


def seconds_of_work(data, model_dir):
  """Runs to the end; how long that took after the data was open."""
  process = start(data, model_dir)
  next(line for line in process.stdout if line.startswith("Run "))
  began = time.monotonic()
  finish(process)
  return time.monotonic() - began


def half_written(model_dir):
  """Whether there is something under a temporary name."""
  unfinished = glob.glob(str(model_dir / "*/*temp*"))
  return bool(unfinished) or any(is_temporary(path.name) for path in model_dir.rglob(".*"))


def kill_until_done(data, model_dir, work, rng, most=math.inf):
  """Kills and starts again until a training ends; returns kills, and those that hit a write.

  After `most` kills it is left to end.
  """
  kills = writes = 0
  while True:
    process = start(data, model_dir)
    if next((line for line in process.stdout if line.startswith("Run ")), None) is None:
      raise RuntimeError("the training doesn't start")
    try:
      finish(process, rng.uniform(0.0, work) if kills < most else None)
      return kills, writes
    except subprocess.TimeoutExpired:
      until = time.monotonic() + SECONDS_FOR_A_WRITE * (kills % 2)
      while time.monotonic() < until and not half_written(model_dir):
        time.sleep(0.001)  # a core is the training's
      process.kill()
      process.communicate()
      if not process.returncode:
        return kills, writes  # it was done before
      data.move()
      kills += 1
      writes += half_written(model_dir)
      print(f"  killed {kills} times, {writes} within a write", flush=True)


def differences(ours, reference):
  """Names of what isn't the same in two finished runs."""
  found = []
  for name in ("checkpoints", "best"):
    newest = [tf.train.latest_checkpoint(run / name) for run in (ours, reference)]
    if None in newest:
      found += [f"{name}: one has no checkpoint, {newest}"] * (newest[0] != newest[1])
    else:
      found += _differing_variables(*newest)
  exported = [
    max((run / "saved_model").iterdir()) / "variables/variables" for run in (ours, reference)
  ]
  found += _differing_variables(*map(os.fspath, exported))
  for path in reference.glob("*.json"):
    if path.name != "config.json" and path.read_text() != (ours / path.name).read_text():
      found.append(path.name)
  rows = [
    [
      {name: value for name, value in json.loads(line).items() if name not in TIMES}
      for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    for run in (ours, reference)
  ]
  found += [
    f"metrics row {number}"
    for number, pair in enumerate(itertools.zip_longest(*rows))
    if pair[0] != pair[1]
  ]
  return found


def _differing_variables(prefix, reference):
  readers = [tf.train.load_checkpoint(path) for path in (prefix, reference)]
  # Not compared: seconds of waiting, and how often a process saved.
  names, expected = (
    {
      name
      for name in reader.get_variable_to_shape_map()
      if not any(part in name for part in ("waited", "save_counter", "OBJECT_GRAPH"))
    }
    for reader in readers
  )
  return sorted(names ^ expected) + [
    name
    for name in names & expected
    if np.asarray(readers[0].get_tensor(name)).tobytes()
    != np.asarray(readers[1].get_tensor(name)).tobytes()
  ]


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--kills", type=int, default=50)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--datasets", default="tfds,image_folder,npz")
  parser.add_argument("--flags", default="", help="of the training, with spaces between")
  args = parser.parse_args()
  found = []
  for kind in args.datasets.split(","):
    with tempfile.TemporaryDirectory() as folder:
      data = Data(kind, pathlib.Path(folder), args.flags.split())
      found += kill_often(data, pathlib.Path(folder), args.kills, random.Random(args.seed))
  sys.exit(1 if found else 0)


def kill_often(data, folder, wanted, rng):
  """Kills trainings on one kind of data so many times; returns what differed."""
  seconds_of_work(data, folder / "prepares")
  work = seconds_of_work(data, folder / "reference")
  trainings = kills = writes = 0
  found = differences(folder / "prepares", folder / "reference")
  while kills < wanted:
    run = folder / f"killed_{trainings}"
    counts = kill_until_done(data, run, work, rng)
    trainings, kills, writes = trainings + 1, kills + counts[0], writes + counts[1]
    found += differences(run, folder / "reference")
    print(
      f"{data.kind}: {trainings} trainings, {kills} kills, {writes} of them within a write, "
      f"{len(found)} differences {found[:3] or ''}",
      flush=True,
    )
  return found


if __name__ == "__main__":
  main()
