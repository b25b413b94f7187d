"""The paper's Table 1 at a size that two cores reach, and its Figures 2 and 5.

    python -m experiments.table1
    python -m experiments.table1 --table

Trains what is missing of the five systems on Rectangle-Triangle, Circles-Square and Oxford Flowers
102, as `experiments.recipe` does, each for the same time under the default recipe; of ConRec for
longer, and of two of them for the paper's 1,000 epochs under its settings. Then, or at once with
`--table`, it draws what is done: the tables of README.md and docs/results.md, and figures in
docs/images. What isn't done yet is left out.
"""

import statistics

from conrec_tf.metrics import (
  KNN_ACCURACY,
  LABEL_FRACTIONS,
  LINEAR_ACCURACY,
  UNTRAINED_STRONGEST,
  standardised_key,
)
from conrec_tf.reporting.paper_results import METHODS
from conrec_tf.reporting.paper_results import RESULTS as PAPER_RESULTS
from conrec_tf.reporting.tables import Table
from experiments import recipe
from experiments.figures import Panel, draw
from experiments.table import below_mark, done, mean_and_deviation

DATASETS = {  # what Table 1 is about, by study; Flowers is Table 2's
  "systems_synthetic": "rectangle_triangle",
  "recipe_circles": "circles_square",
  "recipe_flowers": "oxford_flowers102",
  "paper_synthetic": "rectangle_triangle",
}
# ConRec once more: (study, variation).
LONGER = {"recipe_flowers": ("long_views_flowers", "all_three_size_schedule")}
TITLES = {
  "systems_synthetic": "Rectangle-Triangle",
  "recipe_circles": "Circles-Square",
  "recipe_flowers": "Oxford Flowers 102",
  "paper_synthetic": "Rectangle-Triangle, the paper's settings",
}
ACCURACY = standardised_key(LINEAR_ACCURACY)
READINGS = (LINEAR_ACCURACY, ACCURACY, KNN_ACCURACY)
PAGES = {  # and the systems that have a row there; the front door has no room for all
  recipe.ROOT / "README.md": ("simclr", "reconstruction", "conrec"),
  recipe.ROOT / "docs" / "results.md": tuple(METHODS),
}
IMAGES = recipe.ROOT / "docs" / "images"


def systems(results, name):
  """What the trainings of a study left: `{system: [content of a file]}`, in the paper's order.

  Args:
    results: folder of the files.
    name: of the study.
  """
  found = {system: done(results / name, system) for system in METHODS}
  return {system: rows for system, rows in found.items() if rows}


def systems_table(results, name, shown=tuple(METHODS)):
  """The table of a study, in Markdown; empty where nothing is done.

  Args:
    results: folder of the files.
    name: of the study.
    shown: the systems that have a row.
  """
  trained = systems(results, name)
  if not trained:
    return ""
  dataset = DATASETS[name]
  published = PAPER_RESULTS[dataset].numbers
  strongest = mean_and_deviation(untrained(trained))
  rows = [("untrained, at its strongest", "", "", strongest, "")]
  rows += [
    (METHODS[system], f"{published[system]:g}" if system in published else "", *_means(contents))
    for system, contents in trained.items()
    if system in shown
  ]
  longer = done(results / LONGER[name][0], LONGER[name][1]) if name in LONGER else []
  if longer:
    steps = longer[0]["result"]["global_step"]
    rows.append((f"{METHODS['conrec']}, {steps:,} steps", "", *_means(longer)))
  header = (
    "system",
    f"paper, {PAPER_RESULTS[dataset].pixels} px",
    "logistic regression",
    "standardised",
    "kNN",
  )
  return Table(header, rows).markdown()


def untrained(trained):
  """What random features reach at their strongest, of each of `systems`' trainings."""
  return [content["result"][UNTRAINED_STRONGEST] for rows in trained.values() for content in rows]


def _means(contents):
  return [
    mean_and_deviation([content["result"][reading] for content in contents]) for reading in READINGS
  ]


def write_tables(page, results, shown=tuple(METHODS)):
  """Writes the tables into a page, each below its mark `<!-- table: <study> -->`.

  Args:
    page: path of a page.
    results: folder of the files.
    shown: the systems that have a row.
  """
  text = page.read_text()
  for name in DATASETS:
    text = below_mark(text, name, systems_table(results, name, shown))
  page.write_text(text)


def write_figures(folder, results):
  """Draws Figures 2 and 5 from what is done; returns whether there was anything to draw."""
  systems_of = {name: systems(results, name) for name in DATASETS}

  def panels(values):
    return [
      Panel(
        TITLES[name],
        {METHODS[system]: curve(values, contents) for system, contents in found.items()},
        statistics.fmean(untrained(found)) if found else None,
      )
      for name, found in systems_of.items()
    ]

  labels, names = "linear accuracy, standardised (%)", list(METHODS.values())
  drawn = [
    draw(
      panels(over_labels),
      folder / "accuracy_over_labels.svg",
      "share of the training labels (%)",
      labels,
      names,
      logarithmic=True,
    ),
    draw(
      panels(during_training),
      folder / "accuracy_during_training.svg",
      "share of the time of training (%)",
      labels,
      names,
    ),
  ]
  return any(drawn)


def over_labels(content):
  """Accuracy by the percentage of labels (paper, Figure 2); empty where it wasn't measured."""
  return {100 * row["fraction"]: row["mean"] for row in content["result"].get(LABEL_FRACTIONS, [])}


def during_training(content):
  """Accuracy by the percentage of the training (paper, Figure 5); empty without any on the way."""
  last = content["result"]["global_step"]
  rows = [row for row in content["evaluations"] if ACCURACY in row and row["global_step"]]
  reached = {round(100 * row["global_step"] / last, 1): row[ACCURACY] for row in rows}
  return reached if len(reached) > 1 else {}


def curve(values, contents):
  """What trainings reached, `{x: [accuracy]}`."""
  reached = {}
  for content in contents:
    for x, accuracy in values(content).items():
      reached.setdefault(x, []).append(accuracy)
  return reached


def main():
  studies = [*DATASETS, *(study for study, _ in LONGER.values())]
  args = recipe.argument_parser(__doc__.split("\n")[0], studies).parse_args()
  if not args.table:
    recipe.train_missing(args)
  for page, shown in PAGES.items():
    write_tables(page, recipe.RESULTS, shown)
  write_figures(IMAGES, recipe.RESULTS)


if __name__ == "__main__":
  main()
