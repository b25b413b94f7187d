"""A peer in the same minutes: LightlyTrain beside the default recipe on Oxford Flowers 102.

    python -m experiments.peers --data_dir=data
    python -m experiments.peers --table    # into docs/results.md, where that has its mark

LightlyTrain is installed in an environment of its own, and trains a ResNet-18 from random weights
by SimCLR and by DINO: on the same images at the same 64 pixels, on the same cores, in the same
precision, and for the seconds that the default recipe takes, both counted from the first step and
rounded up to whole epochs for the peer. It does so with its defaults, and with the batch and the
learning rate that are best on held-out training labels among three. All networks, the peer's
untrained one too, are read by `--mode=eval`, the peer's from ONNX files. What is done is in
`experiments/results/peers` and isn't done again. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import pathlib
import statistics

from PIL import Image
import tensorflow_datasets as tfds

from conrec_tf.metrics import (
  IMAGES_PER_SECOND,
  KNN_ACCURACY,
  LINEAR_ACCURACY,
  UNTRAINED_STRONGEST,
  standardised_key,
)
from conrec_tf.models.precision import resolve_precision
from conrec_tf.reporting.tables import Table
from conrec_tf.run_dir.environment import hardware, versions
from conrec_tf.run_dir.run_directory import RunDirectory
from experiments.peers.environment import HERE, environment
from experiments.recipe import RESULTS, ROOT, command, kept, run, write
from experiments.table import VALIDATION, below_mark, mean_and_deviation

DATASET, SPLIT = "oxford_flowers102", "train+validation"
PIXELS = 64
BATCH = 16  # of the default recipe
IMAGES = 2040  # of the split
STEPS = {"ten minutes": 7500, "half an hour": 22500}  # about so long on two cores in bfloat16
METHODS = {"simclr": "SimCLR", "dino": "DINO"}
UNTRAINED = ("untrained", "recomputed")  # as it begins, and with batch norm's statistics of images
DEFAULTS = (0, 0)
TRIES = ((64, 1), (32, 1), (32, 3))  # (batch, rate as a multiple of the library's)
OURS = "conrec"
SHARED = (  # of our training, and of reading the peer's networks
  f"--dataset={DATASET}",
  f"--train_split={SPLIT}",
  f"--image_size={PIXELS}",
  "--cache_dataset",
  "--select_best_on=validation",
  "--bootstrap_samples=0",
  "--export_format=",
)
READINGS = (LINEAR_ACCURACY, standardised_key(LINEAR_ACCURACY), KNN_ACCURACY)
FOLDER = RESULTS / "peers"
PAGE = ROOT / "docs" / "results.md"


def write_images(data_dir, folder):
  """Writes the training images as PNG, once; returns their folder."""
  images, temporary = folder / "images", folder / "images.tmp"
  if not images.exists():
    temporary.mkdir(parents=True, exist_ok=True)
    rows = tfds.load(DATASET, split=SPLIT, data_dir=data_dir or None)
    for number, row in enumerate(tfds.as_numpy(rows)):
      Image.fromarray(row["image"]).save(temporary / f"{number:05d}.png")
    temporary.rename(images)
  return images


def training_seconds(rows):
  """How long a training's steps took, the first ones, which are traced, at the pace of the next.

  Args:
    rows: of metrics.jsonl.
  """
  logged = [
    (row["global_step"], row[IMAGES_PER_SECOND]) for row in rows if IMAGES_PER_SECOND in row
  ]
  steps = [step for step, _ in logged]
  lengths = [step - before for step, before in zip(steps, [0, *steps[:-1]], strict=True)]
  paces = [pace for _, pace in logged]
  paces[0] = paces[1]
  return sum(BATCH * length / pace for length, pace in zip(lengths, paces, strict=True))


def train_ours(minutes, seed, args):
  """Trains by the default recipe, and writes what was reached."""
  model_dir = args.runs / f"conrec_{STEPS[minutes]}_{seed}"
  flags = [*SHARED, f"--train_steps={STEPS[minutes]}", f"--seed={seed}", *data(args)]
  run(command(["--mode=train_then_eval", *flags], model_dir), model_dir.with_suffix(".log"))
  directory = RunDirectory(model_dir)
  result = directory.read("result.json") or {}
  seconds = training_seconds(directory.rows("metrics.jsonl", "global_step"))
  images = BATCH * STEPS[minutes]
  keep(minutes, OURS, DEFAULTS, seed, result, {"seconds": seconds, "images": images})


def train_peer(minutes, method, tried, seed, args):
  """Trains the peer for as long as ours took, reads it, and writes what was reached."""
  batch, rate = tried
  out = args.runs / path(minutes, method, tried, seed).stem
  asked = {
    "method": method,
    "images": str(write_images(args.data_dir, args.runs)),
    "out": str(out),
    "batch": batch,
    "rate": rate,
    "seed": seed,
    "pixels": PIXELS,
    "precision": "bf16-mixed" if resolve_precision("auto") == "mixed_bfloat16" else "32-true",
    "seconds": seconds_of_ours(minutes, seed) if method in METHODS else 0,
  }
  run(
    [environment(args.runs), HERE / "train_resnet.py", json.dumps(asked)], out.with_suffix(".log")
  )
  network = [f"--checkpoint={out / 'network.onnx'}", "--external_scaling=imagenet"]
  read = command(["--mode=eval", *SHARED, *network, *data(args)], out / "read")
  run(read, out.with_suffix(".log"))
  result = RunDirectory(out / "read").read("result.json") or {}
  keep(minutes, method, tried, seed, result, json.loads((out / "report.json").read_text()))


def seconds_of_ours(minutes, seed):
  """How long ours trained."""
  return json.loads(path(minutes, OURS, DEFAULTS, seed).read_text())["seconds"]


def data(args):
  """Where the dataset lies, as flags."""
  return [f"--data_dir={args.data_dir}"] if args.data_dir else []


def keep(minutes, method, tried, seed, result, about):
  """Writes what a training reached."""
  content = {
    "minutes": minutes,
    "method": method,
    "batch_and_rate": list(tried),
    "seed": seed,
    **about,
    "result": kept(result),
    "machine": {part: text for part, text in hardware().items() if part != "system"},
    "versions": versions(),
  }
  write(path(minutes, method, tried, seed), content)
  print(f"{minutes}, {method}, {tried}, seed {seed}: {100 * result[READINGS[1]]:.1f}", flush=True)


def path(minutes, method, tried, seed):
  """The file of what a training reached."""
  tuned = "_".join(map(str, tried)) if any(tried) else "defaults"
  return FOLDER / f"{minutes.replace(' ', '_')}_{method}_{tuned}_{seed}.json"


def best(minutes, method):
  """The best try by held-out labels, None before all are done."""
  files = {tried: path(minutes, method, tried, 0) for tried in TRIES}
  if not all(file.exists() for file in files.values()):
    return None
  return max(TRIES, key=lambda tried: json.loads(files[tried].read_text())["result"][VALIDATION])


def train_missing(args):
  """Trains what isn't done yet: ours, the peer's defaults, its tries, the best of them again."""

  def once(minutes, method, tried, seed):
    if path(minutes, method, tried, seed).exists():
      return
    if method == OURS:
      train_ours(minutes, seed, args)
    else:
      train_peer(minutes, method, tried, seed, args)

  methods = args.methods.split(",")
  for minutes in args.minutes.split(","):
    for seed in map(int, args.seeds.split(",")):
      for method in (OURS, *UNTRAINED, *methods):
        once(minutes, method, DEFAULTS, seed)
    for method in methods if args.tune else ():
      for tried in TRIES:
        once(minutes, method, tried, 0)
      for seed in map(int, args.seeds.split(",")):
        once(minutes, method, best(minutes, method), seed)


def found(minutes, method, tried):
  """What the trainings of all seeds left, `[content of a file]`."""
  pattern = path(minutes, method, tried, "*").name
  return [json.loads(file.read_text()) for file in sorted(FOLDER.glob(pattern))]


def table():
  """Returns the table of what is done, Markdown."""
  header = (
    "",
    "epochs",
    "images/s",
    "logistic regression",
    "standardised",
    "kNN",
    "trainings",
  )
  rows = []
  for minutes in STEPS:
    ours = found(minutes, OURS, DEFAULTS)
    if not ours:
      continue
    spent = statistics.fmean(content["seconds"] for content in ours) / 60
    rows.append((f"**{spent:.1f} minutes**", *[""] * (len(header) - 1)))
    untrained = zip(*[found(minutes, name, DEFAULTS) for name in UNTRAINED], strict=False)
    strongest = {
      "ResNet-18": [max(strongest_reading(each) for each in pair) for pair in untrained],
      "U-net": [content["result"][UNTRAINED_STRONGEST] for content in ours],
    }
    for network, values in strongest.items():
      if values:
        what = f"untrained {network}, at its strongest"
        rows.append((what, "", "", "", mean_and_deviation(values), "", str(len(values))))
    for method, title in METHODS.items():
      tried = best(minutes, method)
      rows += _row(f"LightlyTrain, {title}, its defaults", found(minutes, method, DEFAULTS))
      if tried:
        what = f"batch {tried[0]}, rate x {tried[1]}"
        rows += _row(f"LightlyTrain, {title}, {what}", found(minutes, method, tried))
    rows += _row("ConRec, the default recipe", ours)
  return Table(header, rows).markdown()


def strongest_reading(content):
  """The best of a training's accuracies by a linear classifier."""
  return max(content["result"][reading] for reading in READINGS[:2])


def _row(what, contents):
  if not contents:
    return []
  epochs = statistics.fmean(content["images"] / IMAGES for content in contents)
  pace = statistics.fmean(content["images"] / content["seconds"] for content in contents)
  means = [mean_and_deviation([each["result"][name] for each in contents]) for name in READINGS]
  return [(what, f"{epochs:.0f}", f"{pace:.0f}", *means, str(len(contents)))]


def parser():
  """The arguments of the command."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--minutes", default=",".join(STEPS))
  parser.add_argument("--methods", default=",".join(METHODS))
  parser.add_argument("--seeds", default="0,1,2")
  parser.add_argument("--tune", action=argparse.BooleanOptionalAction, default=True)
  parser.add_argument("--data_dir", default="", help="where TFDS keeps prepared data")
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "peers")
  parser.add_argument("--table", action="store_true", help="write what is done into the docs")
  return parser


def main():
  args = parser().parse_args()
  if args.table:
    PAGE.write_text(below_mark(PAGE.read_text(), "peers", table()))
  else:
    args.runs.mkdir(parents=True, exist_ok=True)
    train_missing(args)
  print(table())


if __name__ == "__main__":
  main()
