"""Ends what a user starts at each of its writes in turn, and compares what it ends in.

    python -m benchmarks.write_points --every=20
    python -m benchmarks.write_points --pipelines=segmentation --errors=ENOSPC,EIO,EACCES

The commands of `benchmarks.kill_everywhere` run once without harm, and what each writes below
`model_dir` is counted: opening to write, writing, renaming, removing, making folders, waiting for
the disk; TensorFlow's own files too, since `write_points.c`, which a C compiler makes a library
of, sits between a process and the C library. Then each command begins again from what was there
before it, once for each of its writes: there it is killed, in the middle of what it writes, or the
call fails. After that it is started anew and must end in the same bits. A call that fails must
either not matter or end the command with one line that says so. Prints a summary as JSON after
each command; the last is that of all.
"""

import argparse
import collections
import errno
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

from benchmarks.kill_everywhere import differing, pipelines, start

LIBRARY = pathlib.Path(__file__).with_suffix(".c")
KILLED = "SIGKILL"
MARK = "Traceback (most recent call last)"


def compile_library(folder):
  """Compiles what counts and fails; returns its path."""
  library = folder / "write_points.so"
  subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, LIBRARY, "-ldl"], check=True)
  return library


def run(flags, model_dir, counts, point=0, error=0):
  """Runs a command, hit at one of its writes; 0: at none.

  Returns:
    Its exit code, what it said, and how many writes there were until its end.
  """
  counts.write_bytes(struct.pack("q", 0))
  os.environ["WRITE_POINTS_FOLDER"] = str(model_dir)
  os.environ["WRITE_POINTS_COUNT"] = str(counts)
  os.environ["WRITE_POINT"], os.environ["WRITE_POINT_ERROR"] = str(point), str(error)
  process = start(*flags, f"--model_dir={model_dir}")
  said = "".join(process.communicate())
  return process.returncode, said, struct.unpack("q", counts.read_bytes())[0]


def copy(source, target):
  """Copies what a command begins from, if anything was before it."""
  shutil.rmtree(target, ignore_errors=True)
  if source is not None:
    shutil.copytree(source, target, symlinks=True)


class Points:
  """The writes of one command, and what became of it after each.

  Args:
    flags: the command's.
    before: a copy of what was there before it, or None.
    reference: what it ended in without harm.
    folder: where to run.
  """

  def __init__(self, flags, before, reference, folder):
    self._flags, self._before, self._reference = flags, before, reference
    self._run, self._counts = folder / "run", folder / "count"
    self.ended, self.bad = collections.Counter(), []

  def hit(self, point, name):
    """Runs it with one write hit by a signal or an error of a name, and then to its end."""
    copy(self._before, self._run)
    error = 0 if name == KILLED else getattr(errno, name)
    code, said, _ = run(self._flags, self._run, self._counts, point, error)
    wrong = self._wrong_end(code, said, name)
    code, said, _ = run(self._flags, self._run, self._counts)
    if code:
      wrong.append(f"blocked: {said[-600:]}")
    else:
      found, left = differing(self._run, self._reference)
      wrong += [f"differs: {what}" for what in found] + [f"left behind: {what}" for what in left]
    self.bad += [f"{self._flags[0]} write {point} {name}: {what}" for what in wrong]

  def _wrong_end(self, code, said, name):
    """What is wrong with how it ended when it was hit, `[text]`."""
    if name == KILLED:
      self.ended["killed" if code == -signal.SIGKILL else "not reached"] += 1
      return []
    self.ended[f"{name}, {'refused' if code else 'did not matter'}"] += 1
    return [f"ended with {code}: {said[-600:]}"] if code not in (0, 1) or MARK in said else []


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--pipelines", default="pre-training,seeds,segmentation")
  parser.add_argument("--every", type=int, default=1, help="take every so many of the writes")
  parser.add_argument("--first", type=int, default=1, help="of them")
  parser.add_argument("--errors", default="", help=f"names of errors; by default: {KILLED}")
  args = parser.parse_args()
  names = args.errors.split(",") if args.errors else [KILLED]
  summary, bad = {}, []
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder).resolve()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.environ["LD_PRELOAD"] = str(compile_library(folder))
    known = pipelines(folder)
    for pipeline in args.pipelines.split(","):
      reference, before = folder / pipeline, None
      for number, flags in enumerate(known[pipeline]):
        code, said, writes = run(flags, reference, folder / "count")
        if code:
          raise RuntimeError(said)
        after = folder / f"{pipeline}_{number}"
        copy(reference, after)
        points = Points(flags, before, after, folder)
        hit = range(args.first, writes + 1, args.every)
        for point in hit:
          for name in names:
            points.hit(point, name)
          print(f"  {flags[0]}: {point} of {writes} writes, {len(points.bad)} bad", file=sys.stderr)
          if points.bad:
            print("\n".join(points.bad[-3:]), file=sys.stderr, flush=True)
        mode = flags[0].removeprefix("--mode=")
        summary[f"{pipeline}: {mode}"] = {
          "writes": writes,
          "tried": len(hit) * len(names),
          "ended": dict(points.ended),
          "bad": points.bad,
        }
        bad += points.bad
        before = after
        print(json.dumps(summary, indent=2), flush=True)
  sys.exit(1 if bad else 0)


if __name__ == "__main__":
  main()
