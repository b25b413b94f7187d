"""The sections of a report that are tables: methods, representations, several labels."""

from conrec_tf.files import write_text
from conrec_tf.metrics import LABELS, REPRESENTATIONS
from conrec_tf.reporting.context import ReportContext
from conrec_tf.reporting.method_comparison import comparison_table, methods_of
from conrec_tf.reporting.section import Section
from conrec_tf.reporting.tables import labels_table, representations_table


def methods_section(context: ReportContext) -> Section | None:
  """Compares the run's method with the others; None for a single run."""
  if len(context.runs) == 1:
    return None
  methods = methods_of(context.runs)
  table, notes = comparison_table(methods)
  if len(methods) > 1:
    notes.append(
      "The interval holds what other images and, with several trainings, other seeds would "
      "change; p is that of as large a difference by chance."
    )
  write_text(context.folder / "comparison.csv", table.csv())
  return Section(
    "Methods compared",
    notes=notes,
    table=table,
    table_title="Mean and standard deviation over trainings",
  )


def representations_section(context: ReportContext) -> Section | None:
  """Tabulates a sweep over representations; None where there was none."""
  rows = context.runs[0].result.get(REPRESENTATIONS)
  if not rows:
    return None
  table = representations_table(rows)
  write_text(context.folder / "representations.csv", table.csv())
  return Section(
    "Representations",
    notes=[
      "Regularisation and representation were chosen on a fifth of the training labels, held out; "
      "the labels of the evaluation split chose nothing. Only the chosen one's number on the "
      "evaluation split is a fair one."
    ],
    table=table,
    table_title="Every layer, read by a classifier (%)",
  )


def labels_section(context: ReportContext) -> Section:
  """Tabulates what is reached of each of several labels."""
  table = labels_table(context.runs[0].result.get(LABELS, ()))
  write_text(context.folder / "labels.csv", table.csv())
  return Section("Labels", table=table, table_title="Logistic regression of each label (%)")
