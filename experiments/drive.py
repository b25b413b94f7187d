"""How many masks it takes: DRIVE's vessels from scratch, with a trained encoder, and its decoder.

    python -m experiments.drive --images=drive
    python -m experiments.drive --table

The folder holds `train` and `test` with 20 retinas each, in `images` and `masks` (Staal et al.
2004). What counts is the field of view, which is found by brightness: the red channel above a
threshold, without holes. A network learns without masks, on the 20 of `train` and another on all
40; then a segmentation starts from it, or from scratch, with 1 to 20 masks, on three seeds, which
take other images where not all are taken; with all 20 after few steps too. What is done is in
`experiments/results/drive` and isn't done again; a training that was killed goes on where it was.
"""

import argparse
import pathlib
import shutil
import statistics

import numpy as np
from PIL import Image
from scipy import ndimage

from conrec_tf.evaluation.metric_names import DICE, PIXEL_AUROC
from conrec_tf.reporting.tables import Table
from conrec_tf.run_dir.environment import hardware, versions
from conrec_tf.run_dir.run_directory import RunDirectory
from experiments.jobs import on_shares_of_cores
from experiments.recipe import RESULTS, ROOT, command, kept, run, write

CELLS = ((20, 500), (1, 500), (5, 500), (10, 500), (2, 500), (20, 200))  # (masks, steps), in order
DEEP_CELLS = ((20, 200),)  # after a pre-training with deep skip connections
IMAGES = 20
DARK = 40  # of 255, red outside of the field of view at most
SEEDS = (0, 1, 2)
PRETRAININGS = {  # name: (images that are learnt from, skip connections)
  "train": ("train", "all"),
  "all": ("train+test", "all"),
  "train_deep": ("train", "deep"),
  "all_deep": ("train+test", "deep"),
}
STARTS = {  # what a segmentation starts from: (pre-training, what is taken)
  "scratch": None,
  "encoder": ("train", "encoder"),
  "both": ("train", "both"),
  "both, all 40": ("all", "both"),
  "encoder, deep skips": ("train_deep", "encoder"),
  "both, deep skips": ("train_deep", "both"),
  "both, all 40, deep skips": ("all_deep", "both"),
}
DEEP = [
  start for start, origin in STARTS.items() if origin and PRETRAININGS[origin[0]][1] == "deep"
]
ALWAYS = ("--dataset=image_folder", "--image_size=64", "--mixed_precision=float32")
PRETRAINING = ("--flagfile=retinas.cfg", "--mode=train", "--window_size=96", "--train_steps=400")
SEGMENTATION = (
  "--mode=train_then_eval",
  "--train_mode=segment",
  "--eval_split=test",
  "--random_flip=horizontal_and_vertical",
  "--train_batch_size=8",
  "--bootstrap_samples=0",
  "--export_format=",
)
PAGE = ROOT / "docs" / "segmentation.md"
MARKER = "<!-- python -m experiments.drive --table writes what follows -->"


def field_of_view(pixels):
  """Returns which pixels of a retina uint8 `[h, w, 3]` show it, bool `[h, w]`."""
  bright = ndimage.binary_opening(pixels[..., 0] > DARK, iterations=3)
  parts, count = ndimage.label(bright)
  largest = 1 + np.argmax(ndimage.sum_labels(bright, parts, range(1, count + 1)))
  return ndimage.binary_fill_holes(parts == largest)


def with_fields(images, folder):
  """Copies the dataset, and writes the fields of view beside it; returns the copy."""
  copy = folder / "drive"
  if not copy.exists():
    temporary = folder / "drive.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(images, temporary)
    for path in sorted(temporary.glob("*/images/*")):
      field = field_of_view(np.asarray(Image.open(path).convert("RGB")))
      place = path.parents[1] / "fields" / f"{path.stem}.png"
      place.parent.mkdir(exist_ok=True)
      Image.fromarray(np.uint8(255) * field).save(place)
    temporary.rename(copy)
  return copy


