"""The sections of a report."""

from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from conrec_tf.evaluation.late_gain import LateGain
from conrec_tf.metrics import LABELS, LATE_GAIN, REPRESENTATIONS
from conrec_tf.reporting.context import ReportContext
from conrec_tf.reporting.figures import class_figures, curves, image_grids
from conrec_tf.reporting.figures.class_figures import ClassAccuracy
from conrec_tf.reporting.figures.embedding_map import embedding_map
from conrec_tf.reporting.figures.plot_style import Picture
from conrec_tf.reporting.html_report import Section
from conrec_tf.reporting.inference import ModelInspector, Predictions
from conrec_tf.reporting.method_comparison import comparison_table, methods_of
from conrec_tf.reporting.tables import Table, class_table, labels_table, representations_table
from conrec_tf.reporting.verdict_report import read_verdict, verdict_section

ATTENDED = 12
RECONSTRUCTED = 2
QUERIES = 6
NEIGHBOURS = 4
EXTREMES = 2
MOST_CLASSES = 6
DrawSection = Callable[[ReportContext], Section | None]

NO_CLASSES = "The data has no classes."


def methods_section(context: ReportContext) -> Section | None:
  """Compares the run's method with the others; None for a single run."""
  if len(context.runs) == 1:
    return None
  methods = methods_of(context.runs)
  table, notes = comparison_table(methods)
  if len(methods) > 1:
    notes.append(
      "The interval covers the variation over images and, with several trainings, over seeds; p "
      "is the probability of as large a difference by chance."
    )
  return Section(
    "Methods compared",
    notes=notes,
    table=table,
    table_title="Mean and standard deviation over trainings",
  )


def verdict_part(context: ReportContext) -> Section | None:
  """Tells the verdict on the run; None where none was asked for."""
  run = context.runs[0]
  result = read_verdict(run.path.resolve())
  return verdict_section(result, run) if result else None


def training_section(context: ReportContext) -> Section | None:
  """Draws losses, learning rate and speed; None where nothing was logged."""
  pictures = curves.training_curves(context.runs)
  return Section("Training", pictures, small=True) if pictures else None


def accuracy_section(context: ReportContext) -> Section:
  """Draws accuracy over epochs and labels."""
  runs = context.runs
  section = Section("Evaluations", [curves.accuracy_over_epochs(runs)])
  if late := runs[0].result.get(LATE_GAIN):
    gain = LateGain(**late)
    section.notes += [] if gain.rose else [f"{gain.sentence()}."]
  by_labels = [curves.few_labels(kind, runs) for kind in curves.FEW_LABELS]
  section.pictures += filter(None, by_labels)
  if not by_labels[0] and context.inspector.class_names and runs[0].config.is_pretraining:
    section.notes.append(
      "Accuracy over the share of labels wasn't measured. --mode=eval "
      "--label_fractions=0.01,0.1,0.25,0.5,1.0 measures it."
    )
  return section


def representations_section(context: ReportContext) -> Section | None:
  """Tabulates a sweep over representations; None where there was none."""
  rows = context.runs[0].result.get(REPRESENTATIONS)
  if not rows:
    return None
  return Section(
    "Representations",
    notes=[
      "Regularisation and representation were chosen on a fifth of the training labels, held out, "
      "without the labels of the evaluation split. Only the chosen one's number on the evaluation "
      "split is unbiased."
    ],
    table=representations_table(rows),
    table_title="Linear evaluation of every layer (%)",
  )


def reconstruction_section(context: ReportContext) -> Section:
  """Draws reconstructions of corrupted images, and maps of the pooling's attention."""
  inspector = context.inspector
  section = Section("Reconstruction and attention", notes=context.other_weights)
  images = inspector.images(inspector.test, context.order[:ATTENDED])
  if inspector.has_decoder:
    targets = images[:RECONSTRUCTED]
    section.pictures.append(image_grids.reconstructions(targets, inspector.reconstruct(targets)))
  else:
    section.notes.append("No reconstructions: this network has no decoder.")
  if inspector.has_attention:
    section.pictures.append(image_grids.attention_maps(images, inspector.attention(images)))
  else:
    section.notes.append(
      "No attention maps: this network pools by average, all locations have the same weight."
    )
  return section


def classes_section(context: ReportContext) -> Section:
  """Draws confusions and accuracy by class."""
  inspector = context.inspector
  if not inspector.class_names:
    return Section("Classes", notes=[NO_CLASSES])
  if inspector.eval_source.multi_label:
    return labels_section(context)
  counts = context.confusions()
  rows = class_figures.class_accuracies(counts, inspector.class_names)
  return Section(
    "Classes",
    [
      class_figures.confusion_matrix(counts, inspector.class_names, context.predictions.classifier),
      class_figures.class_accuracy(rows),
      _extremes(context, rows),
    ],
    _origin_of_predictions(context),
    table_title="Most confused",
    table=Table(
      ("true class", "taken for", "images", "share"),
      [
        (*(name.replace("_", " ") for name in pair[:2]), str(pair[2]), f"{pair[3]:.0%}")
        for pair in class_figures.confused_pairs(counts, inspector.class_names)
      ],
      texts=2,
    ),
    details_title="Accuracy of every class",
    details=class_table(rows),
  )


