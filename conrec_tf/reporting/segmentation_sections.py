"""The sections of a segmentation's report."""

from collections.abc import Callable

from conrec_tf.data.masks import palette
from conrec_tf.files import write_text
from conrec_tf.metrics import CLASSES
from conrec_tf.reporting.context import ReportContext
from conrec_tf.reporting.figures import curves
from conrec_tf.reporting.figures.segmentations import segmentations
from conrec_tf.reporting.section import Section
from conrec_tf.reporting.sections import training_section
from conrec_tf.reporting.tables import Table

WORST = 6
COLUMNS = (
  ("Dice", "dice", 100, ".1f"),
  ("IoU", "iou", 100, ".1f"),
  ("95 % Hausdorff, px", "hausdorff_95", 1, ".1f"),
  ("images missed or made up", "one_sided_images", 1, "d"),
)


def dice_section(context: ReportContext) -> Section:
  """Draws Dice over epochs, and tabulates the classes."""
  picture = curves.accuracy_over_epochs(context.runs, context.names, context.epochs, context.folder)
  rows = [
    (
      row["class"],
      *[
        "" if row.get(key) is None else format(scale * row[key], form)
        for _, key, scale, form in COLUMNS
      ],
    )
    for row in context.runs[0].result.get(CLASSES, ())
  ]
  table = Table(("class", *[title for title, *_ in COLUMNS]), rows)
  write_text(context.folder / "classes.csv", table.csv())
  return Section("Evaluations", [picture], table=table, table_title="Classes of the masks (%)")


def segmentations_section(context: ReportContext) -> Section:
  """Draws the worst images of the evaluation split."""
  inspector = context.segmentations
  names = inspector.class_names
  picture = segmentations(
    [
      (found.name, found.dice, (found.image, found.true, found.predicted))
      for found in inspector.worst(WORST)
    ],
    list(zip(names[1:], palette(len(names))[1:], strict=True)),
    inspector.eval_source.eval.num_examples,
    context.folder,
  )
  return Section("Segmentations", [picture])


# In the order of the page.
SEGMENTATION_SECTIONS: dict[str, Callable[[ReportContext], Section | None]] = {
  "Dice": dice_section,
  "segmentations": segmentations_section,
  "training curves": training_section,
}
