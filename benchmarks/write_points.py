"""Takes what a user starts at each of its writes in turn, and compares what it ends in.

    python -m benchmarks.write_points --of_a_kind=3
    python -m benchmarks.write_points --pipelines=segmentation --errors=ENOSPC,EIO,EACCES

The commands of `benchmarks.kill_everywhere` run once without harm. At each call that writes below
`model_dir`, that is opening to write, writing, renaming, removing, making folders, waiting for the
disk, what is there is copied: what a kill at that moment would leave, with half of what is just
being written. TensorFlow's own files are seen too, since `write_points.c`, which a C compiler makes
a library of, sits between a process and the C library. From each of these states the command is
started anew and must end in the same bits. Two states are one if they differ only in what a
temporary file or folder holds, which a start removes by its name, or in TensorBoard's rows, which
no command reads.

With `--errors` each of these calls fails in turn, of which a command must either take no notice or
end with one line that says so; and after that it is started anew, too. Prints a summary as JSON
after each command; the last is that of all.
"""

import argparse
import atexit
import collections
import concurrent.futures
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from benchmarks.kill_everywhere import differing, pipelines, start
from conrec_tf.files import TEMPORARY
from conrec_tf.run_dir.checkpoints import UNFINISHED

LIBRARY = pathlib.Path(__file__).with_suffix(".c")
ONE_CORE = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
MARK = "Traceback (most recent call last)"


@functools.cache
def library():
  """Compiles what counts and fails, once; returns its path, absolute."""
  folder = tempfile.mkdtemp()
  atexit.register(shutil.rmtree, folder)
  path = str(pathlib.Path(folder, "write_points.so"))
  subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", path, LIBRARY, "-ldl"], check=True)
  return path


def commands(pipeline):
  """Returns flags of the commands of one, with the report that a training ends in as its own."""
  training, *others = pipeline
  report = [] if any(flag.startswith("--seeds") for flag in training) else [["--mode=report"]]
  return [[*training, "--noreport"], *report, *others]


def run(flags, model_dir, **environment):
  """Runs a command on one core; returns its exit code, and what it said."""
  process = start(*flags, f"--model_dir={model_dir}", **ONE_CORE, **environment)
  said = "".join(process.communicate())
  return process.returncode, said


def run_watched(flags, model_dir, **values):
  """Runs a command that is seen by the library, which `values` tell what to do.

  Returns:
    Its exit code, what it said, and the number of its writes.
  """
  with tempfile.NamedTemporaryFile() as counts:
    counts.write(struct.pack("q", 0))
    counts.flush()
    values |= {"FOLDER": model_dir, "COUNT": counts.name}
    environment = {f"WRITE_POINTS_{name}": str(value) for name, value in values.items()}
    code, said = run(flags, model_dir, LD_PRELOAD=library(), **environment)
    return code, said, struct.unpack("q", pathlib.Path(counts.name).read_bytes())[0]


def run_and_keep(flags, model_dir, states):
  """Runs a command without harm; keeps what was there at each write, as `states/<number>`.

  Returns:
    The number of writes.
  """
  code, said, writes = run_watched(flags, model_dir, STATES=states)
  if code:
    raise RuntimeError(said)
  return writes


def kind_of_unread(name):
  """Returns what a file or folder is that no command reads; empty: it is read."""
  if TEMPORARY.fullmatch(name):
    return "a temporary"
  if UNFINISHED.fullmatch(name):
    return "an unfinished checkpoint"
  return "rows for TensorBoard" if name.startswith("events.out.tfevents.") else ""


def contents(state):
  """Returns what is there by its path, of a file a digest; of what no command reads, only that."""
  found = {}
  for folder, folders, files in os.walk(state):
    inside = pathlib.Path(folder).relative_to(state)
    for name in folders + files:
      kind = kind_of_unread(name)
      is_read_file = not kind and name in files
      digest = hashlib.sha256(pathlib.Path(folder, name).read_bytes()) if is_read_file else None
      found[str(inside / (kind or name))] = digest and digest.hexdigest()
    folders[:] = [name for name in folders if not kind_of_unread(name)]
  return found


def distinct(states, writes, of_a_kind):
  """Finds the writes before which something else was there than before.

  Args:
    states: folder of what was there by number. Others are removed.
    writes: how many there were.
    of_a_kind: how many to take of those before which the same files changed, but for numbers in
      their names: the first and the last; 0: all.

  Returns:
    Their numbers, and how many there were of any kind.
  """
  seen, before, of_kinds = set(), {}, collections.defaultdict(list)
  for number in range(1, writes + 1):
    state = states / str(number)  # which isn't there before the folder itself is made
    if not state.exists():
      continue
    there = contents(state)
    known = frozenset(there.items())
    if known not in seen:
      changed = [name for name, _ in known ^ before.items()]
      of_kinds[frozenset(re.sub(r"\d+", "#", name) for name in changed)].append(number)
    seen.add(known)
    before = there
  # The last of a kind too: nothing comes after it that would put right what it leaves.
  taken = {
    number
    for numbers in of_kinds.values()
    for number in (numbers[: of_a_kind - 1] + numbers[-1:] if of_a_kind else numbers)
  }
  for state in states.iterdir():
    if int(state.name) not in taken:
      shutil.rmtree(state)
  return sorted(taken), len(seen)


