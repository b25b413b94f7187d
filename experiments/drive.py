"""How many masks it takes: DRIVE's vessels from scratch, with a trained encoder, and its decoder.

    python -m experiments.drive --images=drive
    python -m experiments.drive --table

The folder holds `train` and `test` with 20 retinas each, in `images` and `masks` (Staal et al.
2004). What counts is the field of view, which is found by brightness: the red channel above a
threshold, without holes. A network learns without masks, on the 20 of `train` and another on all
40; then a segmentation starts from it, from the network that ships, which has learnt from
photographs and for longer, or from scratch, with 1 to 20 masks, on three seeds, which take other
images where not all are taken; from scratch with another loss too. What is done is in
`experiments/results/drive` and isn't done again; a training that was killed goes on where it was.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
from PIL import Image
from scipy import ndimage

from conrec_tf.metrics import DICE, PIXEL_AUROC
from conrec_tf.reporting.tables import Table
from conrec_tf.run_dir.environment import versions
from conrec_tf.run_dir.run_directory import RunDirectory
from experiments.figures import Panel, draw
from experiments.jobs import machine, on_shares_of_cores
from experiments.recipe import RESULTS, ROOT, command, kept, run, write
from experiments.table import mean_and_deviation

MASKS = (20, 1, 5, 10, 2)  # in the order in which they are run
STEPS = 300
LONG_STEPS, LONG_MASKS = 3000, (20, 1)
IMAGES = 20
DARK = 40  # of 255, red outside of the field of view at most
SEEDS = (0, 1, 2)
WINDOWS = ("--flagfile=retinas.cfg", "--mode=train", "--window_size=96")
BEFORE_VIEWS = (  # of the recipe that the first two were trained by
  "--local_crops=0",
  "--image_size_schedule=",
  "--representation_levels=all",
  "--skip_connections=all",
)
PRETRAININGS = {  # name: (images that are learnt from, how)
  "train": ("train", (*WINDOWS, *BEFORE_VIEWS, "--train_steps=400")),
  "all": ("train+test", (*WINDOWS, *BEFORE_VIEWS, "--train_steps=400")),
  "default": ("train", (*WINDOWS, "--train_steps=3000")),
}
SHIPPED = "flowers"
NETWORK = ROOT / "networks" / "oxford_flowers102_64px"
STARTS = {  # what a segmentation starts from: (pre-training, what is taken)
  "scratch": None,
  "encoder": ("train", "encoder"),
  "both": ("train", "both"),
  "encoder, flowers": (SHIPPED, "encoder"),
  "both, flowers": (SHIPPED, "both"),
  "both, all 40": ("all", "both"),
  "encoder, default recipe": ("default", "encoder"),
  "both, default recipe": ("default", "both"),
}
LONG_STARTS = ("scratch", "both, flowers", "both, default recipe")
FEW_STARTS = ("encoder, default recipe", "both, default recipe")  # with few and with all masks
LOSSES = ("dice", "cross_entropy_dice")  # all but the first from scratch
ALWAYS = ("--dataset=image_folder", "--image_size=64", "--mixed_precision=float32")
SEGMENTATION = (
  "--mode=train_then_eval",
  "--train_mode=segment",
  "--eval_split=test",
  "--random_flip=horizontal_and_vertical",
  "--train_batch_size=8",
  "--tile_size=640",  # the whole image at once
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
  split, how = PRETRAININGS[name]
  flags = [*how, *ALWAYS, f"--data_dir={images}", f"--train_split={split}"]
  run(command(flags, model_dir), model_dir.with_suffix(".log"), cores)


def segmentation_flags(start, loss, masks, steps, seed):
  """The flags of a segmentation, but for where things lie."""
  first = min(5 * seed, IMAGES - masks)
  asked = [f"--segment_loss={loss}", f"--train_split=train[{first}:{first + masks}]"]
  asked.append(f"--train_steps={steps}")
  taken = [f"--segment_from={STARTS[start][1]}"] if STARTS[start] else []
  return [*SEGMENTATION, *ALWAYS, *asked, *taken, f"--seed={seed}"]


def segment(images, job, folder, cores):
  """Learns from masks as one of `all_jobs` says, and writes what was reached."""
  start, loss, masks, steps, seed = job
  path = result_path(*job)
  model_dir = folder / path.stem
  flags = segmentation_flags(*job)
  where = [f"--data_dir={images}"]
  if STARTS[start]:
    origin = STARTS[start][0]
    trained = NETWORK if origin == SHIPPED else folder / f"pretrained_{origin}"
    where.append(f"--checkpoint={trained}")
  run(command([*flags, *where], model_dir), model_dir.with_suffix(".log"), cores)
  result = RunDirectory(model_dir).read("result.json")
  content = {
    "start": start,
    "loss": loss,
    "masks": masks,
    "steps": steps,
    "seed": seed,
    "flags": flags,
    "result": kept(result),
    "machine": machine(cores),
    "versions": versions(),
  }
  write(path, content)
  return (
    f"{start}, {loss}, {masks} masks, {steps} steps, seed {seed}: Dice {100 * result[DICE]:.1f}"
  )


def result_path(start, loss, masks, steps, seed):
  """The file of what a segmentation reached."""
  slug = start.replace(", ", "_").replace(" ", "_")
  return RESULTS / "drive" / f"{slug}_{loss}_{masks}_{steps}_{seed}.json"


def all_jobs(seeds):
  """Returns `[(start, loss, masks, steps, seed)]`, in the order in which they are run."""
  losses = [("scratch", loss, IMAGES, STEPS, seed) for loss in LOSSES[1:] for seed in seeds]
  usual = [
    (start, LOSSES[0], masks, STEPS, seed)
    for masks in MASKS
    for seed in seeds
    for start in STARTS
    if masks in LONG_MASKS or start not in FEW_STARTS
  ]
  longer = [
    (start, LOSSES[0], masks, LONG_STEPS, seed)
    for seed in seeds
    for masks in LONG_MASKS
    for start in LONG_STARTS
  ]
  return losses + usual + longer


def tables(results):
  """The tables of all that is done: of the usual steps, and of longer trainings.

  Args:
    results: `[content of a file]`.
  """
  return "\n".join(
    f"{steps:,} steps:\n\n{_table(done, masks)}"
    for steps, masks in ((STEPS, MASKS), (LONG_STEPS, LONG_MASKS))
    if (done := [row for row in results if row["steps"] == steps])
  )


def _table(results, masks):
  counts, found = sorted(masks), {}
  for row in results:
    by_masks = found.setdefault((row["start"], row["loss"]), {})
    by_masks.setdefault(row["masks"], []).append(row["result"])
  starts = [(start, LOSSES[0]) for start in STARTS] + [("scratch", loss) for loss in LOSSES[1:]]
  header = ("start", "loss", "1 mask", *[f"{count} masks" for count in counts[1:]])
  rows = [
    (*start, *[_cell(found[start].get(count, [])) for count in counts])
    for start in starts
    if start in found
  ]
  return Table(header, rows).markdown()


def curves(results, folder):
  """Draws what each start reaches over the number of masks; returns whether there is anything.

  Args:
    results: `[content of a file]`.
    folder: where to write `drive.svg`.
  """
  panels = []
  for title, name in (("Dice", DICE), ("area under the ROC curve", PIXEL_AUROC)):
    found = {}
    for row in results:
      if (row["loss"], row["steps"]) == (LOSSES[0], STEPS):
        reached = found.setdefault(row["start"], {}).setdefault(row["masks"], [])
        reached.append(row["result"][name])
    panels.append(Panel(title, {start: found[start] for start in STARTS if start in found}))
  return draw(panels, folder / "drive.svg", "masks", "%", list(STARTS), logarithmic=True)


def _cell(results):
  """Dice and area under the ROC curve in percent, and of how many trainings."""
  if not results:
    return ""
  reached = [[row[name] for row in results] for name in (DICE, PIXEL_AUROC)]
  return f"{' / '.join(map(mean_and_deviation, reached))} ({len(results)})"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=pathlib.Path, help="DRIVE's folder")
  parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
  parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "drive")
  parser.add_argument("--table", action="store_true", help="write what is done into the docs")
  args = parser.parse_args()
  if args.table:
    rows = [json.loads(path.read_text()) for path in sorted((RESULTS / "drive").glob("*.json"))]
    above, _, _ = PAGE.read_text().partition(MARKER)
    PAGE.write_text(f"{above}{MARKER}\n\n{tables(rows)}")
    curves(rows, PAGE.parent / "images")
    return
  args.runs.mkdir(parents=True, exist_ok=True)
  images = with_fields(args.images, args.runs)
  seeds = [int(seed) for seed in args.seeds.split(",")]
  jobs = [job for job in all_jobs(seeds) if not result_path(*job).exists()]
  origins = {STARTS[start][0] for start, *_ in jobs if STARTS[start]}
  needed = [name for name in PRETRAININGS if name in origins]
  on_shares_of_cores(
    lambda name, cores: pretrain(images, name, args.runs, cores), needed, args.jobs
  )
  on_shares_of_cores(lambda job, cores: segment(images, job, args.runs, cores), jobs, args.jobs)


if __name__ == "__main__":
  main()
