"""Views per second from JPEG files decoded whole and scaled, in turn.

    python -m benchmarks.decoding --images=photos --sizes=500x375,3000x2000 --image_sizes=64,224

Photographs of a folder (or, without one, made ones) are resized to each size and saved at quality
90; then both stages of augmentation run on them, with and without `scaled_decoding`. Medians of the
rounds, and of their ratios. Nothing else should run on the machine meanwhile.
"""

import argparse
import dataclasses
import itertools
import pathlib
import statistics
import tempfile
import time

import numpy as np
from PIL import Image, ImageFilter

from conrec_tf.config import Config
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset

COUNT = 48
BATCH = 16


def photographs(folder):
  """Yields `COUNT` images: of a folder's files, or smooth noise."""
  if folder:
    files = sorted(path for path in pathlib.Path(folder).rglob("*.jpg"))
    for path in files[:: max(1, len(files) // COUNT)][:COUNT]:
      yield Image.open(path).convert("RGB")
  else:
    for seed in range(COUNT):
      noise = np.random.default_rng(seed).integers(0, 256, (375, 500, 3), np.uint8)
      yield Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3))


def rate(config, source, seconds):
  """Returns views per second of the running pipeline."""
  batches = iter(pretraining_batches(config, source))
  next(batches)
  began, count = time.perf_counter(), 0
  for _ in itertools.takewhile(lambda _: time.perf_counter() - began < seconds, batches):
    count += 2 * BATCH
  return count / (time.perf_counter() - began)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", default="")
  parser.add_argument("--sizes", default="500x375,3000x2000")
  parser.add_argument("--image_sizes", default="64,224")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--seconds", type=float, default=6.0)
  args = parser.parse_args()
  print(
    f"{'photographs':>12}{'views':>7}{'whole':>10}{'scaled':>10}{'scaled / whole':>16}   views/s"
  )
  for text in args.sizes.split(","):
    width, height = map(int, text.split("x"))
    with tempfile.TemporaryDirectory() as folder:
      for index, image in enumerate(photographs(args.images)):
        image.resize((width, height), Image.Resampling.BICUBIC).save(
          f"{folder}/{index:02}.jpg", quality=90
        )
      for size in map(int, args.image_sizes.split(",")):
        whole = Config(
          dataset="image_folder",
          data_dir=folder,
          train_split="train+test",
          image_size=size,
          train_batch_size=BATCH,
          scaled_decoding=False,
        )
        scaled = dataclasses.replace(whole, scaled_decoding=True)
        sources = [load_dataset(config) for config in (whole, scaled)]
        rates = [
          [
            rate(config, source, args.seconds)
            for config, source in zip((whole, scaled), sources, strict=True)
          ]
          for _ in range(args.rounds)
        ]
        first, second = map(statistics.median, zip(*rates, strict=True))
        ratio = statistics.median(b / a for a, b in rates)
        print(f"{text:>12}{size:>7}{first:10.0f}{second:10.0f}{ratio:16.2f}", flush=True)


if __name__ == "__main__":
  main()
