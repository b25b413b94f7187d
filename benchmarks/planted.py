"""How many planted outliers, duplicates and wrong labels `--mode=explore` finds among photographs.

    python -m benchmarks.planted --images=photos --network=networks/oxford_flowers102_64px

`photos` holds `split/label/file`. A copy of it gets drawn pictures as outliers (1 %), images again,
smaller and compressed anew, as duplicates (3 %), and images under another label (3 %).
"""

import argparse
import csv
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

OUTLIERS, DUPLICATES, WRONG = 0.01, 0.03, 0.03
SCALE, QUALITY = 0.8, 40


def plant(folder, rng):
  """Changes a folder; returns names of outliers, pairs of names, and names of wrong labels."""
  paths = sorted(folder.rglob("*.jpg"))
  labels = sorted({path.parent.name for path in paths})
  chosen = rng.permutation(len(paths))
  counts = [round(share * len(paths)) for share in (OUTLIERS, DUPLICATES, WRONG)]
  outliers, duplicates, wrong = set(), set(), set()
  for number, at in enumerate(chosen[: counts[0]]):
    cells = rng.integers(0, 256, (2 + number % 6, 2 + number % 5, 3)).astype(np.uint8)
    path = paths[at].with_name(f"drawn_{number}.png")
    Image.fromarray(cells).resize((160, 160), Image.Resampling.NEAREST).save(path)
    outliers.add(path.relative_to(folder).as_posix())
  for number, at in enumerate(chosen[: counts[1]]):
    image = Image.open(paths[at])
    path = paths[at].with_name(f"again_{number}.jpg")
    image.resize([round(SCALE * side) for side in image.size]).save(path, quality=QUALITY)
    duplicates.add(frozenset(each.relative_to(folder).as_posix() for each in (paths[at], path)))
  for path in (paths[at] for at in chosen[counts[1] : counts[1] + counts[2]]):
    label = str(rng.choice([name for name in labels if name != path.parent.name]))
    moved = path.parent.with_name(label) / f"moved_{path.name}"
    path.rename(moved)
    wrong.add(moved.relative_to(folder).as_posix())
  return outliers, duplicates, wrong


def rows(folder, name):
  with (folder / f"{name}.csv").open(newline="") as file:
    return list(csv.DictReader(file))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", required=True)
  parser.add_argument("--network", required=True)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary, "photos")
    shutil.copytree(args.images, folder)
    outliers, duplicates, wrong = plant(folder, np.random.default_rng(0))
    command = [sys.executable, "run.py", "--mode=explore", f"--checkpoint={args.network}"]
    data = ["--dataset=image_folder", f"--data_dir={folder}", f"--model_dir={temporary}/run"]
    subprocess.run([*command, *data], check=True)
    found = pathlib.Path(temporary, "run/explore/photos")
    listed = [row["image"] for row in rows(found, "outliers")]
    first = listed[: len(outliers)]
    print(f"outliers: {len(outliers & set(first))} of the first {len(first)} are planted")
    pairs = rows(found, "duplicates")
    for way, is_found in (
      ("embedding", lambda row: row["by_embedding"] == "1"),
      ("hash", lambda row: row["bits"]),
    ):
      told = {frozenset((row["image"], row["other_image"])) for row in pairs if is_found(row)}
      print(
        f"duplicates by {way}: {len(told & duplicates)} of {len(duplicates)} are found, and "
        f"{len(told - duplicates)} other pairs"
      )
    listed = [row["image"] for row in rows(found, "label_errors")]
    for count in (len(wrong) // 2, len(wrong), len(listed)):
      print(
        f"wrong labels: of the first {count} in the list {len(wrong & set(listed[:count]))} are "
        f"planted, of {len(wrong)}"
      )


if __name__ == "__main__":
  main()
