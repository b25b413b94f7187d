"""How the size of an image folder shows: time to the first step, first and second start, memory.

    python -m benchmarks.folder_size --files=1000,10000,100000

Small JPEGs are made on the spot. Then, for the largest folder, the time to the first step of a
training that goes on at step 10 and at step 100,000 (the same checkpoint under another number), and
with --embed what writing all embeddings takes. Nothing else should run on the machine meanwhile.
"""

import argparse
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image
import pyarrow.parquet

ROOT = pathlib.Path(__file__).parents[1]
FLAGS = [
  "--mode=train",
  "--dataset=image_folder",
  "--image_size=32",
  "--unet_depth=3",
  "--base_filters=4",
  "--train_batch_size=16",
  "--log_steps=1",
  "--checkpoint_steps=10",
  "--train_steps=200000",
  "--keep_checkpoint_max=1000",
  "--noreport",
]
FILES_IN_A_FOLDER = 1000
LATE = 100_000


def make_folder(folder, count):
  """Writes JPEGs of 64 pixels, a thousand to a folder."""
  rng = np.random.default_rng(0)
  for number in range(count):
    if number % FILES_IN_A_FOLDER == 0:
      part = folder / f"{number // FILES_IN_A_FOLDER:04}"
      part.mkdir(parents=True)
    if number % 100 == 0:
      coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
      buffer = io.BytesIO()
      coarse.resize((64, 64)).save(buffer, "JPEG")
    (part / f"{number:07}.jpg").write_bytes(buffer.getvalue())


def start(images, model_dir, cache, *flags):
  """Starts a command on a folder of images, and shows nothing of it."""
  return subprocess.Popen(
    [sys.executable, "run.py", f"--data_dir={images}", f"--model_dir={model_dir}", *flags],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    cwd=ROOT,
    env={**os.environ, "XDG_CACHE_HOME": str(cache)},
  )


def measure(images, model_dir, cache, until_step):
  """Starts a training and kills it after a step; returns seconds until that, and peak GB."""
  began = time.perf_counter()
  process = start(images, model_dir, cache, *FLAGS, "--label_mode=none")
  metrics = model_dir / "metrics.jsonl"
  while not (metrics.exists() and f'"global_step": {until_step},' in metrics.read_text()):
    if process.poll() is not None:
      raise RuntimeError("the training doesn't start")
    time.sleep(0.05)
  taken = time.perf_counter() - began
  process.kill()
  _, _, usage = os.wait4(process.pid, 0)
  return taken, usage.ru_maxrss / 2**20


def embed(images, model_dir, cache, count):
  """Writes the embeddings of all images; returns seconds and peak GB."""
  began = time.perf_counter()
  process = start(images, model_dir, cache, "--mode=embed", "--dataset=image_folder")
  _, status, usage = os.wait4(process.pid, 0)
  taken = time.perf_counter() - began
  (written,) = model_dir.glob("embeddings/*/embeddings.parquet")
  if status or pyarrow.parquet.read_metadata(written).num_rows != count:
    raise RuntimeError(f"not all of {count} images were embedded")
  return taken, usage.ru_maxrss / 2**20


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--files", default="1000,10000,100000")
  parser.add_argument("--embed", action="store_true", help="embeds the largest folder too")
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    folder, second = pathlib.Path(folder), {}
    for count in map(int, args.files.split(",")):
      images, run, cache = (folder / f"{kind}_{count}" for kind in ("images", "run", "cache"))
      make_folder(images, count)
      for name, number in (("first", 1), ("second", 1)):
        taken, memory = measure(images, run.with_name(f"{run.name}_{name}"), cache, number)
        second[count] = taken
        print(f"{count:8} files, {name:6} start {taken:6.1f} s, {memory:.2f} GB", flush=True)
    print(f"second start, {count} files to the fewest: {second[count] / min(second.values()):.2f}")
    measure(images, run, cache, 11)
    if args.embed:
      for name in ("first", "again"):
        taken, memory = embed(images, run, cache, count)
        print(f"{count:8} files, embed {name:5} {taken:6.1f} s, {memory:.2f} GB", flush=True)
    for step in (10, LATE):
      taken = []
      for attempt in range(3):
        other = run.with_name(f"resumed_at_{step}_{attempt}")
        (other / "checkpoints").mkdir(parents=True)
        for path in run.glob("checkpoints/ckpt-10.*"):
          name = path.name.replace("ckpt-10", f"ckpt-{step}")
          (other / "checkpoints" / name).write_bytes(path.read_bytes())
        taken.append(measure(images, other, cache, step + 1)[0])
      print(f"resumed at step {step}: {', '.join(f'{each:.1f}' for each in taken)} s", flush=True)


if __name__ == "__main__":
  main()
