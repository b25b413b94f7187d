"""Trains variations of a recipe on the same number of images, and keeps what each reached.

    python -m experiments.recipe --studies=search_synthetic
    python -m experiments.recipe --table

What is done is in `experiments/results`, a small file for each training, and isn't done again; a
training that was killed goes on where it was. Several can run side by side (`--jobs`), each on its
share of the cores. How long a step of each takes is measured by `experiments.costs`.

Variations are chosen by a held-out share of the training labels. The accuracy on the test split is
in the files and tables, and decides nothing.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np

from conrec_tf.files import write_text
from conrec_tf.metrics import (
  LINEAR_ACCURACY,
  TOTAL_LOSS,
  UNTRAINED_STRONGEST,
  standardised_key,
)
from conrec_tf.run_dir.environment import versions
from conrec_tf.run_dir.run_directory import RunDirectory
from experiments.jobs import machine, on_shares_of_cores
from experiments.studies import STUDIES
from experiments.table import COSINE, COSINES, COSTS, VALIDATION, update

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGE = ROOT / "docs" / "recipe.md"
STOPPED = 143  # after SIGTERM, with a checkpoint saved
KEPT = ("eval/", "global_step")
LEFT_OUT = ("top_3", "top_5")


def command(flags, model_dir):
  """The command of a training."""
  return [sys.executable, "run.py", f"--model_dir={model_dir}", "--noreport", *flags]


def run(arguments, log, cores=None, seconds=None):
  """Runs a command on some of the cores, to its end or for some seconds.

  Returns:
    Whether it came to its end; else what it was doing is saved.
  """
  pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
  with open(log, "a") as file:
    process = subprocess.Popen([*pinned, *arguments], cwd=ROOT, stdout=file, stderr=file)
    try:
      process.wait(seconds)
    except subprocess.TimeoutExpired:
      process.terminate()
    except BaseException:
      process.kill()
      raise
    process.wait()
  if process.returncode not in (0, STOPPED):
    raise RuntimeError(f"the training ended with {process.returncode}; see {log}")
  return not process.returncode


def train(name, variation, seed, study, folder, cores, seconds=None):
  """Trains and evaluates once, and writes what was reached, after so many seconds at the latest."""
  model_dir = folder / name / f"{variation}_{seed}"
  model_dir.parent.mkdir(parents=True, exist_ok=True)
  flags = [*study.command(variation, cost_of(name, variation, study)), f"--seed={seed}"]
  always = [
    "--mode=train_then_eval",
    "--select_best_on=validation",
    "--export_format=",
    "--bootstrap_samples=0",
    "--mixed_precision=float32",
    f"--eval_every_epochs={study.eval_every_epochs}",
    f"--checkpoint_steps={max(500, study.steps // 20)}",
    "--log_steps=50",
  ]
  training = command([*always, *flags], model_dir)
  is_done = run(training, model_dir.with_name(f"{model_dir.name}.log"), cores, seconds)
  directory = RunDirectory(model_dir)
  rows = directory.rows("metrics.jsonl", "global_step")
  last = next((row for row in reversed(rows) if TOTAL_LOSS in row), {})
  result = (directory.read("result.json") if is_done else None) or last
  content = {
    "study": name,
    "variation": variation,
    "seed": seed,
    "flags": [flag for flag in flags if not flag.startswith("--data_dir")],
    "result": kept(result),
    "evaluations": [kept(row) for row in rows if VALIDATION in row],
    "losses": {key: value for key, value in last.items() if key.startswith("train/")},
    **with_cosines(rows),
    "machine": machine(cores),
    "versions": versions(),
  }
  path = RESULTS / name / f"{variation}_{seed}.json"
  part = path.with_name(f"part_of_{path.name}")
  write(path if is_done else part, content)
  if is_done:
    part.unlink(missing_ok=True)
  return content


def with_cosines(rows):
  """The cosines of gradients that were logged, `{name: means over tenths of the training}`."""
  names = {key for row in rows for key in row if key.endswith(COSINE)}
  logged = {name: [row[name] for row in rows if name in row] for name in sorted(names)}
  means = {
    name: [float(tenth.mean()) for tenth in np.array_split(values, 10) if tenth.size]
    for name, values in logged.items()
  }
  return {COSINES: means} if means else {}


def cost_of(name, variation, study):
  """The seconds of a variation's steps, relative to the study's first."""
  if not study.equal_seconds:
    return 1.0
  path = RESULTS / name / COSTS
  if not path.exists():
    raise RuntimeError(
      f"how long steps take must be known: python -m experiments.costs --study={name}"
    )
  return json.loads(path.read_text())[variation]


def kept(measures):
  """The measures of an evaluation that are kept."""
  return {
    key: value
    for key, value in measures.items()
    if key.startswith(KEPT) and not any(part in key for part in LEFT_OUT)
  }


def write(path, content):
  """Writes a JSON file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def data_flags(study, args):
  """Where a study's data lies, as flags."""
  folder = args.images if "--dataset=image_folder" in study.flags else args.data_dir
  return (f"--data_dir={folder}",) if folder else ()


def missing(names, seeds, only):
  """What isn't done yet: `[(study's name, variation, seed)]`, one seed of all after the other."""
  return sorted(
    (
      (name, variation, seed)
      for name in names
      for variation in STUDIES[name].variations
      for seed in STUDIES[name].seeds
      if seed in seeds
      and (not only or variation in only)
      and variation not in STUDIES[name].elsewhere
      and not (RESULTS / name / f"{variation}_{seed}.json").exists()
    ),
    key=lambda job: job[2],
  )


def line_about(content):
  """What a training reached, in a line."""
  result = content["result"]
  numbers = ", ".join(
    f"{words} {100 * result[key]:.1f}"
    for words, key in (
      ("validation", VALIDATION),
      ("test", standardised_key(LINEAR_ACCURACY)),
      ("untrained", UNTRAINED_STRONGEST),
    )
    if key in result
  )
  return f"{content['study']} {content['variation']} {content['seed']}: {numbers}"


def argument_parser(about, studies):
  """The arguments of a command that trains; by default, what is missing of `studies`."""
  parser = argparse.ArgumentParser(description=about)
  parser.add_argument("--studies", default=",".join(studies))
  parser.add_argument("--only", default="", help="variations, separated by commas")
  parser.add_argument("--seeds", default="0,1,2")
  parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
  parser.add_argument(
    "--part_seconds", type=float, help="after which a training stops, to be gone on with later"
  )
  parser.add_argument("--data_dir", default="", help="where TFDS keeps prepared data")
  parser.add_argument("--images", default="", help="the folder of studies of image folders")
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "experiments")
  parser.add_argument(
    "--table", action="store_true", help="train nothing, write what is done into the pages"
  )
  return parser


def train_missing(args):
  """Trains what the arguments ask for and isn't done yet."""
  names = args.studies.split(",")
  jobs = missing(
    names, set(map(int, args.seeds.split(","))), set(filter(None, args.only.split(",")))
  )
  studies = {
    name: dataclasses.replace(study, flags=(*data_flags(study, args), *study.flags))
    for name, study in STUDIES.items()
  }

  def work(job, cores):
    name, variation, seed = job
    study = studies[name]
    return line_about(train(name, variation, seed, study, args.runs, cores, args.part_seconds))

  on_shares_of_cores(work, jobs, args.jobs)


def main():
  args = argument_parser(__doc__.split("\n")[0], STUDIES).parse_args()
  if args.table:
    update(PAGE, RESULTS)
  else:
    train_missing(args)


if __name__ == "__main__":
  main()
