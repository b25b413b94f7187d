"""Tables of what the trainings in `experiments/results` reached."""

import json
import re
import statistics

from conrec_tf.metrics import (
  GRADIENT_COSINE,
  KNN_ACCURACY,
  LINEAR_ACCURACY,
  SHARPNESS,
  UNTRAINED_STRONGEST,
  standardised_key,
  validation_key,
)
from conrec_tf.reporting.tables import Table
from experiments.studies import STUDIES

COSTS = "step_costs.json"
MARKER = "<!-- python -m experiments.recipe --table writes what follows -->"
COSINE = GRADIENT_COSINE.removeprefix("train/")
COSINES = "gradient_cosines"
VALIDATION = validation_key(standardised_key(LINEAR_ACCURACY))
COLUMNS = (
  ("held-out labels", VALIDATION),
  ("test, standardised", standardised_key(LINEAR_ACCURACY)),
  ("test, raw", LINEAR_ACCURACY),
  ("neighbours", KNN_ACCURACY),
)


def update(page, results):
  """Writes the tables into a page, below its marker."""
  above, _, _ = page.read_text().partition(MARKER)
  page.write_text(f"{above}{MARKER}\n\n{tables(results)}")


def below_mark(text, name, table):
  """Returns a page's text with a table below its mark `<!-- table: name -->`, if it is there.

  Args:
    text: of the page.
    name: of the table.
    table: in Markdown, in place of the one that stands there.
  """
  mark = f"<!-- table: {name} -->"
  return re.sub(rf"^({mark}\n)(?:\|.*\n)*", lambda found: found[1] + table, text, flags=re.M)


def tables(results):
  """Returns the tables as Markdown.

  Args:
    results: folder of the files.
  """
  return "\n".join(
    _table(name, study, results / name) for name, study in STUDIES.items() if done(results / name)
  )


def done(folder, variation="*"):
  """What the trainings of a study left, `[content of a file]`."""
  paths = sorted(folder.glob(f"{variation}_[0-9].json"))
  return [json.loads(path.read_text()) for path in paths]


def _table(name, study, folder):
  found = {
    variation: done(folder.parent / trained_in, trained_as)
    for variation in study.variations
    for trained_in, trained_as in [study.elsewhere.get(variation, (name, variation))]
  }
  path = folder / COSTS
  costs = json.loads(path.read_text()) if path.exists() else {}
  untrained = [
    row["result"][UNTRAINED_STRONGEST]
    for rows in found.values()
    for row in rows
    if UNTRAINED_STRONGEST in row["result"]
  ]
  columns = COLUMNS
  if all(SHARPNESS in row["result"] for rows in found.values() for row in rows):
    columns = (*COLUMNS, ("sharpness", SHARPNESS))
  header = ("variation", "seeds", "steps", "seconds a step", *(words for words, _ in columns))
  strongest = ("", mean_and_deviation(untrained), *[""] * (len(columns) - 2))
  rows = [("untrained, at its strongest", str(len(untrained)), "0", "", *strongest)]
  for variation, trained in sorted(found.items(), key=lambda pair: -_accuracy(pair[1])):
    results = [row["result"] for row in trained]
    cost = f"{costs[variation]:.2f}" if variation in costs else ""
    several = len(study.variations) > 1  # too many rows; `experiments.table1` draws some of them
    on_the_way = _by_step(trained) if study.eval_every_epochs and not several else {}
    for step, evaluations in (on_the_way or {_last_step(results): results}).items():
      cells = [
        mean_and_deviation([row[key] for row in evaluations if key in row]) for _, key in columns
      ]
      rows.append((variation, str(len(evaluations)), step, cost, *cells))
  if all(COSINES in row for trained in found.values() for row in trained):
    header = (*header, "cosine, and by level")
    rows = [(*row, _cosines(found.get(row[0], []))) for row in rows]
  return (
    f"### {name}\n\n{study.about} `python -m experiments.recipe --studies={name}` makes it "
    "again; `--only=<variation> --seeds=<seed>`, a row.\n\n" + Table(header, rows).markdown()
  )


def _cosines(trained):
  """The cosines of gradients, means over trainings, in the encoder and in each of its levels."""
  names = [name for row in trained for name in sorted(row[COSINES])]
  means = [
    statistics.fmean(mean for row in trained for mean in row[COSINES][name])
    for name in dict.fromkeys(names)
  ]
  return ", ".join(f"{round(mean, 2) + 0.0:.2f}" for mean in means)  # no -0.00


def _by_step(trained):
  """The evaluations on the way and at the end, `{step: [measures]}`, without the untrained one."""
  steps = sorted({row["global_step"] for each in trained for row in each["evaluations"]} - {0})
  return {
    str(step): [
      row for each in trained for row in each["evaluations"] if row["global_step"] == step
    ]
    for step in steps
  }


def _last_step(results):
  return str(results[0]["global_step"]) if results else "not run"


def _accuracy(rows):
  """The mean on held-out labels; rows without any come last."""
  values = [row["result"][VALIDATION] for row in rows if VALIDATION in row["result"]]
  return statistics.fmean(values) if values else -1.0


def mean_and_deviation(values):
  """Returns mean and deviation in per cent."""
  if not values:
    return ""
  mean = f"{100 * statistics.fmean(values):.1f}"
  return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
