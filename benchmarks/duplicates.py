"""How many copies the perceptual hash finds, and how many others it takes for copies.

    python -m benchmarks.duplicates --images=photos --count=1000 --copies=50
    python -m benchmarks.duplicates --drawn=100000

Of photographs of a folder, some are copied, some compressed anew, and some cropped by a share of
each side. For each distance between hashes: the share found of each kind, and how many other images
are said to look like one. With `--drawn` hashes are drawn at random, for the time that comparing
them takes and peak memory.
"""

import argparse
import io
import pathlib
import resource
import time

import numpy as np
from PIL import Image
import tensorflow as tf

from conrec_tf.data.duplicates import BITS, FARTHEST, find_duplicates, perceptual_hashes
from conrec_tf.data.images.decoding import decode_reduced, decode_stored

CROPPED = 0.03  # of each side
QUALITY = 40
DISTANCES = (16, 20, 24, 28, 32, 36, 40)


def encoded(image, quality=90):
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=quality)
  return buffer.getvalue()


def cropped(image):
  width, height = image.size
  left, top = round(CROPPED * width), round(CROPPED * height)
  return image.crop((left, top, width - left, height - top))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images")
  parser.add_argument("--drawn", type=int, help="hashes that are drawn, in place of images")
  parser.add_argument("--count", type=int, default=1000)
  parser.add_argument("--copies", type=int, default=50)
  args = parser.parse_args()
  if not (args.images or args.drawn):
    parser.error("--images or --drawn must be given")
  if args.drawn:
    hashes = np.random.default_rng(0).integers(0, 2, (args.drawn, BITS), np.int8).astype(bool)
    began = time.perf_counter()
    find_duplicates(hashes)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{args.drawn} hashes: {time.perf_counter() - began:.0f} s, {memory:.2f} GB")
    return
  paths = sorted(pathlib.Path(args.images).rglob("*.jpg"))
  paths = [paths[place] for place in np.random.default_rng(0).permutation(len(paths))[: args.count]]
  files = [path.read_bytes() for path in paths]
  kinds = {
    "copied": lambda data: data,
    f"quality {QUALITY}": lambda data: encoded(Image.open(io.BytesIO(data)), QUALITY),
    f"cropped by {CROPPED:.0%}": lambda data: encoded(cropped(Image.open(io.BytesIO(data)))),
  }
  made = [change(files[place]) for change in kinds.values() for place in range(args.copies)]
  hashes = perceptual_hashes(
    tf.data.Dataset.from_tensor_slices(np.array(files + made, object)),
    lambda data, size: decode_reduced(data, size, lambda whole: decode_stored(whole, 3), 3),
  )
  print(f"{'bits':>5}" + "".join(f"{kind:>16}" for kind in kinds) + f"{'others':>10}")
  for distance in DISTANCES:
    found = find_duplicates(hashes, distance)
    later = {duplicate.image for duplicate in found}
    shares = [
      np.mean([len(files) + kind * args.copies + place in later for place in range(args.copies)])
      for kind in range(len(kinds))
    ]
    others = sum(duplicate.image < len(files) for duplicate in found)
    mark = " (used)" if distance == FARTHEST else ""
    print(f"{distance:>5}" + "".join(f"{share:>16.0%}" for share in shares) + f"{others:>10}{mark}")
    if distance == FARTHEST:
      for duplicate in found:
        if duplicate.image < len(files):
          print("     ", paths[duplicate.image].name, paths[duplicate.of].name, duplicate.distance)


if __name__ == "__main__":
  main()
