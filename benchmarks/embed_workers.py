"""Images that one process embeds in a second, against two that share the cores; one is killed.

    python -m benchmarks.embed_workers --images=50000

Small JPEGs are drawn on the spot and embedded with `--mode=embed`: by one process with all cores,
then by two at once with half of them each. Then by two again, of which the second is killed after
its first file; the first must end with one line, and the same commands make what is missing.
Seconds are those from the first process that begins with its images until the last one ends, so
without the start. Last, whether all files of each are those of one process to the bit.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from benchmarks.folder_size import make_folder

ROOT = pathlib.Path(__file__).parents[1]
NETWORK = ROOT / "networks/oxford_flowers102_64px"
BEGAN = "began"  # a file, with the time, in a folder for each process


def embed_here(folder, per_file, flags):
  """What `run.py` does, with files of so many images; notes when it begins with these."""
  from conrec_tf import cli
  from conrec_tf.commands import embed
  from conrec_tf.distribute.shards import Shards

  first_first = Shards.first_first

  def noting(*args):
    first_first(*args)
    pathlib.Path(folder, BEGAN).write_text(str(time.time()))

  embed.IMAGES_PER_FILE, Shards.first_first = per_file, noting
  sys.argv = ["run.py", *flags]
  cli.main()  # which ends the process


class Workers:
  """Processes that embed the images of a folder together.

  Args:
    folder: for all that is written.
    name: of what is measured.
    count: how many there are; each has its share of the cores.
    args: of the command line.
  """

  def __init__(self, folder, name, count, args):
    self.embeddings = folder / name / "embeddings/images"
    self.logs = [folder / f"{name}_{index}" for index in range(count)]
    self.processes = []
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // count
    for index, log in enumerate(self.logs):
      log.mkdir(exist_ok=True)
      tasks = {"cluster": {"worker": count * [":"]}, "task": {"type": "worker", "index": index}}
      own = cores[index * share :][:share]
      flags = [
        *("--mode=embed", "--dataset=image_folder", "--label_mode=none"),
        *(f"--checkpoint={args.network}", f"--data_dir={folder / 'images'}"),
        *(f"--model_dir={folder / name}", "--train_split=all", "--eval_split=all"),
      ]
      module = [sys.executable, "-m", "benchmarks.embed_workers", f"--here={log}"]
      with (log / "log").open("w") as file:
        self.processes.append(
          subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, own)), *module, f"--per_file={args.per_file}"]
            + flags,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={
              **os.environ,
              "TF_CONFIG": json.dumps(tasks),
              "XDG_CACHE_HOME": str(folder / "cache"),
            },
          )
        )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self.processes:
      with contextlib.suppress(ProcessLookupError):
        process.kill()
      process.wait()

  def said(self, index):
    return (self.logs[index] / "log").read_text()

  def finish(self):
    """Waits for all; returns the seconds of their work."""
    for index, process in enumerate(self.processes):
      if process.wait():
        raise RuntimeError(self.said(index))
    return time.time() - min(float((log / BEGAN).read_text()) for log in self.logs)

  def kill_second(self):
    """Kills the second after its first file; returns seconds until the first ends, and its words.

    Without a second file of its own there would be nothing left to do.
    """
    while not list(self.embeddings.glob("train-00001-of-*.npz")):
      time.sleep(0.01)
      if any(process.poll() for process in self.processes):
        raise RuntimeError(self.said(0) + self.said(1))
    self.processes[1].send_signal(signal.SIGKILL)
    began = time.monotonic()
    if self.processes[0].wait() != 1:
      raise RuntimeError(self.said(0))
    return time.monotonic() - began, self.said(0).splitlines()[-1]

  def digests(self):
    """Returns a hash of each file that was written."""
    return {
      path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.embeddings.iterdir()
    }


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=int, default=50_000)
  parser.add_argument("--network", default=str(NETWORK))
  parser.add_argument("--per_file", type=int, default=2048, help="images of a file of embeddings")
  parser.add_argument("--here", help=argparse.SUPPRESS)
  args, flags = parser.parse_known_args()
  if args.here:
    embed_here(args.here, args.per_file, flags)
  if flags or args.images <= 3 * args.per_file:
    parser.error(f"unknown flags ({flags}), or fewer images than two files for each process")
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is left behind is removed then too
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    make_folder(folder / "images", args.images)
    print(f"{args.images} images, {len(os.sched_getaffinity(0))} cores", flush=True)
    made = {}
    for name, count in (("one", 1), ("two", 2)):
      with Workers(folder, name, count, args) as workers:
        seconds = workers.finish()
        made[name] = workers.digests()
      print(f"{name:>4}: {args.images / seconds:7.0f} images/s, {seconds:.1f} s", flush=True)
    with Workers(folder, "killed", 2, args) as workers:
      seconds, said = workers.kill_second()
    print(f"One killed; the other ended {seconds:.0f} s later with\n  {said}", flush=True)
    with Workers(folder, "killed", 2, args) as workers:
      workers.finish()
      made["killed"] = workers.digests()
  equal = {name: made[name] == made["one"] for name in ("two", "killed")}
  print(f"Files of one process to the bit: of two {equal['two']}, after a kill {equal['killed']}")
  sys.exit(not all(equal.values()))


if __name__ == "__main__":
  main()