def labels_section(context: ReportContext) -> Section:
  """Tabulates what is reached of each of several labels."""
  table = labels_table(context.runs[0].result.get(LABELS, ()))
  return Section("Labels", table=table, table_title="Logistic regression of each label (%)")


def _origin_of_predictions(context: ReportContext) -> list[str]:
  """Returns a note where predictions aren't those that the run's numbers are of."""
  found, inspector, run = context.predictions, context.inspector, context.runs[0]
  if found.is_kept:
    return []
  why = f"no predictions of these images are kept with step {run.step}; --mode=eval keeps them"
  if inspector.config.cv_folds and inspector.config.is_pretraining:
    why = f"the number is the mean over {inspector.config.cv_folds} folds, and this is one"
  return [
    f"By {found.classifier} anew, with the weights of step {inspector.step}, learnt from "
    f"{inspector.train.num_examples:,} images and measured on {inspector.test.num_examples:,}: "
    f"{why}."
  ]


def _share_of_images(inspector: ModelInspector) -> list[str]:
  """Returns a note where not all images are drawn from."""
  pairs = (
    (inspector.test, inspector.eval_source.eval),
    (inspector.train, inspector.eval_source.train),
  )
  if inspector.config.cv_folds or all(
    part.num_examples == all_.num_examples for part, all_ in pairs
  ):
    return []
  (test, of_test), (train, of_train) = [
    (f"{part.num_examples:,}", f"{whole.num_examples:,}") for part, whole in pairs
  ]
  return [
    f"The map shows {test} random ones of the {of_test} images of the evaluation split, and "
    f"neighbours are the nearest among {train} of the {of_train} training images."
  ]


def embeddings_section(context: ReportContext) -> Section:
  """Draws a map of the embeddings, and nearest neighbours."""
  inspector, seed = context.inspector, context.runs[0].config.seed
  labelled = bool(inspector.class_names) and not inspector.eval_source.multi_label
  (train, train_labels), (test, labels) = context.train, context.test
  picture = embedding_map(test, labels if labelled else None, inspector.class_names, seed)
  queries = context.order[:QUERIES]
  search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine").fit(train)
  distances, nearest = search.kneighbors(test[queries])
  near = inspector.images(inspector.train, nearest.ravel()).reshape(
    *nearest.shape, *inspector.images(inspector.test, queries[:1]).shape[1:]
  )
  names = np.array(inspector.class_names or [""], object)
  rows = [
    (
      image,
      None if not labelled else names[labels[query]],
      [
        (
          near[row, rank],
          1.0 - distances[row, rank],
          None if not labelled else names[train_labels[index]],
        )
        for rank, index in enumerate(nearest[row])
      ],
    )
    for row, (query, image) in enumerate(
      zip(queries, inspector.images(inspector.test, queries), strict=True)
    )
  ]
  return Section(
    "Embeddings",
    [picture, image_grids.neighbours(rows, labelled)],
    [*context.other_weights, *_share_of_images(inspector)],
  )


def _extremes(context: ReportContext, accuracies: list[ClassAccuracy]) -> Picture:
  """Draws the strongest and the weakest images of classes."""
  inspector, found = context.inspector, context.predictions
  chosen = [_strongest_and_weakest(found, number) for number, *_ in _ends(accuracies)]
  images = inspector.images(found.split, found.index[np.concatenate(chosen)])
  weights = inspector.attention(images) if inspector.has_attention else [None] * len(images)
  pictures = iter(zip(images, weights, strict=True))
  rows = []
  for (number, name, _, share), members in zip(_ends(accuracies), chosen, strict=True):
    shown = []
    for index in members:
      said = found.classes[index]
      instead = None if said == number else inspector.class_names[said]
      shown.append((*next(pictures), found.true_class_probability[index], instead))
    rows.append((name, share, shown))
  return image_grids.extremes(rows, len(accuracies), inspector.has_attention)


def _strongest_and_weakest(found: Predictions, number: int) -> np.ndarray:
  """Returns which predictions give images of a class the most and the least, in that order."""
  members = np.flatnonzero(found.labels == number)
  members = members[np.argsort(-found.true_class_probability[members], kind="stable")]
  take = min(EXTREMES, len(members) // 2 or 1)
  return np.concatenate([members[:take], members[take:][-take:]])


def _ends(accuracies: list[ClassAccuracy]) -> list[ClassAccuracy]:
  """Returns all classes if they are few, else the most and the least accurate."""
  if len(accuracies) <= MOST_CLASSES:
    return accuracies
  ranked = sorted(accuracies, key=lambda row: -row[3])
  return ranked[: MOST_CLASSES // 2] + ranked[-(MOST_CLASSES // 2) :]


# In the order of the page.
SECTIONS: dict[str, DrawSection] = {
  "methods": methods_section,
  "verdict": verdict_part,
  "accuracy": accuracy_section,
  "representations": representations_section,
  "reconstruction and attention": reconstruction_section,
  "training curves": training_section,
  "classes": classes_section,
  "embeddings": embeddings_section,
}
