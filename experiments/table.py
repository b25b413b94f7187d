"""Tables of what the trainings in `experiments/results` reached."""

import json
import statistics

from conrec_tf.evaluation.metric_names import (
  KNN_ACCURACY,
  LINEAR_ACCURACY,
  UNTRAINED_STRONGEST,
  standardised,
  validation,
)
from conrec_tf.reporting.tables import Table
from experiments.studies import STUDIES

VALIDATION = validation(standardised(LINEAR_ACCURACY))
COLUMNS = (
  ("held-out labels", VALIDATION),
  ("test, standardised", standardised(LINEAR_ACCURACY)),
  ("test, raw", LINEAR_ACCURACY),
  ("neighbours", KNN_ACCURACY),
)


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
  header = ("variation", "seeds", "steps", *(words for words, _ in COLUMNS))
  strongest = _mean([row[UNTRAINED_STRONGEST] for row in everything])
  rows = [("untrained, at its strongest", str(len(everything)), "0", "", strongest, "", "")]
  for variation, trained in sorted(
    found.items(),
    key=lambda pair: -statistics.fmean(row["result"][VALIDATION] for row in pair[1]),
  ):
    results = [row["result"] for row in trained]
    cells = [_mean([row[key] for row in results]) for _, key in COLUMNS]
    rows.append((variation, str(len(results)), str(results[0]["global_step"]), *cells))
  return (
    f"### {name}\n\n{study.about} `python -m experiments.recipe --studies={name}` makes it "
    "again; `--only=<variation> --seeds=<seed>`, a row.\n\n" + Table(header, rows).markdown()
  )


def _mean(values):
  """Returns mean and deviation in per cent."""
  mean = f"{100 * statistics.fmean(values):.1f}"
  return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
