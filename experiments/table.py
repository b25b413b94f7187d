"""Tables of what the trainings in `experiments/results` reached."""

import json
import statistics

from experiments.studies import STUDIES

VALIDATION = "eval/validation_standardised_linear_top_1_accuracy"
COLUMNS = (
  ("held-out labels", VALIDATION),
  ("test, standardised", "eval/standardised_linear_top_1_accuracy"),
  ("test, raw", "eval/linear_top_1_accuracy"),
  ("neighbours", "eval/knn_accuracy"),
)
UNTRAINED = "eval/untrained_strongest"


def tables(results):
  """Returns the tables as Markdown.

  Args:
    results: folder of the files.
  """
  parts = []
  for name, study in STUDIES.items():
    found = {
      variation: [
        json.loads(path.read_text())
        for path in sorted((results / name).glob(f"{variation}_[0-9]*.json"))
      ]
      for variation in study.variations
    }
    if any(found.values()):
      parts.append(_table(name, study, {key: rows for key, rows in found.items() if rows}))
  return "\n".join(parts)


def _table(name, study, found):
  everything = [row["result"] for rows in found.values() for row in rows]
  header = ["variation", "seeds", "steps", *(words for words, _ in COLUMNS)]
  lines = [
    f"### {name}\n\n{study.about} `python -m experiments.recipe --studies={name}` makes it "
    "again; `--only=<variation> --seeds=<seed>`, a row.\n",
    "| " + " | ".join(header) + " |",
    "| --- " + "| ---: " * (len(header) - 1) + "|",
    f"| untrained, at its strongest | {len(everything)} | 0 | | "
    f"{_mean([row[UNTRAINED] for row in everything])} | | |",
  ]
  ranked = sorted(
    found.items(),
    key=lambda pair: -statistics.fmean(row["result"][VALIDATION] for row in pair[1]),
  )
  for variation, rows in ranked:
    results = [row["result"] for row in rows]
    cells = [_mean([row[key] for row in results]) for _, key in COLUMNS]
    steps = str(rows[0]["result"]["global_step"])
    lines.append("| " + " | ".join([variation, str(len(rows)), steps, *cells]) + " |")
  return "\n".join(lines) + "\n"


def _mean(values):
  """Returns mean and deviation in per cent."""
  mean = f"{100 * statistics.fmean(values):.1f}"
  return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
