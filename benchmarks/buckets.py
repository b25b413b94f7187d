"""How fast a bucket is copied and read beside a folder, and what a cut leaves to copy.

An S3 server on loopback (moto's, in a process of its own) holds the images; it needs
`pip install s3fs moto[server]`.

    python -m benchmarks.buckets --images=10000
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np
from PIL import Image

PORT = 5599
SERVER = f"""
import time
from moto.server import ThreadedMotoServer
ThreadedMotoServer(port={PORT}).start()
time.sleep(3600)
"""
COPY = """
import time
from conrec_tf.data.files.bucket import local_copy
began = time.monotonic()
path = local_copy("s3://photos/all")
print(time.monotonic() - began, path)
"""


def write_images(folder, count):
  """Writes JPEG files of 96 x 96 pixels in two folders of labels."""
  rng = np.random.default_rng(0)
  for number in range(count):
    path = folder / f"label_{number % 2}" / f"{number:05}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    small.resize((96, 96), Image.Resampling.BICUBIC).save(path, quality=90)


def start_server():
  """Starts the server and waits until it answers."""
  server = subprocess.Popen([sys.executable, "-c", SERVER], stderr=subprocess.DEVNULL)
  while True:
    try:
      urllib.request.urlopen(f"http://127.0.0.1:{PORT}", timeout=1)
      return server
    except urllib.error.HTTPError:
      return server
    except OSError:
      time.sleep(0.2)


def count_files(folder):
  return sum(path.suffix == ".jpg" for path in pathlib.Path(folder).rglob("*"))


def copy():
  """Copies what is lacking; returns seconds and the path of the copy."""
  done = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  seconds, path = done.stdout.split(maxsplit=1)
  return float(seconds), path.strip()


def read(folder):
  """Returns images/s of one pass over a folder, without decoding it before."""
  import tensorflow as tf

  paths = sorted(map(str, pathlib.Path(folder).rglob("*.jpg")))
  batches = tf.data.Dataset.from_tensor_slices(paths).map(
    lambda path: tf.io.decode_jpeg(tf.io.read_file(path)), tf.data.AUTOTUNE
  )
  began = time.monotonic()
  count = sum(1 for _ in batches)
  return count / (time.monotonic() - began)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", type=int, default=10_000)
  count = parser.parse_args().images
  with tempfile.TemporaryDirectory() as name:
    folder, cache = pathlib.Path(name, "folder"), pathlib.Path(name, "cache")
    os.environ |= {
      "XDG_CACHE_HOME": str(cache),
      "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{PORT}",
      "AWS_ACCESS_KEY_ID": "test",
      "AWS_SECRET_ACCESS_KEY": "test",
      "AWS_DEFAULT_REGION": "us-east-1",
      "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    write_images(folder, count)
    server = start_server()
    try:
      import s3fs

      system = s3fs.S3FileSystem()
      system.mkdir("photos")
      system.put(str(folder) + "/", "photos/all", recursive=True)
      cut = subprocess.Popen([sys.executable, "-c", COPY], stderr=subprocess.DEVNULL)
      while count_files(cache) < count // 2:
        time.sleep(0.05)
      cut.kill()
      cut.wait()
      had = count_files(cache)
      print(f"killed after {had} of {count} files")
      noted = sum(len(path.read_text().splitlines()) for path in cache.rglob("*.jsonl"))
      seconds, path = copy()
      print(f"the rest, {count - noted} files: {seconds:.1f} s, {(count - noted) / seconds:.0f}/s")
      assert count_files(path) == count
      same = all(
        (pathlib.Path(path) / file.relative_to(folder)).read_bytes() == file.read_bytes()
        for file in folder.rglob("*.jpg")
      )
      print(f"the copy is {'the same' if same else 'another'}")
      seconds, _ = copy()
      print(f"nothing to copy: {seconds:.1f} s")
      for title, where in (("folder", folder), ("copy", path), ("folder", folder), ("copy", path)):
        print(f"{title}: {read(where):.0f} images/s")
    finally:
      server.kill()


if __name__ == "__main__":
  main()
