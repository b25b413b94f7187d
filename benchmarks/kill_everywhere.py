"""Kills whatever a user starts with SIGKILL, at any moment of it, and compares what it ends in.

    python -m benchmarks.kill_everywhere --kills=100
    python -m benchmarks.kill_everywhere --kills=20 --pipelines=seeds

Pipelines run once without harm: a training with evaluations, export and report, then embeddings, a
page of the data, predictions, a page of the embeddings, a verdict and another evaluation; a
training of two seeds; a segmentation with report, then masks of its images. Then they run again and
again: each command is killed in a phase and at a moment of it drawn from the seed and started anew
until it is done. Nothing that a user keeps may differ in a bit: weights, optimizer, metrics,
results, the best checkpoint, exports, embeddings, masks. Prints a summary as JSON after each
pipeline; the last is that of all.
"""

import argparse
import collections
import functools
import itertools
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # what forks must have no threads
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from command_line import start  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.kill import Data, differences  # noqa: E402
from conrec_tf.files import is_temporary  # noqa: E402
from conrec_tf.run_dir.run_directory import CHECKPOINT_FILE, RESULT_FILE, numbered  # noqa: E402

SHARE = "4%"  # 40 images to learn from, five steps an epoch
STEPS, EPOCH = 10, 5
SEEDS = (0, 1)
TRAINING = [
  "--mode=train_then_eval",
  "--image_size=24",
  "--unet_depth=2",
  "--base_filters=2",
  "--local_crops=0",  # they write nothing
  "--train_batch_size=8",
  "--mixed_precision=float32",
  f"--train_steps={STEPS}",
  "--checkpoint_steps=2",
  "--log_steps=3",
  "--eval_every_epochs=1",
  "--learning_rate_schedule=cosine",
  "--bootstrap_samples=20",
]
# The beginning of a line of the log, and the phase that begins with it.
PHASES = {
  "Seed ": "start",
  "Run ": "training",
  "Results in ": "export",
  "SavedModel in ": "tensorboard",
  "Drawing the report": "report",
  "Report in ": "end",
  "channels ": "page",
}
# Endings of files whose bytes are compared, but for a report's, which shows speeds.
BYTES = (".bytes", ".csv", ".jpg", ".js", ".parquet", ".png")
UNKILLED = 0.15  # share of starts that may end


class Command:
  """One process of a command, with what it has logged.

  Args:
    flags: of the command.
    model_dir: its folder.
  """

  def __init__(self, flags, model_dir):
    self._process = start(*flags, f"--model_dir={model_dir}")
    self._model_dir, self._mode = model_dir, flags[0].removeprefix("--mode=")
    self.seen = [(time.monotonic(), "start")]
    self.lines = []
    self._reader = threading.Thread(target=self._read)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.lines.append(line)
      for beginning, phase in PHASES.items():
        if line.startswith(beginning):
          self.seen.append((time.monotonic(), phase))

  @property
  def is_running(self):
    """Whether it may still log."""
    return self._reader.is_alive()

  @property
  def phase(self):
    """What it is doing."""
    phase = self.seen[-1][1]
    if self._mode in ("embed", "segment"):
      below = "embeddings" if self._mode == "embed" else "segmentations"
      return self._mode if (self._model_dir / below).exists() else f"start of {self._mode}"
    if phase == "training":
      folders = [self._model_dir, *self._model_dir.glob("seed_*")]
      if any(map(is_evaluating, folders)):
        return "evaluation"
    return phase

  def wait_for(self, phase, time_of_many, seconds):
    """Waits until some seconds after a phase has begun, one of several times, or until the end."""
    while self.is_running:
      began = [at for at, name in list(self.seen) if name == phase]
      if len(began) > time_of_many and time.monotonic() >= began[time_of_many] + seconds:
        return
      time.sleep(0.002)

  def kill(self):
    """Kills it; returns whether it was killed and not done."""
    os.kill(self._process.pid, signal.SIGKILL)
    return self.finish()[0] == -signal.SIGKILL

  @functools.cache  # noqa: B019  # a killed one may have ended by itself, and is asked again
  def finish(self):
    """Waits for the end; returns the exit code and what it said."""
    self._reader.join()
    _, stderr = self._process.communicate()
    return self._process.returncode, "".join(self.lines[-20:]) + stderr


def is_evaluating(folder):
  """Whether the newest checkpoint of a run is one that is to be evaluated, and isn't yet."""
  steps = [*numbered(folder / "checkpoints", *CHECKPOINT_FILE)][-1:]
  return bool(steps) and not steps[0] % EPOCH and steps[0] not in numbered(folder, *RESULT_FILE)