def pretrain(images, name, folder, cores):
  """Learns without masks."""
  model_dir = folder / f"pretrained_{name}"
  split, skips = PRETRAININGS[name]
  options = [f"--train_split={split}", f"--skip_connections={skips}"]
  flags = [*PRETRAINING, *ALWAYS, f"--data_dir={images}", *options]
  run(command(flags, model_dir), model_dir.with_suffix(".log"), cores)


def segmentation_flags(start, masks, steps, seed):
  """The flags of a segmentation, but for where things lie."""
  first = min(5 * seed, IMAGES - masks)
  split = f"--train_split=train[{first}:{first + masks}]"
  taken = [f"--segment_from={STARTS[start][1]}"] if STARTS[start] else []
  return [*SEGMENTATION, *ALWAYS, f"--train_steps={steps}", split, *taken, f"--seed={seed}"]


def segment(images, start, masks, steps, seed, folder, cores):
  """Learns from masks, and writes what was reached."""
  path = result_path(start, masks, steps, seed)
  model_dir = folder / path.stem
  flags = segmentation_flags(start, masks, steps, seed)
  where = [f"--data_dir={images}"]
  if STARTS[start]:
    where.append(f"--checkpoint={folder / f'pretrained_{STARTS[start][0]}'}")
  run(command([*flags, *where], model_dir), model_dir.with_suffix(".log"), cores)
  result = RunDirectory(model_dir).read("result.json")
  content = {
    "start": start,
    "masks": masks,
    "steps": steps,
    "seed": seed,
    "flags": flags,
    "result": kept(result),
    "machine": {part: text for part, text in hardware().items() if part != "system"},
    "versions": versions(),
  }
  write(path, content)
  return f"{start}, {masks} masks, {steps} steps, seed {seed}: Dice {100 * result[DICE]:.1f}"


def slug(start):
  """A start's name in names of files."""
  return start.replace(", ", "_").replace(" ", "_")


def result_path(start, masks, steps, seed):
  """The file of what a segmentation reached."""
  return RESULTS / "drive" / f"{slug(start)}_{masks}_{steps}_{seed}.json"


def table(results):
  """The table of all that is done.

  Args:
    results: `[content of a file]`.
  """
  done = {cell: {} for cell in sorted(CELLS, key=lambda cell: cell[::-1])}
  for row in results:
    done[row["masks"], row["steps"]].setdefault(row["start"], []).append(row["result"])
  done = {cell: by_start for cell, by_start in done.items() if by_start}
  header = ("start", *[f"{masks} masks, {steps} steps" for masks, steps in done])
  rows = [(start, *[_cell(found.get(start, [])) for found in done.values()]) for start in STARTS]
  return Table(header, rows).markdown()


def _cell(results):
  """Dice and area under the ROC curve in percent, and of how many trainings."""
  if not results:
    return "not run"
  means = " / ".join(_mean([row[name] for row in results]) for name in (DICE, PIXEL_AUROC))
  return f"{means} ({len(results)})"


def _mean(values):
  mean = f"{100 * statistics.fmean(values):.1f}"
  return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=pathlib.Path, help="DRIVE's folder")
  parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
  parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "drive")
  parser.add_argument("--table", action="store_true", help="write what is done into the docs")
  args = parser.parse_args()
  if args.table:
    paths = sorted((RESULTS / "drive").glob("*.json"))
    above, _, _ = PAGE.read_text().partition(MARKER)
    PAGE.write_text(
      f"{above}{MARKER}\n\n{table([RunDirectory(p.parent).read(p.name) for p in paths])}"
    )
    return
  args.runs.mkdir(parents=True, exist_ok=True)
  images = with_fields(args.images, args.runs)
  seeds = [int(seed) for seed in args.seeds.split(",")]
  on_shares_of_cores(
    lambda name, cores: pretrain(images, name, args.runs, cores), list(PRETRAININGS), args.jobs
  )
  on_shares_of_cores(
    lambda job, cores: segment(images, *job, args.runs, cores),
    [
      (start, *cell, seed)
      for cell in CELLS
      for seed in seeds
      for start in STARTS
      if (cell in DEEP_CELLS or start not in DEEP) and not result_path(start, *cell, seed).exists()
    ],
    args.jobs,
  )


if __name__ == "__main__":
  main()