@dataclasses.dataclass(frozen=True)
class Reference:
  """What a command ends in without harm.

  Attributes:
    path: a copy of that.
    made_in: the folder that it was.
  """

  path: pathlib.Path
  made_in: pathlib.Path


def ends_as(flags, model_dir, reference):
  """Runs a command to its end; returns what is wrong with that, `[text]`."""
  code, said = run(flags, model_dir)
  if code:
    return [f"blocked: {said[-600:]}"]
  found, left = differing(model_dir, reference.path, reference.made_in)
  return [f"differs: {what}" for what in found] + [f"left behind: {what}" for what in left]


def after_kill(flags, state, reference):
  """Starts a command anew where a kill would have left it; returns how that ended, and wrongs."""
  with tempfile.TemporaryDirectory(dir=state.parent) as folder:
    model_dir = pathlib.Path(folder, "run")
    state.rename(model_dir)
    return "started anew", ends_as(flags, model_dir, reference)


def after_error(flags, before, point, name, reference):
  """Lets a write fail, and then runs to the end; returns how the first ended, and wrongs."""
  with tempfile.TemporaryDirectory(dir=reference.path.parent) as folder:
    model_dir = pathlib.Path(folder).resolve() / "run"
    if before is not None:
      shutil.copytree(before, model_dir, symlinks=True)
    code, said, _ = run_watched(flags, model_dir, FAILING=point, ERROR=getattr(errno, name))
    wrong = [f"ended with {code}: {said[-600:]}"] if code not in (0, 1) or MARK in said else []
    ended = f"{name}, {'refused' if code else 'did not matter'}"
    return ended, wrong + ends_as(flags, model_dir, reference)


def take(flags, before, reference, errors=(), every=1, of_a_kind=0):
  """Takes a command at each of its writes, or at some, one on each core at once.

  Args:
    flags: of the command.
    before: what it begins with, a folder; None: with nothing.
    reference: what it ends in. Folders are made beside it.
    errors: names of what fails; empty: it is killed.
    every: take every so many of them.
    of_a_kind: how many kills before which the same files changed, but for numbers in their names;
      0: all.

  Returns:
    A summary, a dict.
  """
  ended, bad = collections.Counter(), []
  threads = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
  with tempfile.TemporaryDirectory(dir=reference.path.parent) as folder, threads:
    # Links resolved, as they are in the names by which the library knows open files.
    folder = pathlib.Path(folder).resolve()
    model_dir, states = folder / "run", folder / "states"
    states.mkdir()
    if before is not None:
      shutil.copytree(before, model_dir, symlinks=True)
    writes = run_and_keep(flags, model_dir, states)
    points, count = distinct(states, writes, of_a_kind)
    jobs = {}
    for point in points[::every] if not errors else range(1, writes + 1, every):
      for name in errors or [None]:
        call = (
          (after_error, flags, before, point, name, reference)
          if name
          else (after_kill, flags, states / str(point), reference)
        )
        jobs[threads.submit(*call)] = f"{flags[0]} write {point} {name or 'killed'}"
    for done, job in enumerate(concurrent.futures.as_completed(jobs), start=1):
      how, wrong = job.result()
      ended[how] += 1
      bad += [f"{jobs[job]}: {what}" for what in wrong]
      print(f"  {flags[0]}: {done} of {len(jobs)}, {len(bad)} bad", file=sys.stderr, flush=True)
      if wrong:
        print("\n".join(bad[-len(wrong) :]), file=sys.stderr, flush=True)
  return dict(writes=writes, states=count, tried=len(jobs), ended=dict(ended), bad=sorted(bad))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--pipelines", default="pre-training,seeds,segmentation")
  parser.add_argument("--modes", default="", help="take commands of these alone; by default: all")
  parser.add_argument("--every", type=int, default=1, help="take every so many of them")
  parser.add_argument(
    "--of_a_kind",
    type=int,
    default=0,
    help="take so many kills before which the same files changed, and the last; by default: all",
  )
  parser.add_argument("--errors", default="", help="names of errors; by default: kills")
  args = parser.parse_args()
  errors = [name for name in args.errors.split(",") if name]
  if errors and args.of_a_kind:
    parser.error("--of_a_kind is of kills; --every is for --errors")
  summary = {}
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    known = pipelines(folder)
    for pipeline in args.pipelines.split(","):
      run_dir, before = folder / pipeline, None
      for number, flags in enumerate(commands(known[pipeline])):
        code, said = run(flags, run_dir)
        if code:
          raise RuntimeError(said)
        after = folder / f"{pipeline}_{number}"
        shutil.copytree(run_dir, after, symlinks=True)
        mode = flags[0].removeprefix("--mode=")
        if not args.modes or mode in args.modes.split(","):
          summary[f"{pipeline}: {mode}"] = take(
            flags, before, Reference(after, run_dir), errors, args.every, args.of_a_kind
          )
          print(json.dumps(summary, indent=2), flush=True)
        before = after
  sys.exit(1 if any(taken["bad"] for taken in summary.values()) else 0)


if __name__ == "__main__":
  main()