def pipelines(folder):
  """`{name: [flags of a command, ...]}`."""
  photos, masks = folder / "photos", folder / "masks"
  for path in (photos, masks):
    path.mkdir()
  photos, masks = Data("image_folder", photos, share=SHARE), Data("masks", masks, share=SHARE)
  images = [flag for flag in photos.flags if flag.startswith("--data")]
  [masked] = [flag for flag in masks.flags if flag.startswith("--data_dir")]
  return {
    "pre-training": [
      [*TRAINING, *photos.flags],
      ["--mode=embed", *images],
      ["--mode=check_data", *images, "--image_size=24"],
      ["--mode=predict", *images],
      ["--mode=explore"],
      ["--mode=verdict", "--label_fractions=0.5", "--few_shots=1", "--num_repeats=1"],
      ["--mode=eval", "--eval_split=train", "--bootstrap_samples=20"],
    ],
    "seeds": [[*TRAINING, f"--seeds={','.join(map(str, SEEDS))}", *photos.flags]],
    "segmentation": [
      [*TRAINING, *masks.flags],
      ["--mode=segment", masked, "--write_probabilities"],
    ],
  }


def run_once(commands, model_dir):
  """Runs all to their ends; returns `[{phase: [seconds, ...]}, ...]`, one for each command."""
  durations = []
  for flags in commands:
    process = Command(flags, model_dir)
    code, output = process.finish()
    if code:
      raise RuntimeError(output)
    times = [*process.seen, (time.monotonic(), "end")]
    seconds = collections.defaultdict(list)
    for (began, phase), (ended, _) in itertools.pairwise(times):
      seconds[phase].append(ended - began)
    durations.append({phase: values for phase, values in seconds.items() if phase != "end"})
  return durations


def kill_until_done(flags, folder, durations, rng, killed):
  """Kills a command and starts it again until it is done; returns what it said if it is blocked."""
  while True:
    process = Command(flags, folder)
    phase = rng.choice(list(durations))
    time_of_many = rng.randrange(len(durations[phase]))
    process.wait_for(phase, time_of_many, rng.uniform(0.0, durations[phase][time_of_many]))
    doing = process.phase
    if rng.random() > UNKILLED and process.is_running and process.kill():
      killed[doing] += 1
      print(f"  {sum(killed.values())} kills, the last in {doing}", file=sys.stderr, flush=True)
      continue
    code, output = process.finish()
    return output if code else ""


def differing(ours, reference, made_in=None):
  """Names of what isn't the same in two finished pipelines, and of what was left behind.

  Args:
    made_in: where the reference was made, if it was moved since.
  """
  seeds = sorted(path.name for path in reference.glob("seed_*"))
  found = [
    f"{seed}/{what}"
    for seed in seeds or [""]
    for what in differences(ours / seed, reference / seed)
  ]
  files = sorted(path.relative_to(reference) for path in reference.rglob("*") if path.is_file())
  for name in files:
    path = ours / name
    if name.name.startswith("events.out") or "checkpoints" in name.parts:
      continue
    if not path.exists():
      found.append(f"{name} is missing")
    elif name.suffix in BYTES and "report" not in name.parts:
      found += [str(name)] * (path.read_bytes() != (reference / name).read_bytes())
    elif name.match("result*.json") or name.name == "verdict.json":
      text = path.read_text().replace(str(ours), str(made_in or reference))
      found += [str(name)] * (text != (reference / name).read_text())
    elif name.suffix == ".npz":
      with np.load(path) as arrays, np.load(reference / name) as expected:
        found += [
          f"{name}: {array}"
          for array in expected
          if arrays[array].tobytes() != expected[array].tobytes()
        ]
  left = [path for path in ours.rglob("*") if is_temporary(path.name) or "_temp" in path.name]
  return found, [str(path.relative_to(ours)) for path in left]


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--pipelines", default="pre-training,seeds,segmentation")
  args = parser.parse_args()
  rng, killed, rounds = random.Random(args.seed), collections.Counter(), 0
  blocked, different, leftovers = [], [], []
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    known = pipelines(folder)
    todo = {name: known[name] for name in args.pipelines.split(",")}
    durations = {name: run_once(todo[name], folder / name) for name in todo}
    print(json.dumps(durations, indent=2), file=sys.stderr, flush=True)
    for name in itertools.cycle(todo):
      run, rounds = folder / f"{name}_{rounds}", rounds + 1
      for command, seconds in zip(todo[name], durations[name], strict=True):
        said = kill_until_done(command, run, seconds, rng, killed)
        if said:
          blocked.append(said)
          break
      else:
        found, left = differing(run, folder / name)
        different, leftovers = different + found, leftovers + left
      summary = {
        "kills": sum(killed.values()),
        "by_phase": dict(sorted(killed.items())),
        "pipelines": rounds,
        "blocked": blocked,
        "differences": different,
        "left_behind": leftovers,
      }
      print(json.dumps(summary, indent=2), flush=True)
      if summary["kills"] >= args.kills:
        break
  sys.exit(1 if blocked or different or leftovers else 0)


if __name__ == "__main__":
  main()
