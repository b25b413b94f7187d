"""Runs what a user starts beside one another, and compares with what it ends in alone.

    python -m benchmarks.beside --rounds=10

Two trainings learn from one folder of photographs, on one cache. Once the first was evaluated, an
evaluation on other images follows its checkpoints; and until it ends, its report is drawn, images
are predicted, and another training is started in its folder, which must be refused, in turn.
What the two end in must be the bits that they end in alone, and what runs beside them must end
well. Prints a summary as JSON after each round; the last is that of all.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import sys
import tempfile
import time

from benchmarks.kill_everywhere import TRAINING, differing, pipelines, start

LONGER = [
  *TRAINING,
  "--train_steps=2400",
  "--checkpoint_steps=50",
  "--eval_every_epochs=40",
  "--noreport",
]
REFUSED = {
  "train": "model_dir must not be in use by another training",
  "predict": "must have a classifier",  # the newest checkpoint, which may not be measured yet
}


def ends(process):
  """Waits for a command; returns its exit code and what it said."""
  said = "".join(process.communicate())
  return process.returncode, said


def beside(training, folder):
  """Runs two trainings with everything beside the first; returns counts by mode, and wrongs."""
  runs = [folder / "first", folder / "second"]
  trainings = [
    start(*training, f"--seed={seed}", f"--model_dir={run}") for seed, run in enumerate(runs)
  ]
  while not any(runs[0].glob("result_*.json")) and trainings[0].poll() is None:
    time.sleep(0.05)
  other = ["--eval_split=train", "--bootstrap_samples=20"]
  evaluation = start("--mode=eval", *other, f"--model_dir={runs[0]}")
  images = [flag for flag in training if flag.startswith("--data")]
  commands = {
    "report": ["--mode=report"],
    "predict": ["--mode=predict", *images],
    "train": [*training, "--seed=0"],
  }
  counts, wrong = collections.Counter(), []
  for mode in itertools.cycle(commands):
    if trainings[0].poll() is not None:
      break
    code, said = ends(start(*commands[mode], f"--model_dir={runs[0]}"))
    counts[mode] += 1
    if mode == "train" and trainings[0].poll() is None and not code:
      wrong.append(f"a second training: {said[-600:]}")
    elif code and not (mode in REFUSED and REFUSED[mode] in said):
      wrong.append(f"{mode}: {said[-600:]}")
  for name, process in (("first", trainings[0]), ("second", trainings[1]), ("eval", evaluation)):
    code, said = ends(process)
    counts[name] += 1
    wrong += [f"{name}: {said[-600:]}"] if code else []
  return counts, wrong


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rounds", type=int, default=3)
  args = parser.parse_args()
  counts, wrong = collections.Counter(), []
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    data = [flag for flag in pipelines(folder)["pre-training"][0] if flag not in TRAINING]
    training = [*LONGER, *data]
    for seed, name in enumerate(("first", "second")):
      code, said = ends(start(*training, f"--seed={seed}", f"--model_dir={folder / name}"))
      if code:
        raise RuntimeError(said)
    for number in range(args.rounds):
      os.environ["XDG_CACHE_HOME"] = str(folder / f"cache_{number}")  # both fill it at once
      found, said = beside(training, folder / str(number))
      counts, wrong = counts + found, wrong + said
      for name in ("first", "second"):
        different, left = differing(folder / str(number) / name, folder / name)
        wrong += [f"{name} differs: {what}" for what in different]
        wrong += [f"{name} leaves {what}" for what in left]
      print(
        json.dumps({"rounds": number + 1, "beside": counts, "bad": wrong}, indent=2), flush=True
      )
  sys.exit(1 if wrong else 0)


if __name__ == "__main__":
  main()
